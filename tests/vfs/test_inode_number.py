"""V9: inode numbers survive a remount and are the same on every machine."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.raw.store import RawStat
from readyfs.vfs import inode_number as hashing
from readyfs.vfs.inode_number import ROOT_INODE, NodeKind, above_inode, date_inode, inode_number
from readyfs.vfs.nodes import (
    above_node,
    ambiguous_node,
    broken_node,
    control_directory,
    control_file,
    date_node,
    raw_node,
    root_node,
)
from tests.catalog.rows import JUNE_1, Row

STAT = RawStat(1, 2)
RUN_PARTS = (b"s", b"c", b"q", b"2024-06-01", b"r1")


def expected(*parts: bytes) -> int:
    """Hash an identity with nothing of ours: 63 bits of BLAKE2b over length-prefixed parts."""
    text = b"".join(struct.pack("<I", len(part)) + part for part in parts)
    return int(struct.unpack("<Q", hashlib.blake2b(text, digest_size=8).digest())[0] // 2)


def test_numbers_are_pinned() -> None:
    """V9: written down, so that a release that would renumber every file fails here."""
    assert above_inode((b"c", b"q")) == 7770839821255183187
    assert date_inode(Row().partition) == 5950034848828258386
    assert raw_node(NodeKind.RAW_FILE, Row().partition, (), (b"payload.jsonl",), STAT).inode == 5824548890767889880


def test_directory_over_the_dates_hashes_the_live_root_and_its_path() -> None:
    assert above_inode((b"c", b"q")) == expected(b"above", b"live", b"c", b"q")
    assert above_node((b"c", b"q")).inode == above_inode((b"c", b"q"))
    assert above_inode(()) == ROOT_INODE == root_node().inode == 1


def test_date_directory_hashes_the_live_root_and_its_run_but_not_its_place() -> None:
    row = Row().partition
    assert date_inode(row) == expected(b"date", b"live", *RUN_PARTS)
    assert date_node((b"c", b"q"), row).inode == date_node((b"x",), row).inode == date_inode(row)


def test_date_directory_keeps_its_number_when_the_row_is_touched() -> None:
    """V9: attributes change, the directory stays the one that a process stands in."""
    assert date_inode(Row().partition) == date_inode(Row(updated_at_ns=5, record_count=1).partition)


def test_file_hashes_its_run_and_path_but_no_root() -> None:
    """So that views of one run share the pages of its files, while a directory has one place only."""
    partition = Row().partition
    file = raw_node(NodeKind.RAW_FILE, partition, (b"c",), (b"d", b"f"), STAT)
    directory = raw_node(NodeKind.RAW_DIRECTORY, partition, (b"c",), (b"d",), STAT)
    assert file.inode == expected(b"raw-file", *RUN_PARTS, b"d", b"f")
    assert directory.inode == expected(b"raw-directory", b"live", *RUN_PARTS, b"d")


def test_changed_file_gets_a_number_of_its_own() -> None:
    file = raw_node(NodeKind.RAW_FILE, Row().partition, (), (b"f",), STAT, generation=1)
    assert file.inode == expected(b"raw-file", *RUN_PARTS, b"f", struct.pack("<I", 1))


def test_broken_nodes_hash_their_own_kind() -> None:
    """V10: so that nothing cached of a broken run is ever taken for the healthy one."""
    healthy = date_node((b"c", b"q"), Row().partition)
    ambiguous = ambiguous_node((b"c", b"q"), b"2024-06-01", JUNE_1)
    assert ambiguous.inode == expected(b"broken-date", b"live", b"c", b"q", b"2024-06-01")
    beside = {ambiguous_node((b"2024-06-01", b"c"), name, JUNE_1).inode for name in (b"q1", b"q2")}
    assert len(beside) == 2  # where the date stands above
    assert broken_node(NodeKind.BROKEN_FILE, healthy, (b"f",)).inode == expected(
        b"broken-file", b"date", b"live", *RUN_PARTS, b"f"
    )
    assert broken_node(NodeKind.BROKEN_FILE, ambiguous, (b"f",)).inode == expected(
        b"broken-file", b"broken-date", b"live", b"c", b"q", b"2024-06-01", b"f"
    )


def test_control_file_hashes_its_serial_number_too() -> None:
    """So that each moment's document has pages and a size of its own."""
    assert control_directory().inode == expected(b"control-directory", b"")
    assert control_file(b"status.json", 12, b"{}", 5).inode == expected(b"control-file", b"status.json", b"12")


@pytest.mark.parametrize("half", [0, 1])
def test_numbers_of_the_protocol_are_skipped(half: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """FUSE takes 0 for a negative entry and 1 for the root."""

    class Digest:
        def copy(self) -> Digest:
            return self

        def update(self, data: bytes) -> None:
            pass

        def digest(self) -> bytes:
            return struct.pack("<Q", half * 2)

    monkeypatch.setattr(hashing, "_HASH", Digest())
    assert inode_number((b"x",)) == half + 2


IDENTITIES = st.lists(st.binary(max_size=5), max_size=5).map(tuple)


@given(IDENTITIES, IDENTITIES)
def test_numbers_fit_63_bits_and_follow_the_identity(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
    assert 1 < inode_number(one) < 2**63
    assert (inode_number(one) == inode_number(other)) == (one == other)


def test_every_node_is_numbered_by_its_own_identity() -> None:
    """A collision is told from an acquaintance by the identity, so both must agree."""
    date = date_node((b"c", b"q"), Row().partition)
    for node in (
        above_node((b"c",)),
        date,
        ambiguous_node((b"c", b"q"), b"2024-06-01", JUNE_1),
        raw_node(NodeKind.RAW_FILE, Row().partition, (b"c",), (b"f",), STAT),
        raw_node(NodeKind.RAW_FILE, Row().partition, (b"c",), (b"f",), STAT, 3),
        raw_node(NodeKind.RAW_DIRECTORY, Row().partition, (b"c",), (b"f",), STAT),
        broken_node(NodeKind.BROKEN_FILE, date, (b"d", b"f")),
        broken_node(NodeKind.BROKEN_DIRECTORY, date, (b"d",)),
        control_directory(),
        control_file(b"status.json", 1, b"{}", 0),
    ):
        assert node.inode == inode_number(node.identity)
