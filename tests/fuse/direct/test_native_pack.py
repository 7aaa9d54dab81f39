"""Answers packed in C against those packed in Python: the same bytes, whatever is packed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs import native
from readyfs.errors import BrokenRunError
from readyfs.fuse.direct.listings import MAX_BYTES, EndTable, Listings
from readyfs.fuse.direct.replies import (
    PackedListing,
    PackListing,
    direntplus,
    entry_out,
    pack_listing,
)
from readyfs.vfs.attributes import FOREVER_S, Attributes, Entry
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber
from readyfs.vfs.listing import ListedEntry
from readyfs.vfs.nodes import root_node
from tests.vfs.place import Place as VfsPlace

MODES = (0o100444, 0o040555, 0o120777)
TIMES = st.integers(0, 2**63) | st.integers(0, 2**90).map(lambda time_ns: time_ns % (2**64 * 10**9))
TIMEOUTS = st.sampled_from((0.0, 1.5, 60.0, 0.1, 2.000000001, FOREVER_S)) | st.floats(0, 1e9)
ENTRIES = st.builds(
    lambda inode, mode, size, time_ns, uid, timeout_s, attr_timeout_s: Entry(
        root_node(),
        Attributes(InodeNumber(inode), mode, size, time_ns, uid, 2**32 - 1 - uid),
        timeout_s,
        attr_timeout_s,
    ),
    *(st.integers(1, 2**63 - 1), st.sampled_from(MODES), st.integers(0, 2**63 - 1), TIMES),
    *(st.integers(0, 2**32 - 1), TIMEOUTS, TIMEOUTS),
)
LISTED = st.builds(ListedEntry, st.binary(min_size=1, max_size=255), ENTRIES, st.integers(1, 2**63 - 1), st.booleans())


def in_c() -> PackListing:
    assert native.module is not None
    pack: PackListing = native.module.pack_listing
    return pack


@given(ENTRIES)
def test_an_entry_is_packed_alike(entry: Entry) -> None:
    assert native.module is not None
    assert native.module.pack_entry(entry) == entry_out(entry)


def listed_directory(found: ListedEntry) -> ListedEntry:
    """Make a `.` or `..` of an entry that is not counted: only directories are those."""
    if found.counted:
        return found
    attributes = found.entry.attributes._replace(mode=0o040555)
    return found._replace(entry=found.entry._replace(attributes=attributes))


@given(st.lists(LISTED.map(listed_directory), max_size=12), st.integers(0, 2**63 - 1), st.integers(0, 3000))
def test_a_listing_is_packed_alike(found: list[ListedEntry], position: int, room: int) -> None:
    body, nodes, reached, cached, is_whole = in_c()(iter(found), position, room)
    expected = pack_listing(iter(found), position, room)
    assert (body, reached, cached, is_whole) == (expected.body, expected.reached, expected.cached, expected.is_whole)
    assert [*map(id, nodes)] == [*map(id, expected.nodes)]


@pytest.mark.parametrize("pack", [pack_listing, in_c()])
def test_what_has_no_room_to_the_byte_is_left_for_the_next_pass(pack: PackListing) -> None:
    file = Attributes(InodeNumber(77), 0o100444, 5, 1, 2, 3)
    found = [ListedEntry(b"%d" % number, Entry(root_node(), file, 0.0, 0.0), 10 + number, True) for number in range(3)]
    length = len(direntplus(b"0", found[0].entry, 10))
    for room, count in ((length - 1, 0), (length, 1), (2 * length - 1, 1), (3 * length, 3), (10 * length, 3)):
        body, nodes, reached, cached, is_whole = pack(iter(found), 4, room)
        assert (len(body), len(nodes), is_whole) == (count * length, count, count == 3)
        assert (reached, cached) == (9 + count if count else 4, 32 * count)


@pytest.mark.parametrize("pack", [pack_listing, in_c()])
def test_an_error_while_entries_are_made_comes_through(pack: PackListing) -> None:
    def found() -> Iterator[ListedEntry]:
        yield ListedEntry(b"a", Entry(root_node(), Attributes(InodeNumber(7), 0o100444, 5, 1, 2, 3), 0.0, 0.0), 1, True)
        raise BrokenRunError("broken")

    with pytest.raises(BrokenRunError):
        pack(found(), 0, 4096)


def test_no_more_memory_is_taken_than_a_kernel_can_ask_for(tmp_path: Path) -> None:
    rooms: list[int] = []

    def pack(found: Iterable[ListedEntry], position: int, room: int) -> PackedListing:
        rooms.append(room)
        return pack_listing(found, position, room)

    listings = Listings(VfsPlace(tmp_path / "raw").fs, lambda inode: None, EndTable(), pack)
    for size in (0, 4096, 2**32 - 1):
        listings.read(ROOT_INODE, 0, size, may_block=False)
    assert rooms == [0, 4096, MAX_BYTES]


@pytest.mark.parametrize("listed", [(), (b"a",), (b"a", (), 1, True), ("a", None, 1, True), None, (1, 2, 3, 4)])
def test_what_is_no_entry_is_an_error_and_no_crash(listed: object) -> None:
    with pytest.raises((TypeError, IndexError, SystemError)):
        in_c()([listed], 0, 4096)  # type: ignore[list-item]
