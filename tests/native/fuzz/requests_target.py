"""Requests of a kernel, and such as no kernel sends: what the loop answers must be what Python answers, to the byte."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Final, cast

from readyfs.fuse.direct.backing import BackingFiles, OwnRegistrations
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.dispatch import Dispatch
from readyfs.fuse.direct.in_flight import InFlight
from readyfs.fuse.direct.listings import EndTable
from readyfs.fuse.direct.native_loop import NativeLoop
from readyfs.fuse.direct.operations import Operations
from readyfs.fuse.direct.protocol import (
    BATCH_FORGET_IN,
    FORGET_ONE,
    IN_HEADER,
    OPEN_IN,
    OUT_HEADER,
    READ_IN,
    RELEASE_IN,
    Buffer,
    Opcode,
)
from readyfs.fuse.direct.reads import OpenedReads
from readyfs.metrics.request_tally import RequestTally
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber
from tests.catalog.rows import JUNE_1, Row
from tests.native.fuzz.target import Difference, Journal, strange_number
from tests.vfs.place import Place

STEPS: Final = 500
SIZES: Final = (0, 1, 511, 4096, 70_000, 131_072, 131_073, 300_000)
SENTINEL: Final = IN_HEADER.pack(IN_HEADER.size, Opcode.STATFS, (1 << 64) - 2, ROOT_INODE, 0, 0, 0, 0, 0)
WITH_HANDLE: Final = {Opcode.READ, Opcode.RELEASE}
NOTIFY_STORE: Final = 4
_STORE: Final = struct.Struct("=IiQQQII")
"""struct fuse_notify_store_out behind its header."""
FIRST_HANDLE: Final = slice(IN_HEADER.size, IN_HEADER.size + 8)
"""Where a READ and a RELEASE have their handle, and an OPEN's answer behind its own header."""


