"""Looking at directories and opening files beneath a root, beside Python's way, on trees that no producer makes."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, Final

from readyfs.layout import RawLayout
from readyfs.partition import Partition
from readyfs.raw.local import LocalRawStore
from readyfs.raw.store import UnreadableFileError
from tests.catalog.rows import Row
from tests.native.fuzz.target import Difference, Journal

STEPS: Final = 50


def look(module: ModuleType, random: Random, base: Path, journal: Journal) -> Iterator[None]:
    """Run an episode; see `Target`."""
    partition = Row().partition
    layout = RawLayout.parse()
    stores = [LocalRawStore(base, layout, compiled=way) for way in (module, None)]
    run = base.joinpath(*map(os.fsdecode, layout.directory_of(partition)))
    run.mkdir(parents=True)
    names = [random.choice(_NAMES)(random) for _ in range(random.choice((0, 3, 40)))]
    for _ in range(STEPS):
        _disturb(random, run, names or [b"a"])
        path = tuple(random.choice([*names, b"a"]) for _ in range(random.choice((0, 0, 0, 1, 2))))
        readable = tuple(random.choice([*names, b"a"]) for _ in range(random.randrange(3)))
        journal.note(f"look {path} {readable}")
        _compare([_outcome(partial(store.list_directory, partition, path, readable)) for store in stores])
        journal.note(f"open {path}")
        _compare([_outcome(partial(_opened, store, partition, path)) for store in stores])
        _strange_call(module, random, base, journal)
        yield


_NAMES: Final[tuple[Callable[[Random], bytes], ...]] = (
    lambda random: b"a",
    lambda random: random.randbytes(random.choice((1, 2, 8, 255))).translate(None, b"\0/") or b"x",
    lambda random: b"long" * 63 + b"_" + b"%d" % random.randrange(10),
    lambda random: "\N{SNOWMAN}".encode() * random.randrange(1, 40),
)


def _disturb(random: Random, run: Path, names: list[bytes]) -> None:
    place = os.path.join(os.fsencode(run), random.choice(names))
    if os.path.basename(place) in (b".", b".."):
        return
    kind = random.choice(("file", "file", "file", "link", "loop", "fifo", "socket", "directory", "gone", "sparse"))
    if os.path.isdir(place) and not os.path.islink(place):
        shutil.rmtree(place)
    elif os.path.lexists(place):
        os.unlink(place)
    match kind:
        case "file":
            Path(os.fsdecode(place)).write_bytes(b"x" * random.randrange(5000))
        case "sparse":
            with open(place, "wb") as file:
                file.truncate(random.choice((1 << 31, 1 << 40)))
        case "link":
            os.symlink(random.choice((b"/", b"..", b"a", b"nowhere")), place)
        case "loop":
            os.symlink(place, place)
        case "fifo":
            os.mkfifo(place)
        case "directory":
            os.mkdir(place)
        case "socket" if len(place) < 100:
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(place)
        case _:
            return
    if kind in ("file", "sparse"):
        os.utime(place, ns=(0, random.choice((0, 1, -1, 10**18, 1 << 60))))


def _opened(store: LocalRawStore, partition: Partition, path: tuple[bytes, ...]) -> object:
    file = store.open_file(partition, path)
    try:
        return file.stat, file.pread(64, 0)
    finally:
        file.close()


def _outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except UnreadableFileError as error:
        return type(error), error.name, error.errno
    except OSError as error:
        return type(error), error.errno, error.filename


def _compare(outcomes: list[object]) -> None:
    if outcomes[0] != outcomes[1]:
        raise Difference(f"{outcomes[0]!r}, not {outcomes[1]!r}")


def _strange_call(module: ModuleType, random: Random, base: Path, journal: Journal) -> None:
    """Call with what no program of ours would give: no descriptor may stay open."""
    junk: tuple[Any, ...] = (
        *(b"", b".", b"..", b"/", b"\0", b"a\0b", b"a//b", b"../..", b"x" * 5000, b"a/" * 3000, random.randbytes(9)),
        *(os.fsencode(base), None, "a", 1, (b"a",), [b"a"], (1,), (b"a\0",), (b"a", None), (b"..",), (b"x" * 300,)),
    )
    name = random.choice(("look", "open_regular"))
    arguments = [random.choice(junk) for _ in range(random.randrange(5))]
    journal.note(f"{name}{arguments}"[:2000])
    before = len(os.listdir("/proc/self/fd"))
    try:
        found = getattr(module, name)(*arguments)
    except (TypeError, ValueError, OverflowError):
        found = None
    if name == "open_regular" and found is not None and len(found) == 4:
        os.close(found[0])
    if len(os.listdir("/proc/self/fd")) != before:
        raise Difference(f"{name}{arguments} left a descriptor open")
