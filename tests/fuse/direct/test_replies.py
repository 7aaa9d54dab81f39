from __future__ import annotations

import struct

import pytest

from readyfs.fuse.direct import protocol
from readyfs.fuse.direct.protocol import Opcode, is_complete
from readyfs.fuse.direct.replies import PageFill, attr_out, direntplus, dot_direntplus, entry_out, negative_out
from readyfs.vfs.attributes import FOREVER_S, Attributes, Entry, NegativeEntry
from readyfs.vfs.inode_number import InodeNumber
from readyfs.vfs.nodes import root_node

FILE = Attributes(InodeNumber(77), 0o100444, 1025, 1_700_000_000_123_456_789, 5, 6)


@pytest.mark.parametrize(
    ("structure", "size"),
    [
        ("IN_HEADER", 40),
        ("OUT_HEADER", 16),
        ("INIT_IN", 64),
        ("INIT_OUT", 64),
        ("ATTR_OUT", 104),
        ("ENTRY_OUT", 128),
        ("DIRENT", 24),
        ("OPEN_OUT", 16),
        ("READ_IN", 40),
        ("RELEASE_IN", 24),
        ("STATFS_OUT", 80),
        ("GETXATTR_IN", 8),
        ("GETXATTR_OUT", 8),
        ("FORGET_IN", 8),
        ("BATCH_FORGET_IN", 8),
        ("FORGET_ONE", 16),
        ("INTERRUPT_IN", 8),
        ("NOTIFY_INVAL_INODE_OUT", 24),
        ("NOTIFY_INVAL_ENTRY_OUT", 16),
        ("BACKING_MAP", 16),
    ],
)
def test_structures_are_as_large_as_the_kernels(structure: str, size: int) -> None:
    """The sizes are those of include/uapi/linux/fuse.h."""
    found: struct.Struct = getattr(protocol, structure)
    assert found.size == size


def test_ioctl_numbers_are_those_of_the_header() -> None:
    assert protocol.IOC_BACKING_OPEN == 0x4010E501
    assert protocol.IOC_BACKING_CLOSE == 0x4004E502


def test_an_entry_carries_its_attributes_and_lifetimes() -> None:
    packed = entry_out(Entry(root_node(), FILE, 1.5, FOREVER_S))
    nodeid, generation, valid, attr_valid, valid_ns, attr_valid_ns = struct.unpack_from("=QQQQII", packed)
    assert (nodeid, generation) == (77, 0)
    assert (valid, valid_ns) == (1, 500_000_000)
    assert (attr_valid, attr_valid_ns) == (int(FOREVER_S), 0)
    ino, size, blocks, atime, mtime, ctime = struct.unpack_from("=QQQQQQ", packed, 40)
    assert (ino, size, blocks) == (77, 1025, 3)
    assert atime == mtime == ctime == 1_700_000_000
    ns = struct.unpack_from("=III", packed, 88)
    assert ns == (123_456_789,) * 3
    assert struct.unpack_from("=IIII", packed, 100) == (0o100444, 1, 5, 6)


def test_an_absence_is_inode_zero_with_a_lifetime() -> None:
    packed = negative_out(NegativeEntry(2.25))
    assert struct.unpack_from("=QQQQII", packed) == (0, 0, 2, 0, 250_000_000, 0)
    assert not any(packed[40:])


def test_attributes_come_behind_their_lifetime() -> None:
    packed = attr_out(FILE, 60.0)
    assert struct.unpack_from("=QII", packed) == (60, 0, 0)
    assert struct.unpack_from("=QQ", packed, 16) == (77, 1025)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 255])
def test_records_are_aligned_and_hold_the_name(length: int) -> None:
    name = b"n" * length
    record = direntplus(name, Entry(root_node(), FILE, 0.0, 0.0), 5)
    assert len(record) % 8 == 0
    assert len(record) - 152 - length < 8
    assert struct.unpack_from("=QQII", record, 128) == (77, 5, length, 8)  # DT_REG
    assert record[152 : 152 + length] == name


def test_dots_carry_no_entry() -> None:
    record = dot_direntplus(b"..", 9, 2)
    assert not any(record[:128])
    assert struct.unpack_from("=QQII", record, 128) == (9, 2, 2, 4)  # DT_DIR


def test_a_page_of_the_kernels_listing_is_full_after_128_short_names() -> None:
    """Records of up to 8 bytes of name take 32 bytes, so 128 fill a page of 4 KiB."""
    fill = PageFill()
    for count in range(1, 257):
        fill.add(b"12345678")
        assert fill.is_exact == (count % 128 == 0)


def test_no_record_crosses_a_page() -> None:
    fill = PageFill()
    for _ in range(102):
        fill.add(b"2024-06-01")  # 40 bytes
    fill.add(b"ab")  # 32 bytes do not fit into the remaining 16
    assert not fill.is_exact
    for _ in range(127):
        fill.add(b"ab")
    assert fill.is_exact


def test_a_request_must_be_as_long_as_it_says_and_hold_its_structure() -> None:
    assert is_complete(Opcode.READ, 80, 80)
    assert not is_complete(Opcode.READ, 80, 79)
    assert not is_complete(Opcode.READ, 79, 79)
    assert not is_complete(Opcode.LOOKUP, 40, 40)
    assert is_complete(9999, 40, 40), "what is not known has no size"
