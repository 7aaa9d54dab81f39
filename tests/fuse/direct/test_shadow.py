"""The compiled loop in the shadow of Python: what is compared, and what becomes of handles."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from readyfs.fuse.direct.in_flight import Request
from readyfs.fuse.direct.native_loop import NativeLoop
from readyfs.fuse.direct.operations import Answer
from readyfs.fuse.direct.protocol import (
    IN_HEADER,
    OPEN_IN,
    OPEN_OUT,
    READ_IN,
    RELEASE_IN,
    Opcode,
    reply,
    reply_error,
)
from readyfs.fuse.direct.shadow import Shadow, ShadowEnds
from readyfs.vfs.inode_number import InodeNumber
from tests.fuse.direct import lying_loop
from tests.fuse.direct.looped import needs_module
from tests.mount.daemon import Daemon, Place, partition, running, wait_until

UNIQUE, INODE, PYTHONS, LOOPS = 4, 9, 1, 2**62 + 5
EVENT = "the native loop answers otherwise than Python"


class FakeLoop:
    """Answers as it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.next: bytes | None = None
        self.asked: list[tuple[int, bytes]] = []
        self.ends: list[tuple[int, int]] = []

    def answer(self, request: bytes) -> bytes | None:
        length, opcode, unique, inode, *_ = IN_HEADER.unpack_from(request)
        assert (length, unique, inode) == (len(request), UNIQUE, INODE)
        self.asked.append((opcode, request[IN_HEADER.size :]))
        return self.next

    def note_end(self, inode: int, position: int) -> None:
        self.ends.append((inode, position))


class Shadowed:
    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.shadow = Shadow(cast(NativeLoop, self.loop))

    def compare(self, opcode: Opcode, body: bytes, answer: Answer | int, found: bytes | None) -> None:
        self.loop.next = found
        self.shadow.compare(self.request(opcode, body), answer)

    def request(self, opcode: Opcode, body: bytes) -> Request:
        return Request(UNIQUE, opcode, opcode.name.lower(), INODE, body)

    def open(self, flags: int = 2) -> None:
        """Have both open a file, each under a number of its own."""
        body, found = OPEN_OUT.pack(PYTHONS, 2, 0), OPEN_OUT.pack(LOOPS, flags, 0)
        self.compare(Opcode.OPEN, OPEN_IN.pack(os.O_RDONLY, 0), Answer(body), reply(UNIQUE, found))


@pytest.fixture
def one() -> Shadowed:
    return Shadowed()


def test_equal_answers_are_no_mismatch(one: Shadowed) -> None:
    one.compare(Opcode.IOCTL, b"", 25, reply_error(UNIQUE, 25))
    one.compare(Opcode.GETATTR, b"", Answer(b"attributes"), reply(UNIQUE, b"attributes"))
    one.compare(Opcode.STATFS, b"", Answer(b"whatever"), None)
    one.open()
    assert not one.shadow.mismatches


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Answer(b"a"), reply(UNIQUE, b"b")),
        (Answer(b"a"), reply(UNIQUE, b"a ")),
        (Answer(b"a"), reply(UNIQUE + 2, b"a")),
        (Answer(b""), reply_error(UNIQUE, 5)),
        (5, reply_error(UNIQUE, 2)),
        (5, reply(UNIQUE)),
    ],
)
def test_different_answers_are_counted_and_logged_once(one: Shadowed, answer: Answer | int, found: bytes) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            one.compare(Opcode.GETATTR, b"", answer, found)
    assert one.shadow.mismatches == {"getattr": 3}
    assert [(line["event"], line["log_level"], line["operation"]) for line in logs] == [(EVENT, "error", "getattr")]


def test_only_the_handle_of_an_open_is_set_aside(one: Shadowed) -> None:
    one.open(flags=0)
    assert one.shadow.mismatches == {"open": 1}
    one.compare(Opcode.OPEN, OPEN_IN.pack(0, 0), 5, reply(UNIQUE, OPEN_OUT.pack(LOOPS, 2, 0)))
    assert one.shadow.mismatches == {"open": 2}


