"""One random stream of system calls on the raw side and on every mount at once; every answer is compared.

What is opened stays open on all sides, through changes of the state, and is asked again. A stream is printed as it
was found to fail, made small: `on_path`, `open`, `on_open` and so on name the calls, the message the sides.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from readyfs.demo.producer import LogicalPartition
from tests.differential import syscalls
from tests.differential.answers import (
    Answer,
    Failed,
    agree_with_each_other,
    agree_with_raw,
    ask,
    shorten,
)
from tests.differential.calls import BY_DESCRIPTOR, BY_PATH, FLAGS, MODES, open_flags
from tests.differential.known import is_known
from tests.differential.world import CONTROL, LONG, NOT_TEXT, RAW, SHAPES, World
from tests.mount import mutations

PATIENCE_S: Final = 60.0
MOST_HELD: Final = 8

PARTITIONS: Final = [
    *(LogicalPartition("", "007", "q1", f"2024-06-{day:02d}") for day in range(1, 6)),
    LogicalPartition("", "007", "q2", "2024-06-01"),
    LogicalPartition("", "a:b", "q1", "2024-06-01"),
]
ABOVE: Final = [".", "007", "007/q1", "007/q2", "a%3Ab", "a%3Ab/q1"]
DATES: Final = [
    "007/q1/2024-06-01",
    "007/q1/2024-06-02",
    "007/q1/2024-06-03",
    "007/q2/2024-06-01",
    "a%3Ab/q1/2024-06-01",
]
FILES: Final = [
    *("payload.jsonl", "payload.jsonl", "metadata.json", LONG, CONTROL, NOT_TEXT, "..x", " ", "ünï\\%2F", "sparse.bin"),
    *("more.bin", "less.bin", "sub", "sub/inner.bin", "sub/deep/leaf", "sub/deep/..", "sub/../payload.jsonl"),
]
ODD: Final = [
    *(
        "n" * 256,
        ".payload.jsonl.crc",
        "_spark_metadata",
        "payload.jsonl/",
        "payload.jsonl/x",
        "./metadata.json",
        ".",
        "..",
    ),
    *("../2024-06-02/metadata.json", "latest", "dangling", "pipe", "PAYLOAD.JSONL", "payload.jsonl\n", "x/" * 2100),
    *("", "sub/", "sub/missing", "..", "\udcff", "payload.jsonl ", "n" * 300, "payload.jsonl/.."),
]
STRANGERS: Final = [
    *("nobody", "007/q9", "007/q1/2031-01-01", "007/q1/2024-6-01", "007/q1/2024-06-01/..", "a:b", "a%3ab", "%30%30%37"),
    *(
        "007/q1/" + "d" * 256,
        "..x",
        "",
        "007//q1",
        "007/",
        "007/q1/../q2",
        "\x01",
        ".readyfs",
        "007/.readyfs",
        "007/q1/x" * 600,
    ),
]

partitions = st.sampled_from(PARTITIONS)
shapes = st.sampled_from(sorted(SHAPES))
names = st.sampled_from([*FILES, *FILES, *ODD])
in_dates = st.builds("{}/{}".format, st.sampled_from(DATES), names)
paths = st.one_of(in_dates, in_dates, st.sampled_from([*ABOVE, *DATES, *STRANGERS]))
usual_files = st.builds("{}/{}".format, st.sampled_from(DATES[:3]), st.sampled_from(["payload.jsonl", "metadata.json"]))
flag_sets = st.one_of(
    st.just(()), st.lists(st.sampled_from(FLAGS), unique=True, max_size=3).map(lambda flags: tuple(sorted(flags)))
)
modes = st.sampled_from(["O_RDONLY", "O_RDONLY", *MODES])
choices = st.integers(0, 100)
offsets = st.sampled_from([0, 0, 1, 511, 699, 700, 4095, 4096, 4097, 8192, 131071, 131072, (1 << 20) + 12, 1 << 40, -1])
sizes = st.sampled_from([0, 1, 100, 4095, 4096, 70_000, (1 << 21) + 1])


T = TypeVar("T")


class Mismatch(AssertionError):
    """Two sides answered differently."""


@dataclass(slots=True)
class Held:
    """What is open on all sides that opened it."""

    what: str
    descriptors: dict[str, int]
    is_directory: bool
    is_direct: bool
    opened_at: int


@dataclass(slots=True)
class Pass:
    """A listing of a directory above the dates that was read in part; `possible` is what it may have in the end."""

    path: str
    descriptors: dict[str, int]
    seen: dict[str, list[str]]
    possible: list[frozenset[str]] = field(default_factory=list)


class DifferentialMachine(RuleBasedStateMachine):
    """Drives one world; a subclass names it."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self._held: list[Held] = []
        self._passes: list[Pass] = []
        self._drops = 0
        # A reader that waits for a daemon which does not answer can be freed by the daemon's death only.
        self._watchdog = threading.Timer(PATIENCE_S, self.world.kill)
        self._watchdog.daemon = True
        self._watchdog.start()
        self.world.begin_example()

    @initialize(shapes=st.tuples(shapes, shapes, shapes), others=st.lists(st.tuples(partitions, shapes), max_size=4))
    def begin(self, shapes: tuple[str, ...], others: list[tuple[LogicalPartition, str]]) -> None:
        for partition, shape in [*zip(PARTITIONS[:3], shapes, strict=True), *others]:
            self.world.publish(partition, shape)
        self._changed()

    def teardown(self) -> None:
        try:
            for descriptors in [held.descriptors for held in self._held] + [one.descriptors for one in self._passes]:
                _close_all(descriptors)
            self.world.end_example()
        finally:
            self._watchdog.cancel()

    # ---- changes of the state, each followed by a refresh of all ----------------------------------------------

    @rule(partition=partitions, shape=shapes)
    def publish(self, partition: LogicalPartition, shape: str) -> None:
        self._look(partition)
        self.world.publish(partition, shape)
        self._changed()
        self._look(partition)

    @rule(partition=partitions, choice=choices)
    def publish_again(self, partition: LogicalPartition, choice: int) -> None:
        self._look(partition)
        self.world.publish_again(partition, choice)
        self._changed()
        self._look(partition)

    @rule(partition=partitions, how=st.sampled_from(["fail", "requeue", "delete"]))
    def retract(self, partition: LogicalPartition, how: str) -> None:
        self._look(partition)
        self.world.retract(partition, how)
        self._changed()
        self._look(partition)

    @rule()
    def refresh_without_a_change(self) -> None:
        self.world.refresh()

    @precondition(lambda self: self._drops < 2 and os.geteuid() == 0)
    @rule()
    def drop_names(self) -> None:
        self._drops += 1
        self.world.drop_names()

    # ---- by path ----------------------------------------------------------------------------------------------

    @rule(calls=st.lists(st.sampled_from(sorted(BY_PATH)), min_size=1, max_size=8), path=paths)
    def on_path(self, calls: list[str], path: str) -> None:
        for call in calls:
            self._on_path(call, path, lambda top: f"{top}/{path}")

    @rule(
        call=st.sampled_from(sorted(mutations.changes("", "", ""))),
        directory=st.one_of(st.sampled_from([*ABOVE, *DATES]), paths),
        file=paths,
        missing=paths,
    )
    def change(self, call: str, directory: str, file: str, missing: str) -> None:
        """Every call that would change something."""

        def act(side: str) -> Answer:
            top = self._tops[side]
            return mutations.changes(*(f"{top}/{path}" for path in (directory, file, missing)))[call]()

        found = self._compare(f"{call} {directory!r} {file!r} {missing!r}", self._tops, act)
        if any(not isinstance(answer, Failed) for answer in found.values()):
            raise Mismatch(f"{call} did something: {found}")

    @rule()
    def walk(self) -> None:
        """Everything that can be reached, as find(1) and cat(1) do."""
        unseen = ["."]
        while unseen:
            path = unseen.pop()
            for call in ("lstat", "getdents64", "listxattr"):
                found = self._on_path(call, path, lambda top, path=path: f"{top}/{path}")  # type: ignore[misc]
            if path.count("/") > 6:
                raise Mismatch(f"directories without end: {path}")
            listed = self._on_path("scandir", path, lambda top, path=path: f"{top}/{path}")[RAW]  # type: ignore[misc]
            if isinstance(listed, list):
                for name, is_directory, _ in listed:
                    below = f"{path}/{name}" if path != "." else name
                    if is_directory:
                        unseen.append(below)
                    else:
                        for call in ("lstat", "read"):
                            found = self._on_path(call, below, lambda top, below=below: f"{top}/{below}")  # type: ignore[misc]
                            assert not isinstance(found[RAW], Failed)

    # ---- what is held open --------------------------------------------------------------------------------------

    @rule(path=paths, mode=modes, flags=flag_sets)
    def open(self, path: str, mode: str, flags: tuple[str, ...]) -> None:
        self._open(repr(path), {side: f"{top}/{path}" for side, top in self._tops.items()}, mode, flags)

    @rule(
        path=st.one_of(st.sampled_from([*ABOVE, *DATES]), usual_files),
        flag=st.sampled_from([None, "O_DIRECT", "O_PATH"]),
    )
    def open_what_may_be_there(self, path: str, flag: str | None) -> None:
        paths = {side: f"{top}/{path}" for side, top in self._tops.items()}
        self._open(repr(path), paths, "O_RDONLY", () if flag is None else (flag,))

    @rule(
        choice=choices,
        name=st.one_of(names, st.sampled_from(["q1", "2024-06-01", "2024-06-02"])),
        mode=modes,
        flags=flag_sets,
    )
    def open_at(self, choice: int, name: str, mode: str, flags: tuple[str, ...]) -> None:
        """openat(2) on a directory that is held, or on what is none."""
        held = _pick(self._held, choice)
        if held is None:
            return
        below = {side: f"/proc/self/fd/{fd}/{name}" for side, fd in held.descriptors.items()}
        self._open(f"{held.what} + {name!r}", below, mode, flags, within=held, leads_out=".." in name)

    @rule(choice=choices, call=st.sampled_from(sorted(BY_PATH)), name=names)
    def on_path_at(self, choice: int, call: str, name: str) -> None:
        held = _pick(self._held, choice)
        if held is None:
            return
        leads_out = (".." in name or call == "chdir") and self._is_stale(held)
        tops = {side: f"/proc/self/fd/{fd}" for side, fd in held.descriptors.items()}
        self._on_path(call, f"{held.what} + {name!r}", lambda top: f"{top}/{name}", tops=tops, binds=not leads_out)

    @rule(
        choice=choices,
        calls=st.lists(st.tuples(st.sampled_from(sorted(BY_DESCRIPTOR)), offsets, sizes), min_size=1, max_size=8),
    )
    def on_open(self, choice: int, calls: list[tuple[str, int, int]]) -> None:
        held = _pick(self._held, choice)
        if held is None:
            return
        for call, offset, size in calls:
            self._on_open(held, call, offset, size)

    @rule(choice=choices)
    def dup(self, choice: int) -> None:
        held = _pick(self._held, choice)
        if held is None:
            return
        copies = {side: os.dup(fd) for side, fd in held.descriptors.items()}
        self._hold(Held(f"dup of {held.what}", copies, held.is_directory, held.is_direct, held.opened_at))

    @rule(choice=choices)
    def close(self, choice: int) -> None:
        held = _pick(self._held, choice)
        if held is None:
            return
        self._held.remove(held)
        self._compare(f"close {held.what}", held.descriptors, lambda side: os.close(held.descriptors[side]))

    # ---- listings read in part (V7) -----------------------------------------------------------------------------

    @rule(path=st.sampled_from(ABOVE))
    def begin_listing(self, path: str) -> None:
        tops = {side: top for side, top in self._tops.items() if side != RAW}
        opened = {side: ask(lambda top=top: os.open(f"{top}/{path}", os.O_RDONLY)) for side, top in tops.items()}  # type: ignore[misc]
        if any(isinstance(answer, Failed) for answer in opened.values()):
            raw = {RAW: Failed("ENOENT") if self.world.tree.names(f"{self.world.source}/{path}") is None else 0}
            self._judge(f"open {path!r}", raw | opened)
            return
        descriptors = {side: fd for side, fd in opened.items() if isinstance(fd, int)}
        begun = Pass(path, descriptors, {side: [] for side in descriptors}, [self._reference_names(path)])
        self._passes.append(begun)
        self._go_on(begun, calls=1)

    @rule(choice=choices, calls=st.integers(1, 2))
    def continue_listing(self, choice: int, calls: int) -> None:
        held = _pick(self._passes, choice)
        if held is not None:
            self._go_on(held, calls)

    @rule(choice=choices)
    def finish_listing(self, choice: int) -> None:
        held = _pick(self._passes, choice)
        if held is None:
            return
        self._passes.remove(held)
        try:
            self._go_on(held, calls=1000)
            for side, listed in held.seen.items():
                if len(listed) != len(set(listed)) or frozenset(listed) not in held.possible:
                    raise Mismatch(f"{side} lists {listed} of {held.path!r}; right is one of {held.possible}")
        finally:
            _close_all(held.descriptors)

    def _go_on(self, held: Pass, calls: int) -> None:
        for side, fd in held.descriptors.items():
            for _ in range(calls):
                # Two or three names at a time.
                records = syscalls.read_directory(fd, 72)
                held.seen[side] += [one.name for one in records if one.name not in (".", "..")]
                if not records:
                    break

    # ---- asking and judging -------------------------------------------------------------------------------------

    @property
    def _tops(self) -> dict[str, str]:
        return {side.name: f"{side.top}/{self.world.source}" for side in self.world.sides}

    def _look(self, partition: LogicalPartition) -> None:
        """Ask what a change changes, so that the kernel knows it before, and what it knows shows after."""
        path = self.world.shown_path(partition).partition("/")[2]
        above = path.rpartition("/")[0]
        asked = [(path, "lstat"), (path, "getxattr run_id")]
        for name in ("payload.jsonl", "metadata.json", "more.bin"):
            asked += [(f"{path}/{name}", call) for call in ("lstat", "read")]
        # Last, because a listing brings attributes with it.
        for where, call in [*asked, (path, "getdents64"), (above, "getdents64")]:
            self._on_path(call, where, lambda top, where=where: f"{top}/{where}")  # type: ignore[misc]

    def _changed(self) -> None:
        self.world.refresh()
        for held in self._passes:
            held.possible.append(self._reference_names(held.path))

    def _reference_names(self, path: str) -> frozenset[str]:
        return self.world.tree.names(f"{self.world.source}/{path}") or frozenset()

    def _is_stale(self, held: Held) -> bool:
        """Return whether the directory may have been moved aside on the raw side, where `..` leads elsewhere."""
        return held.opened_at != self.world.changes

    def _on_path(
        self,
        call: str,
        what: str,
        path_of: Callable[[str], str],
        *,
        tops: dict[str, str] | None = None,
        binds: bool = True,
    ) -> dict[str, Answer]:
        one = BY_PATH[call]
        tops = tops or self._tops
        described = f"{call} {what if what.startswith('O_') or ' + ' in what else repr(what)}"
        found = self._compare(described, tops, lambda side: one.act(path_of(tops[side])), one.binds and binds)
        self._hold_to_rule(described, one.ruled, found)
        return found

    def _on_open(self, held: Held, call: str, offset: int, size: int) -> None:
        if held.is_directory and (call.startswith("lseek") or call in ("sendfile from the position", "FIONREAD")):
            return  # positions in directories are the file system's own: see "seek in a directory"
        one = BY_DESCRIPTOR[call]
        binds = one.binds and not (held.is_direct and not one.direct)
        described = f"{call}(offset={offset}, size={size}) of {held.what}"
        found = self._compare(
            described,
            held.descriptors,
            lambda side: one.act(held.descriptors[side], offset, size),
            binds,
            held.is_direct,
        )
        self._hold_to_rule(described, one.ruled, found)

    def _open(
        self,
        what: str,
        paths: dict[str, str],
        mode: str,
        flags: tuple[str, ...],
        *,
        within: Held | None = None,
        leads_out: bool = False,
    ) -> None:
        number = open_flags(mode, flags) | os.O_CLOEXEC
        opened: dict[str, int] = {}

        def act(side: str) -> Answer:
            opened[side] = os.open(paths[side], number, 0o666)
            return "opened"

        described = f"open {what} {'|'.join((mode, *flags))}"
        binds = not (leads_out and within is not None and self._is_stale(within))
        try:
            self._compare(described, paths, act, binds)
        except BaseException:
            _close_all(opened)
            raise
        opened_by_mounts = {side: fd for side, fd in opened.items() if side != RAW}
        if not opened_by_mounts:
            _close_all(opened)
            return
        if not binds:
            # What `..` leads to on the raw side is another place.
            _close_all({side: fd for side, fd in opened.items() if side == RAW})
            opened = opened_by_mounts
        is_directory = os.path.isdir(f"/proc/self/fd/{next(iter(opened_by_mounts.values()))}")
        opened_at = self.world.changes if within is None else within.opened_at
        self._hold(Held(described, opened, is_directory, "O_DIRECT" in flags and "O_PATH" not in flags, opened_at))

    def _hold(self, held: Held) -> None:
        self._held.append(held)
        if len(self._held) > MOST_HELD:
            _close_all(self._held.pop(0).descriptors)

    def _compare(
        self,
        described: str,
        sides: dict[str, object] | dict[str, str] | dict[str, int],
        act: Callable[[str], Answer],
        binds: bool = True,
        is_direct: bool = False,
    ) -> dict[str, Answer]:
        found = {side: ask(lambda side=side: act(side)) for side in sides}  # type: ignore[misc]
        self._judge(described, found, binds, is_direct)
        return found

    def _judge(self, described: str, found: dict[str, Answer], binds: bool = True, is_direct: bool = False) -> None:
        raw = found.get(RAW)
        mounts = {side: answer for side, answer in found.items() if side != RAW}
        wrong = []
        if RAW in found and binds:
            wrong = [side for side, answer in mounts.items() if not agree_with_raw(raw, answer)]
        first = next(iter(mounts))
        wrong += [side for side, answer in mounts.items() if not agree_with_each_other(raw, mounts[first], answer)]
        wrong = [side for side in wrong if not is_known(side, is_direct, raw, mounts[side])]
        if wrong:
            table = "".join(f"\n    {side:>18}: {shorten(answer)}" for side, answer in found.items())
            against = "raw binds" if binds else "raw does not bind"
            raise Mismatch(f"{described} ({against}; {', '.join(dict.fromkeys(wrong))} differs):{table}")

    def _hold_to_rule(self, described: str, ruled: Callable[[Answer], bool] | None, found: dict[str, Answer]) -> None:
        for side, answer in found.items():
            if side != RAW and ruled is not None and not ruled(answer):
                raise Mismatch(f"{described}: {side} gives {shorten(answer)}, which is against the rule")


def _pick(some: Sequence[T], choice: int) -> T | None:
    """Return one of what is held, or None; as that depends on the answers, no precondition may ask for it."""
    return some[choice % len(some)] if some else None


def _close_all(descriptors: dict[str, int]) -> None:
    for fd in descriptors.values():
        try:
            os.close(fd)
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.EIO):
                raise
