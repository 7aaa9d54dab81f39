"""V7: one pass over one directory lists the names of one catalog."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.errors import NotADirectoryNodeError, StaleHandleError, WouldBlockError
from readyfs.vfs.handles import PASSES_KEPT
from readyfs.vfs.listing import ListedEntry, position_after, split_position
from readyfs.vfs.nodes import ROOT_INODE, InodeNumber
from tests.catalog.rows import JUNE_1, Row
from tests.vfs.place import DAY_1, METADATA, PAYLOAD, Place


def customers(*numbers: int) -> list[Row]:
    return [Row(customer=b"c%d" % number) for number in numbers]


def names(entries: list[ListedEntry]) -> list[bytes]:
    return [entry.name for entry in entries]


def take(place: Place, handle: int, position: int, count: int) -> list[ListedEntry]:
    """Read some entries from a position, as a kernel with a small buffer does."""
    entries = place.fs.read_directory(handle, position, may_block=True)  # type: ignore[arg-type] # a handle number
    return [entry for entry, _ in zip(entries, range(count), strict=False)]


@given(st.integers(1, 2**31 - 1), st.integers(0, 2**32 - 2))
def test_position_round_trips_and_fits_a_signed_offset(revision: int, index: int) -> None:
    """telldir(3) is signed, and 0 begins a pass."""
    position = position_after(revision, index)
    assert 0 < position < 2**63
    assert split_position(position) == (revision, index + 1)


def test_listing_is_the_dots_and_then_the_names_in_order(place: Place) -> None:
    place.publish(*customers(2, 1), Row(customer=b"\xff"))
    assert names(place.listed(ROOT_INODE)) == [b".", b"..", b"c1", b"c2", b"\xff"]


def test_each_kind_of_directory_lists_its_entries(place: Place) -> None:
    place.write(Row(), sub__f=b"")
    place.publish(Row(), Row(date=JUNE_1 + 1), Row(query=b"q2"))
    assert place.names(place.inode(b"c")) == [b"q", b"q2"]
    assert place.names(place.inode(b"c", b"q")) == [DAY_1, b"2024-06-02"]
    assert place.names(place.day()) == [METADATA, PAYLOAD, b"sub"]
    assert place.names(place.inode(b"c", b"q", DAY_1, b"sub")) == [b"f"]


def test_listed_entry_is_the_one_that_lookup_finds(place: Place) -> None:
    """READDIRPLUS teaches the kernel the same as LOOKUP."""
    place.serve(Row(), sub__f=b"123")
    for path in ((), (b"c",), (b"c", b"q"), (b"c", b"q", DAY_1), (b"c", b"q", DAY_1, b"sub")):
        inode = place.inode(*path) if path else ROOT_INODE
        for listed in place.listed(inode):
            if listed.counted:
                found = place.entry(listed.name, start=inode)
                assert listed.entry.attributes == found.attributes
                assert listed.entry.entry_timeout_s == found.entry_timeout_s
                assert listed.entry.attr_timeout_s == found.attr_timeout_s
                assert listed.entry.node.identity == found.node.identity


def test_dots_name_the_directory_and_its_parent(place: Place) -> None:
    place.serve(Row(), sub__deep__f=b"")
    path = [ROOT_INODE]
    for name in (b"c", b"q", DAY_1, b"sub", b"deep"):
        path.append(place.inode(name, start=path[-1]))
    for parent, inode in zip([ROOT_INODE, *path], path, strict=False):
        dots = place.listed(inode)[:2]
        assert [dot.entry.attributes.inode for dot in dots] == [inode, parent]
        assert not any(dot.counted for dot in dots)


def test_listing_counts_no_lookup_by_itself(place: Place) -> None:
    """The engine counts what it handed to the kernel, and no more."""
    place.publish(*customers(1, 2, 3))
    place.listed(ROOT_INODE)
    assert len(place.fs.inodes) == 1


def test_pass_continues_at_any_position_in_the_same_names(place: Place) -> None:
    """V7: read one entry at a time, while the names change."""
    place.publish(*customers(1, 2, 3, 4))
    handle = place.fs.open_directory(ROOT_INODE)
    found: list[bytes] = []
    position, step = 0, 0
    while entries := take(place, handle, position, 1):
        found.append(entries[0].name)
        position = entries[0].next_position
        step += 1
        place.publish(*customers(*range(step, step + 3)))
    assert found == [b".", b"..", b"c1", b"c2", b"c3", b"c4"]


def test_position_can_be_sought_again(place: Place) -> None:
    """seekdir(3) to what telldir(3) gave, backwards and after a refresh."""
    place.publish(*customers(1, 2, 3))
    handle = place.fs.open_directory(ROOT_INODE)
    entries = take(place, handle, 0, 10)
    place.publish(*customers(7))
    for index, entry in enumerate(entries):
        assert names(take(place, handle, entry.next_position, 10)) == names(entries[index + 1 :])


def test_rewind_begins_a_pass_over_the_catalog_in_force(place: Place) -> None:
    """V7: rewinddir starts a new pass."""
    place.publish(*customers(1, 2))
    handle = place.fs.open_directory(ROOT_INODE)
    take(place, handle, 0, 3)
    place.publish(*customers(3))
    assert names(take(place, handle, 0, 10)) == [b".", b"..", b"c3"]


def test_passes_of_two_handles_do_not_meet(place: Place) -> None:
    place.publish(*customers(1, 2))
    one = place.fs.open_directory(ROOT_INODE)
    position = take(place, one, 0, 3)[-1].next_position
    place.publish(*customers(8, 9))
    other = place.fs.open_directory(ROOT_INODE)
    assert names(take(place, other, 0, 10)) == [b".", b"..", b"c8", b"c9"]
    assert names(take(place, one, position, 10)) == [b"c2"]
    with pytest.raises(StaleHandleError):
        take(place, other, position, 1)


def test_position_of_a_pass_that_is_no_longer_kept_is_stale(place: Place) -> None:
    """V7: an error, and never names of two catalogs."""
    place.publish(*customers(1, 2))
    handle = place.fs.open_directory(ROOT_INODE)
    position = take(place, handle, 0, 3)[-1].next_position
    for number in range(PASSES_KEPT):
        assert names(take(place, handle, position, 10)) == [b"c2"]
        place.publish(*customers(number))
        take(place, handle, 0, 1)
    with pytest.raises(StaleHandleError):
        take(place, handle, position, 1)


@pytest.mark.parametrize("position", [1, position_after(99, 0), position_after(1, 5), 2**63 - 1])
def test_invented_position_is_stale(place: Place, position: int) -> None:
    place.publish(*customers(1))
    handle = place.fs.open_directory(ROOT_INODE)
    with pytest.raises(StaleHandleError):
        take(place, handle, position, 1)


def test_position_beyond_the_end_is_the_end(place: Place) -> None:
    place.publish(*customers(1))
    handle = place.fs.open_directory(ROOT_INODE)
    take(place, handle, 0, 10)
    assert take(place, handle, position_after(place.fs.in_force.revision, 1_000), 10) == []


def test_names_of_an_older_revision_are_not_taught_to_the_kernel(place: Place) -> None:
    """V4: it was told to forget them; a late listing must not bring them back."""
    place.publish(*customers(1, 2, 3))
    handle = place.fs.open_directory(ROOT_INODE)
    first = take(place, handle, 0, 3)[-1]
    assert first.entry.entry_timeout_s == first.entry.attr_timeout_s == 60.0
    place.publish(*customers(2))
    rest = take(place, handle, first.next_position, 10)
    assert names(rest) == [b"c2", b"c3"]
    assert {(entry.entry.entry_timeout_s, entry.entry.attr_timeout_s) for entry in rest} == {(0.0, 0.0)}


def test_refresh_in_the_middle_of_one_reply_counts_for_what_follows(place: Place) -> None:
    """V4: entries are made as they are handed out."""
    place.publish(*customers(1, 2))
    handle = place.fs.open_directory(ROOT_INODE)
    entries = place.fs.read_directory(handle, 0, may_block=False)
    before = [next(entries) for _ in range(3)][-1]
    place.publish(*customers(1))
    after = next(entries)
    assert (before.name, before.entry.entry_timeout_s) == (b"c1", 60.0)
    assert (after.name, after.entry.entry_timeout_s) == (b"c2", 0.0)


def test_files_of_a_sealed_run_keep_their_cache_time_through_a_refresh(place: Place) -> None:
    place.serve(Row())
    handle = place.fs.open_directory(place.day())
    position = take(place, handle, 0, 2)[-1].next_position
    place.publish(Row(run=b"r2"))
    rest = take(place, handle, position, 10)
    assert names(rest) == [METADATA, PAYLOAD]
    assert all(entry.entry.entry_timeout_s > 10**6 for entry in rest)


def test_listing_above_a_run_needs_no_raw_store(place: Place) -> None:
    place.publish(Row())
    for inode in (ROOT_INODE, place.inode(b"c"), place.inode(b"c", b"q")):
        handle = place.fs.open_directory(inode)
        list(place.fs.read_directory(handle, 0, may_block=False))
    assert not place.store.calls


def test_listing_of_a_run_needs_the_raw_store_once_a_pass(place: Place) -> None:
    place.serve(Row())
    handle = place.fs.open_directory(place.day())
    with pytest.raises(WouldBlockError):
        place.fs.read_directory(handle, 0, may_block=False)
    assert not place.store.calls
    entries = list(place.fs.read_directory(handle, 0, may_block=True))
    place.store.calls.clear()
    list(place.fs.read_directory(handle, entries[2].next_position, may_block=False))
    assert not place.store.calls


def test_pass_over_a_run_that_breaks_meanwhile_goes_on(place: Place) -> None:
    """V7: in the listing that was frozen when it began."""
    place.serve(Row())
    handle = place.fs.open_directory(place.day())
    position = take(place, handle, 0, 3)[-1].next_position
    place.runs.report_damage(Row().partition, "gone")
    assert names(take(place, handle, position, 10)) == [PAYLOAD]


def test_file_is_no_directory(place: Place) -> None:
    place.serve(Row())
    with pytest.raises(NotADirectoryNodeError):
        place.fs.open_directory(place.inode(b"c", b"q", DAY_1, PAYLOAD))


def test_closed_directory_handle_is_stale(place: Place) -> None:
    handle = place.fs.open_directory(ROOT_INODE)
    place.fs.close_directory(handle)
    with pytest.raises(StaleHandleError):
        take(place, handle, 0, 1)
    with pytest.raises(StaleHandleError):
        take(place, 10**6, 0, 1)


def test_passes_on_many_threads_are_each_of_one_catalog(place: Place) -> None:
    """V7: names that go together are seen together, whatever is published meanwhile."""
    generations = [customers(*range(number * 10, number * 10 + 5)) for number in range(5)]
    allowed = {tuple(sorted(row.customer for row in rows)) for rows in generations}
    place.publish(*generations[0])
    errors: list[BaseException] = []
    passes = [0]
    done = threading.Event()

    def walk() -> None:
        try:
            while not done.is_set():
                handle = place.fs.open_directory(ROOT_INODE)
                found: list[ListedEntry] = []
                while batch := take(place, handle, found[-1].next_position if found else 0, 2):
                    found.extend(batch)
                place.fs.close_directory(handle)
                assert tuple(names(found)[2:]) in allowed
                passes[0] += 1
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)

    walkers = [threading.Thread(target=walk) for _ in range(3)]
    for walker in walkers:
        walker.start()
    for turn in range(600):
        place.publish(*generations[turn % 5])
    done.set()
    for walker in walkers:
        walker.join(30)
        assert not walker.is_alive()
    assert not errors
    assert passes[0]


def test_inode_numbers_of_a_listing_are_unique(place: Place) -> None:
    rows = [Row(date=JUNE_1 + day) for day in range(50)]
    place.publish(*rows)
    inodes: list[InodeNumber] = [e.entry.attributes.inode for e in place.listed(place.inode(b"c", b"q"))]
    assert len(set(inodes)) == 52