def test_handles_are_asked_for_by_the_number_that_the_loop_gave(one: Shadowed) -> None:
    one.open()
    rest = (7, 8, 0, 0, 0, 0)
    one.compare(Opcode.READ, READ_IN.pack(PYTHONS, *rest), Answer(b"bytes"), reply(UNIQUE, b"bytes"))
    assert one.loop.asked[-1] == (Opcode.READ, READ_IN.pack(LOOPS, *rest))
    one.compare(Opcode.READ, READ_IN.pack(PYTHONS, *rest), Answer(b"bytes"), reply(UNIQUE, b"other"))
    assert one.shadow.mismatches == {"read": 1}
    release = RELEASE_IN.pack(PYTHONS, 1, 2, 3)
    one.compare(Opcode.RELEASE, release, Answer(), reply(UNIQUE))
    assert one.loop.asked[-1] == (Opcode.RELEASE, RELEASE_IN.pack(LOOPS, 1, 2, 3))
    asked = len(one.loop.asked)
    one.compare(Opcode.RELEASE, release, Answer(), reply(UNIQUE))
    assert len(one.loop.asked) == asked, "it is open no more"


def test_handle_of_pythons_alone_is_not_compared(one: Shadowed) -> None:
    one.compare(Opcode.READ, READ_IN.pack(3, 0, 9, 0, 0, 0, 0), Answer(b"memory"), reply(UNIQUE, b"nonsense"))
    assert not one.loop.asked
    assert not one.shadow.mismatches


def test_open_that_nobody_received_is_taken_back(one: Shadowed) -> None:
    one.open()
    one.shadow.undo(one.request(Opcode.OPEN, b""), Answer(OPEN_OUT.pack(PYTHONS, 2, 0)))
    opcode, body = one.loop.asked[-1]
    assert (opcode, RELEASE_IN.unpack(body)[0]) == (Opcode.RELEASE, LOOPS)
    one.shadow.undo(one.request(Opcode.OPEN, b""), Answer(OPEN_OUT.pack(PYTHONS, 2, 0)))
    one.shadow.undo(one.request(Opcode.LOOKUP, b""), Answer(b""))
    assert one.loop.asked[-1] == (opcode, body)


def test_release_that_was_answered_late_is_done(one: Shadowed) -> None:
    one.open()
    release = one.request(Opcode.RELEASE, RELEASE_IN.pack(PYTHONS, 0, 0, 0))
    for _ in range(2):
        one.shadow.undo(release, Answer())
    opcode, body = one.loop.asked[-1]
    assert (opcode, RELEASE_IN.unpack(body)[0]) == (Opcode.RELEASE, LOOPS)
    assert len(one.loop.asked) == 2


def test_loop_learns_where_listings_end(one: Shadowed) -> None:
    ends = ShadowEnds(cast(NativeLoop, one.loop))
    ends.note_end(InodeNumber(INODE), 3)
    assert one.loop.ends == [(INODE, 3)]
    assert ends.take_end(InodeNumber(INODE), 3)
    assert not ends.take_end(InodeNumber(INODE), 3)


def mismatches(daemon: Daemon) -> set[str]:
    found = daemon.status()["engine_loop_mismatches"]
    assert isinstance(found, dict)
    return set(found)


@needs_module
def test_mount_in_the_shadow_finds_a_loop_that_lies(place: Place) -> None:
    """Whatever it answers is found out, and the reader gets Python's answer all the same."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x" * 10)
    lying = (sys.executable, str(Path(lying_loop.__file__)))
    with running(place, engine="shadow", wrapper=lying) as daemon:
        assert daemon.of(part).read_bytes() == b"x" * 10
        wait_until(lambda: "release" in mismatches(daemon), "the close is compared")
        assert daemon.status()["engine_loop"] == "shadow"
        assert mismatches(daemon) >= {"read", "release", "ioctl", "open"}
        assert {line["operation"] for line in daemon.events(EVENT)} >= {"read", "release", "ioctl", "open"}
