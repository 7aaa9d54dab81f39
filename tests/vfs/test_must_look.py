"""Which requests are known to need a look before it is tried: exactly those of unknown runs, in the live tree."""

from __future__ import annotations

import struct
from typing import cast

import pytest

from readyfs.errors import BrokenRunError, WouldBlockError
from readyfs.fuse.direct.in_flight import Request
from readyfs.fuse.direct.listings import EndTable
from readyfs.fuse.direct.operations import Operations
from readyfs.fuse.direct.protocol import READ_IN, Opcode
from readyfs.fuse.direct.reads import Reads
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber
from tests.catalog.rows import Row
from tests.vfs.place import METADATA, PAYLOAD, Place

ROW = Row()


def would_block(place: Place, inode: InodeNumber) -> bool:
    try:
        place.fs.lookup(inode, PAYLOAD, may_block=False)
    except WouldBlockError:
        return True
    return False


def test_a_run_must_be_looked_at_until_it_is_known_to_be_sealed(place: Place) -> None:
    place.serve(ROW)
    day = place.day()
    assert place.fs.must_look(day)
    assert would_block(place, day)
    assert place.store.calls["list"] == 0
    place.listed(day)
    assert not place.fs.must_look(day)
    assert not would_block(place, day)


def test_a_broken_run_must_be_looked_at_each_time_and_a_healed_one_no_more(place: Place) -> None:
    directory = place.serve(ROW)
    (directory / "metadata.json").unlink()
    day = place.day()
    with pytest.raises(BrokenRunError):
        place.fs.lookup(day, b"unknown", may_block=True)
    assert place.fs.must_look(day)
    assert would_block(place, day)
    (directory / "metadata.json").write_bytes(b"{}")
    place.listed(day)
    assert not place.fs.must_look(day)


def test_a_run_that_is_to_be_looked_at_anew_must_be_looked_at(place: Place) -> None:
    place.serve(ROW)
    day = place.day()
    place.listed(day)
    place.publish(ROW._replace(updated_at_ns=9_000))
    assert place.fs.must_look(day)
    assert would_block(place, day)


def test_of_all_else_it_is_not_known(place: Place) -> None:
    """Above runs memory answers; a view may have expired, which is to be found out before anything is waited for."""
    place.serve(ROW, parts__0=b"x")
    day = place.day()
    view = place.view(place.keep())
    parts = place.inode(b"parts", start=day)
    payload = place.inode(PAYLOAD, start=day)
    in_view = place.inode(b"c", b"q", b"2024-06-01", start=view)
    for inode in (ROOT_INODE, place.inode(b"c"), parts, payload, view, in_view, InodeNumber(99)):
        assert not place.fs.must_look(inode)


def test_a_path_that_two_rows_claim_is_never_looked_at(place: Place) -> None:
    place.write(ROW)
    place.publish(ROW, ROW._replace(source=b"other"))
    assert not place.fs.must_look(place.day())


def test_lookups_and_the_beginnings_of_listings_wait_at_once_and_nothing_else_does(place: Place) -> None:
    place.serve(ROW)
    day = place.day()
    operations = Operations(place.fs, cast(Reads, None), lambda inode: None, EndTable())

    def waits(opcode: int, body: bytes) -> bool:
        return operations.must_wait(Request(2, opcode, "", day, body))

    assert waits(Opcode.LOOKUP, METADATA + b"\0")
    assert waits(Opcode.READDIRPLUS, READ_IN.pack(0, 0, 4096, 0, 0, 0, 0))
    assert not waits(Opcode.READDIRPLUS, READ_IN.pack(0, 1 << 32 | 4, 4096, 0, 0, 0, 0))
    assert not waits(Opcode.GETATTR, bytes(16))
    assert not waits(Opcode.GETXATTR, struct.pack("=II", 0, 0) + b"user.x\0")