class Answers:
    """The end of a connection at which Python's answers arrive."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, *answer: Buffer) -> bool:
        """Take an answer."""
        self.sent.append(b"".join(answer))
        return True


class BothEnds(EndTable):
    """Where listings ended: known to Python, and told the loop."""

    loop: NativeLoop

    def note_end(self, inode: InodeNumber, position: int) -> None:
        """See `Ends`."""
        super().note_end(inode, position)
        self.loop.note_end(inode, position)


class World:
    """A filesystem that both serve: Python's dispatch, and the loop over the same inode table."""

    def __init__(self, module: ModuleType, base: Path) -> None:
        self.place = Place(base / "raw", max_open_files=60)
        rows = [Row(query=b"q%d" % number, date=JUNE_1 + number % 3) for number in range(len(SIZES))]
        self.directories = [
            self.place.write(row, bytes(range(256)) * (size // 256) + b"x" * (size % 256), part__one_bin=b"y" * size)
            for row, size in zip(rows, SIZES, strict=True)
        ]
        self.rows = rows
        self.place.publish(*rows)
        fs = self.place.fs
        self.kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.kernel.setblocking(False)
        ours.setblocking(False)
        self._ours = ours
        self.answers, ends = Answers(), BothEnds()
        channel = cast(Channel, self.answers)
        # Before the loop shares its handles: those of Python are numbered as ever.
        self.loop = ends.loop = NativeLoop(
            module, ours.fileno(), fs, os.fsencode(self.place.base), None, opens=True, pushes=True
        )
        self.loop.serve()
        self.answer = vars(self.loop)["_loop"].answer
        operations = Operations(
            fs, OpenedReads(fs, BackingFiles(OwnRegistrations(channel)), None), lambda inode: None, ends
        )
        self._dispatch = Dispatch(channel, operations, InFlight(60.0))
        self._tally = RequestTally()
        self.pushed: bytes | None = None
        self.inodes: list[int] = [ROOT_INODE]
        self.walk()

    def ask_python(self, request: bytes) -> bytes | None:
        """Return Python's answer; None if there is none."""
        self.answers.sent.clear()
        try:
            waiting = self._dispatch.serve(request, self._tally)
        except (struct.error, OverflowError):  # a BATCH_FORGET of fewer than it says: `Workers` goes on
            return None
        if waiting is not None and not self._dispatch.finish(waiting, self._tally):
            raise Difference("a request was postponed")
        if len(self.answers.sent) > 1:
            raise Difference("answered twice")
        return self.answers.sent[0] if self.answers.sent else None

    def ask_loop(self, request: bytes) -> bytes | None:
        """Return the loop's answer to a request that came over the connection; None if it leaves it to Python."""
        self.kernel.send(request)
        self.kernel.send(SENTINEL)
        for_python = [self.loop.receive()]
        if for_python[0] != SENTINEL:
            for_python.append(self.loop.receive())
            if for_python[0] != request[:8192]:
                raise Difference("the loop changed a request")
        answer = self._received()
        if answer is not None and answer[8:16] == bytes(8):
            self.pushed, answer = answer, self._received()
        if (answer is None) != (len(for_python) == 2):
            raise Difference("a request was answered and handed on, or neither")
        return answer

    def _received(self) -> bytes | None:
        try:
            return self.kernel.recv(1 << 20)
        except BlockingIOError:
            return None

    def take_pushed(self) -> tuple[int, bytes] | None:
        """Return what came unasked before the last answer: a whole file's inode number and bytes."""
        pushed, self.pushed = self.pushed, None
        if pushed is None:
            return None
        length, code, _, inode, offset, size, _ = _STORE.unpack_from(pushed)
        if (length, code, offset, size) != (len(pushed), NOTIFY_STORE, 0, len(pushed) - _STORE.size):
            raise Difference(f"pushed {pushed[: _STORE.size].hex()}")
        return inode, pushed[_STORE.size :]

    def walk(self) -> None:
        """Look everything up and list it, as a kernel does that has forgotten."""
        found: list[int] = [ROOT_INODE]
        for inode in found:
            if len(found) > 200:
                break
            body = READ_IN.pack(0, 0, 1 << 16, 0, 0, 0, 0)
            listed = self.ask_python(_request(Opcode.READDIRPLUS, inode, body, 2)) or b""
            at = OUT_HEADER.size
            while at + 152 <= len(listed):
                (number,) = struct.unpack_from("=Q", listed, at)
                (length,) = struct.unpack_from("=I", listed, at + 128 + 16)
                name = listed[at + 152 : at + 152 + length]
                if number and name not in (b".", b"..") and number not in found:
                    found.append(number)
                at += (152 + length + 7) & ~7
        self.inodes = found

    def close(self) -> None:
        """Close the connection."""
        self.kernel.close()
        self._ours.close()


def requests(module: ModuleType, random: Random, base: Path, journal: Journal) -> Iterator[None]:
    """Run an episode; see `Target`."""
    world = World(module, base)
    handles: dict[int, int] = {}
    """Handles of the loop, each with Python's own for the same file."""
    for number in range(STEPS):
        if number % 100 == 99:
            world.walk()
        if random.random() < 0.01:
            journal.note("disturb")
            _disturb(world, random)
        request = _make(random, world, list(handles), unique=2 * number + 4)
        journal.note("request", request[:8200])
        _try(world, random, request, handles)
        yield
    for handle, other in handles.items():
        _release(world, handle, other)
    if world.loop.open_files() or len(world.place.fs.handles):
        raise Difference("a file stays open")
    world.close()


def _try(world: World, random: Random, request: bytes, handles: dict[int, int]) -> None:
    over_the_connection = 0 < len(request) < 8192 and random.random() < 0.5
    native = world.ask_loop(request) if over_the_connection else world.answer(request)
    if len(request) < IN_HEADER.size:
        if native is not None:
            raise Difference("what is no request was answered")
        return
    opcode = int.from_bytes(request[4:8], "little")
    handle = int.from_bytes(request[FIRST_HANDLE], "little") if opcode in WITH_HANDLE else 0
    other = handles.get(handle)
    python = world.ask_python(request if other is None else _with_handle(request, other))
    if opcode == Opcode.OPEN and python is not None and len(python) == 32:
        _compare_open(world, native, python, handles)
    elif native is not None and native != python:
        raise Difference(f"the loop answers {native[:200].hex()}, Python {(python or b'').hex()[:400]}")
    if opcode == Opcode.RELEASE and native is not None:
        again = _request(Opcode.READ, 0, READ_IN.pack(handle, 0, 1, 0, 0, 0, 0), 2)
        if world.answer(again) is not None:
            raise Difference("what was released is read")
    if opcode == Opcode.RELEASE and python is not None and not any(python[4:8]):
        for ours, theirs in list(handles.items()):
            if handle in (ours, theirs):
                _release(world, ours, theirs)
                del handles[ours]


def _release(world: World, *handles: int) -> None:
    for handle in handles:
        world.ask_python(_request(Opcode.RELEASE, 0, RELEASE_IN.pack(handle, 0, 0, 0), 2))


def _compare_open(world: World, native: bytes | None, python: bytes, handles: dict[int, int]) -> None:
    """Remember both handles of a file that was opened; all else of the answers must be the same."""
    theirs = int.from_bytes(python[16:24], "little")
    if native is None:
        _release(world, theirs)
        world.pushed = None
        return
    if native[:16] + native[24:] != python[:16] + python[24:]:
        raise Difference(f"the loop opens {native.hex()}, Python {python.hex()}")
    pushed = world.take_pushed()
    if pushed is not None:
        inode, content = pushed
        body = READ_IN.pack(theirs, 0, 1 << 20, 0, 0, 0, 0)
        read = world.ask_python(_request(Opcode.READ, inode, body, 2)) or b""
        if content != read[OUT_HEADER.size :]:
            raise Difference(f"pushed {content[:99]!r}, which reads as {read[:99]!r}")
    ours = int.from_bytes(native[16:24], "little")
    if ours in handles:
        raise Difference(f"handle {ours} was given twice")
    handles[ours] = theirs


def _disturb(world: World, random: Random) -> None:
    """Do to a run what its producer must not, or what makes the kernel forget."""
    number = random.randrange(len(SIZES))
    payload = world.directories[number] / "payload.jsonl"
    before = payload.stat() if payload.exists() else None
    match random.choice(("append", "replace", "truncate", "touch", "remove", "supersede", "publish", "restore")):
        case "append":
            with payload.open("ab") as file:
                file.write(b"more")
        case "replace":
            payload.with_name("new").write_bytes(b"n" * SIZES[number])
            payload.with_name("new").replace(payload)
        case "truncate" if payload.exists():
            os.truncate(payload, SIZES[number] // 2)
        case "touch" if payload.exists():
            os.utime(payload, ns=(0, random.getrandbits(60)))
        case "remove":
            payload.unlink(missing_ok=True)
        case "supersede":
            world.place.fs.supersede(InodeNumber(random.choice(world.inodes)))
        case "publish":
            rows = [row._replace(run=random.choice((b"r1", b"r2"))) for row in world.rows]
            world.place.publish(*random.sample(rows, random.randrange(1, len(rows) + 1)))
        case _:
            world.place.write(world.rows[number], b"z" * SIZES[number])
    if before is not None and payload.exists() and random.random() < 0.5:
        os.utime(payload, ns=(0, before.st_mtime_ns))  # so that something else must tell them apart


def _make(random: Random, world: World, handles: list[int], unique: int) -> bytes:
    opcode = random.choice(_OPCODES)
    inode = random.choice(world.inodes) if random.random() < 0.95 else strange_number(random)
    handle = random.choice(handles) if handles and random.random() < 0.9 else strange_number(random)
    offset = random.choice((0, 0, 4096, random.randrange(1 << 17), strange_number(random)))
    size = random.choice((4096, 131_072, random.randrange(1 << 18), strange_number(random) % (1 << 32)))
    match opcode:
        case Opcode.OPEN:
            body = OPEN_IN.pack(random.choice((os.O_RDONLY, os.O_RDONLY | 0o100000, random.getrandbits(32))), 0)
        case Opcode.READ | Opcode.READDIRPLUS:
            body = READ_IN.pack(handle, offset, size, 0, 0, 0, 0)
        case Opcode.RELEASE:
            body = RELEASE_IN.pack(handle, 0, 0, 0)
        case Opcode.BATCH_FORGET:
            numbers = [random.choice(world.inodes[1:]) for _ in range(random.randrange(4))]
            body = BATCH_FORGET_IN.pack(len(numbers), 0) + b"".join(FORGET_ONE.pack(one, 1) for one in numbers)
        case Opcode.LOOKUP:
            body = random.choice((b"payload.jsonl\0", b"2024-06-01\0", b"q1\0", b"\0", random.randbytes(300)))
        case _:
            body = random.randbytes(random.choice((0, 8, 16, 32, 56)))
    request = _request(opcode, inode, body, unique)
    return _mutated(random, request) if random.random() < 0.4 else request


def _mutated(random: Random, request: bytes) -> bytes:
    data = bytearray(request)
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(data)) if data else 0
        match random.choice(("flip", "word", "shorter", "longer", "length", "opcode")):
            case "flip" if data:
                data[at] ^= 1 << random.randrange(8)
            case "word":
                at &= ~7
                data[at : at + 8] = strange_number(random).to_bytes(8, "little")
            case "shorter":
                del data[at:]
            case "longer":
                data += random.randbytes(random.choice((1, 8, 100, 8192)))
            case "opcode" if len(data) >= 8:
                data[4:8] = random.choice((*range(60), 4096, random.getrandbits(32))).to_bytes(4, "little")
            case _:
                pass
    if random.random() < 0.7 and len(data) >= 4:
        data[:4] = len(data).to_bytes(4, "little")
    return bytes(data)


_OPCODES: Final = (
    *(Opcode.GETATTR, Opcode.OPEN, Opcode.OPEN, Opcode.READ, Opcode.READ, Opcode.READ, Opcode.RELEASE),
    *(Opcode.IOCTL, Opcode.READDIRPLUS, Opcode.READDIRPLUS, Opcode.LOOKUP, Opcode.FORGET, Opcode.BATCH_FORGET),
    *(Opcode.GETXATTR, Opcode.STATFS, Opcode.READLINK),
)


def _request(opcode: int, inode: int, body: bytes, unique: int) -> bytes:
    return IN_HEADER.pack(IN_HEADER.size + len(body), opcode, unique, inode, 0, 0, 0, 0, 0) + body


def _with_handle(request: bytes, handle: int) -> bytes:
    return request[: FIRST_HANDLE.start] + handle.to_bytes(8, "little") + request[FIRST_HANDLE.stop :]
