"""The choice of the loop: whether compiled code receives the requests and answers some, or Python does it all.

It is made once for a mount, before anything is made, from the setting and from whether the compiled module is there and
does what it should. If Python does it all, nothing else of the module is used by the mount.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import structlog

from readyfs import native
from readyfs.errors import FuseError
from readyfs.fuse.direct.protocol import (
    IN_HEADER,
    OPEN_IN,
    OPEN_OUT,
    OUT_HEADER,
    READ_IN,
    RELEASE_IN,
    Opcode,
    OpenFlag,
    reply,
    reply_error,
)
from readyfs.fuse.direct.replies import attr_out
from readyfs.fuse.engine_words import EngineLoopWord
from readyfs.fuse.errno_table import NO_IOCTL
from readyfs.metrics.durations import REQUEST_BOUNDS_NS
from readyfs.raw.local import file_number
from readyfs.vfs.attributes import FOREVER_S, Presentation
from readyfs.vfs.inode_number import InodeNumber

log = structlog.get_logger("readyfs.fuse")

_INODE: Final = InodeNumber(2)
_UNIQUE: Final = 6
_SERVED: Final = 5
"""The state of a regular file that the loop may open: see `RawNodes`."""


@dataclass(frozen=True, slots=True)
class LoopChoice:
    """Which loop runs, never `auto`, and why; `compiled` is the module that the mount may use, if any."""

    word: EngineLoopWord
    reason: str
    compiled: ModuleType | None


def choose_loop(word: EngineLoopWord, module: Any = native.module, obstacle: str = native.obstacle) -> LoopChoice:
    """Decide which loop runs; `obstacle` says why there is no module, if there is none.

    Raises `FuseError` if the compiled loop was asked for and cannot be had.
    """
    if word is EngineLoopWord.PYTHON:
        return LoopChoice(word, "as asked for", None)
    if module is not None:
        fault = find_fault(module)
        if fault is None:
            found = EngineLoopWord.NATIVE if word is EngineLoopWord.AUTO else word
            return LoopChoice(found, "it is compiled" if word is EngineLoopWord.AUTO else "as asked for", module)
        obstacle = f"it fails its check: {fault}"
    if word is not EngineLoopWord.AUTO:
        raise FuseError(
            f"the native loop cannot be had: {obstacle}",
            "use --engine-loop auto, or install readyfs again where there is a C compiler",
        )
    if module is not None:
        log.warning("the compiled loop fails its check, Python serves instead", error=obstacle)
    return LoopChoice(EngineLoopWord.PYTHON, obstacle, None)


def find_fault(module: Any) -> str | None:
    """Return what the module's loop answers otherwise than it should, None if nothing: on a file of our own."""
    path = Path(native.__file__)
    try:
        seen, content = path.stat(), path.read_bytes()
        look = Presentation(1, 2)
        rows = module.Rows(5, 2)
        shown_ns = seen.st_mtime_ns
        row = (seen.st_size, seen.st_mtime_ns, file_number(seen.st_dev, seen.st_ino), shown_ns, _SERVED)
        rows.add(_INODE, row, (b".", os.fsencode(path.name)))
        template = attr_out(look.file(InodeNumber(0), 0, 0), FOREVER_S)
        loop = module.Loop(-1, rows, os.fsencode(path.parent), template, 1, REQUEST_BOUNDS_NS, seen.st_size + 1, 0)
        loop.allow_opens(True)
        asked = loop.answer(_request(Opcode.OPEN, OPEN_IN.pack(os.O_RDONLY, 0)))
        handle, _, _ = OPEN_OUT.unpack_from(asked or bytes(99), OUT_HEADER.size)
        whole = READ_IN.pack(handle, 0, seen.st_size + 1, 0, 0, 0, 0)
        attributes = attr_out(look.file(_INODE, seen.st_size, shown_ns), FOREVER_S)
        expected = (
            ("open", asked, reply(_UNIQUE, OPEN_OUT.pack(handle, OpenFlag.KEEP_CACHE, 0))),
            ("ioctl", loop.answer(_request(Opcode.IOCTL)), reply_error(_UNIQUE, NO_IOCTL)),
            ("getattr", loop.answer(_request(Opcode.GETATTR)), reply(_UNIQUE, attributes)),
            ("statfs", loop.answer(_request(Opcode.STATFS)), None),
            ("read", loop.answer(_request(Opcode.READ, whole)), reply(_UNIQUE, content)),
            ("release", loop.answer(_request(Opcode.RELEASE, RELEASE_IN.pack(handle, 0, 0, 0))), reply(_UNIQUE)),
            ("read", loop.answer(_request(Opcode.READ, whole)), None),
        )
    except (AttributeError, MemoryError, OSError, TypeError, ValueError, struct.error) as error:
        return str(error) or type(error).__name__
    return next(
        (f"{operation} is answered otherwise" for operation, found, wanted in expected if found != wanted), None
    )


def _request(opcode: int, body: bytes = b"") -> bytes:
    return IN_HEADER.pack(IN_HEADER.size + len(body), opcode, _UNIQUE, _INODE, 0, 0, 0, 0, 0) + body
