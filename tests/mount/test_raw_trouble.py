"""V10: whatever becomes of raw files, their partitions fail at open, all others go on, and it heals by itself.

Each trouble is made and cured below a daemon that runs: before anybody looked at the run, after it was seen sealed, and
while somebody has its payload open. `test_broken` has what may stand in place of a file, `test_hung_raw` and
`test_hung_volume` what hangs.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from readyfs.demo.producer import LogicalPartition, Run
from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import WITHOUT_DAC, Daemon, Place, files_below, mounted, partition, start, take_down, wait_until

PAYLOAD = b"".join(b"line %06d\n" % number for number in range(50_000))

"""For a daemon that file permissions hold for, as they do for an ordinary user's, whoever starts it."""

TROUBLED = [partition(), partition(date="2024-06-02")]
ALIVE = [partition(query="q2"), partition(customer="c2")]

Trouble = Callable[[Place, list[Run]], AbstractContextManager[None]]


def renamed(path: Path) -> AbstractContextManager[None]:
    """Have a name stand for nothing."""

    @contextmanager
    def away() -> Iterator[None]:
        aside = path.with_name(f"{path.name}.aside")
        path.rename(aside)
        try:
            yield
        finally:
            aside.rename(path)

    return away()


@contextmanager
def closed(path: Path) -> Iterator[None]:
    """Let nobody read, list or enter a path whom permissions hold for."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)


@contextmanager
def each(runs: list[Run], trouble: Callable[[Path], AbstractContextManager[None]], name: str = "") -> Iterator[None]:
    """Make the same trouble for a path of each run."""
    if not runs:
        yield
        return
    with trouble(runs[0].directory / name), each(runs[1:], trouble, name):
        yield


def series_of(runs: list[Run]) -> Path:
    return runs[0].directory.parent.parent


RUN_TROUBLES: dict[str, Trouble] = {
    "no run": lambda place, runs: each(runs, renamed),
    "no payload": lambda place, runs: each(runs, renamed, "payload.jsonl"),
    "no metadata": lambda place, runs: each(runs, renamed, "metadata.json"),
    "no series": lambda place, runs: renamed(series_of(runs)),
    "closed payload": lambda place, runs: each(runs, closed, "payload.jsonl"),
    "closed metadata": lambda place, runs: each(runs, closed, "metadata.json"),
    "closed run": lambda place, runs: each(runs, closed),
    "closed series": lambda place, runs: closed(series_of(runs)),
}
"""What can befall some partitions, as context managers that make it and cure it."""


@contextmanager
def root_replaced(place: Place) -> Iterator[None]:
    """Have an empty directory stand in place of the raw root."""
    with renamed(place.raw):
        place.raw.mkdir()
        try:
            yield
        finally:
            place.raw.rmdir()


@contextmanager
def root_hidden(place: Place) -> Iterator[None]:
    """Mount something else over the raw root."""
    subprocess.run(["mount", "-t", "tmpfs", "none", place.raw], check=True, timeout=10)
    try:
        yield
    finally:
        unmount(place.raw)


@contextmanager
def root_unmounted(place: Place) -> Iterator[None]:
    """Take the file system away on which the raw root lies, and mount it again."""
    unmount(place.raw)
    try:
        yield
    finally:
        bind(place)


def unmount(path: Path) -> None:
    subprocess.run(["umount", "--lazy", path], check=True, timeout=10)


def bind(place: Place) -> None:
    subprocess.run(["mount", "--bind", place.base / "volume", place.raw], check=True, timeout=10)


@contextmanager
def raw_on_a_volume(place: Place) -> Iterator[None]:
    """Have the raw root of a place lie on a mount of its own, empty without it."""
    place.raw.rename(place.base / "volume")
    place.raw.mkdir()
    try:
        bind(place)
        yield
    finally:
        while mounts_at(place.raw):
            unmount(place.raw)


ROOT_TROUBLES: dict[str, Callable[[Place], AbstractContextManager[None]]] = {
    "no root": lambda place: renamed(place.raw),
    "closed root": lambda place: closed(place.raw),
    "replaced root": root_replaced,
    "hidden root": root_hidden,
}
"""What can befall all partitions at once."""


def publish(place: Place, parts: list[LogicalPartition]) -> list[Run]:
    return [place.producer.write_and_publish(part, "r1", PAYLOAD) for part in parts]


@contextmanager
def served(place: Place, engine: str) -> Iterator[Daemon]:
    """Serve a place by a daemon without rights beyond permissions; it must end in an orderly way."""
    daemon = start(place, engine=engine, wrapper=WITHOUT_DAC)
    try:
        yield daemon
        assert daemon.stop() == 0, daemon.log_text()
        assert "unexpectedly" not in daemon.log_text()
    finally:
        take_down(daemon)


def look_at(daemon: Daemon, parts: list[LogicalPartition]) -> None:
    """Have the kernel cache what it will: all names and attributes, and no bytes, which would stay readable."""
    for part in parts:
        assert sorted(os.listdir(daemon.directory(part))) == ["metadata.json", "payload.jsonl"]
        assert daemon.of(part).stat().st_size == len(PAYLOAD)


def assert_in_trouble(daemon: Daemon, parts: list[LogicalPartition]) -> None:
    """Check that partitions look whole, fail at open, are counted, and are named in the log once for each cause."""
    names = sorted({part.logical_date for part in parts})
    # Of a sealed run what is there is served until what is not was asked for, and the kernel told by another thread.
    paths = [daemon.of(part, name) for part in parts for name in ("metadata.json", "payload.jsonl")]
    wait_until(lambda: not sum(is_served(path) for path in paths), "every open fails")
    for _ in range(2):
        for part in parts:
            daemon.assert_refused(daemon.of(part))
            daemon.assert_refused(daemon.of(part, "metadata.json"))
            assert daemon.of(part).stat().st_size > 0
            assert sorted(os.listdir(daemon.directory(part))) == ["metadata.json", "payload.jsonl"]
            assert sorted(os.listdir(daemon.directory(part).parent)) == names
    assert daemon.count("broken") == len(parts)
    lines = [(line["partition"], line["run"], line["cause"]) for line in events_of(daemon, "run is broken", parts)]
    assert len(set(lines)) == len(lines)
    assert {line[:2] for line in lines} == {("/".join(part), "r1") for part in parts}


def assert_alive(daemon: Daemon, parts: list[LogicalPartition]) -> None:
    for part in parts:
        assert files_below(daemon.directory(part)) == ["metadata.json", "payload.jsonl"]
        assert daemon.of(part).stat().st_size == len(PAYLOAD)
        assert daemon.of(part).read_bytes() == PAYLOAD


def assert_healed(daemon: Daemon, parts: list[LogicalPartition]) -> None:
    """Check that all is well again within a moment, for the kernel is told of damage by another thread."""
    wait_until(lambda: are_whole(daemon, parts), "the runs are whole again")
    assert_alive(daemon, parts)
    assert len(events_of(daemon, "run is whole again", parts)) == len(parts)


def events_of(daemon: Daemon, event: str, parts: list[LogicalPartition]) -> list[dict[str, object]]:
    """Return the log lines of one event that name any of these partitions."""
    names = {"/".join(part) for part in parts}
    return [line for line in daemon.events(event) if line["partition"] in names]


def are_whole(daemon: Daemon, parts: list[LogicalPartition]) -> bool:
    """Tell whether partitions can be read and none is broken: what the kernel was not told of yet can be read, too."""
    return all(can_read(daemon.of(part)) for part in parts) and daemon.count("broken") == 0


def is_served(path: Path) -> bool:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(1) != b""
    except OSError as error:
        assert error.errno == errno.EIO
        return False


def can_read(path: Path) -> bool:
    try:
        return path.read_bytes() == PAYLOAD
    except OSError as error:
        assert error.errno == errno.EIO
        return False


@pytest.mark.parametrize("seen", [False, True], ids=["unseen", "sealed"])
def test_trouble_of_some_partitions_is_theirs_alone_and_heals(place: Place, engine: str, seen: bool) -> None:
    """V10: loud at open, counted, logged; the rest of the tree goes on; and it is whole when that is cured.

    One trouble comes after the other, each to partitions that only it befalls and whose query it names.
    """
    troubled = {
        name: publish(place, [part._replace(query_name=name.replace(" ", "_")) for part in TROUBLED])
        for name in RUN_TROUBLES
    }
    publish(place, ALIVE)
    with served(place, engine) as daemon:
        for name, runs in troubled.items():
            parts = [run.partition for run in runs]
            if seen:
                look_at(daemon, [*parts, *ALIVE])
            with RUN_TROUBLES[name](place, runs):
                assert_in_trouble(daemon, parts)
                assert_alive(daemon, ALIVE)
            assert_healed(daemon, parts)


@pytest.mark.parametrize("trouble", ROOT_TROUBLES.values(), ids=ROOT_TROUBLES)
@pytest.mark.parametrize("seen", [False, True], ids=["unseen", "sealed"])
def test_trouble_of_the_raw_root_leaves_the_tree_standing_and_heals(
    place: Place, engine: str, seen: bool, trouble: Callable[[Place], AbstractContextManager[None]]
) -> None:
    """V10: every open fails, no name is missing, and no remount is needed once the root is there again."""
    publish(place, TROUBLED)
    with served(place, engine) as daemon:
        if seen:
            look_at(daemon, TROUBLED)
        with trouble(place):
            assert_in_trouble(daemon, TROUBLED)
        assert_healed(daemon, TROUBLED)


@pytest.mark.parametrize("seen", [False, True], ids=["unseen", "sealed"])
def test_raw_root_that_is_unmounted_and_mounted_again_heals(place: Place, engine: str, seen: bool) -> None:
    """V10: the daemon asks by path each time, so nothing of the file system that was there before holds it up."""
    publish(place, TROUBLED)
    with raw_on_a_volume(place), served(place, engine) as daemon:
        if seen:
            look_at(daemon, TROUBLED)
        with root_unmounted(place):
            assert_in_trouble(daemon, TROUBLED)
        assert_healed(daemon, TROUBLED)


def test_raw_root_on_another_file_system_is_taken_as_it_comes(place: Place, engine: str) -> None:
    """V10, V5: a root that moved to another volume, times and all, is served on, beside a reader of the old one."""
    publish(place, TROUBLED)
    part = TROUBLED[0]
    with raw_on_a_volume(place), served(place, engine) as daemon:
        with open(daemon.of(part), "rb", buffering=0) as held:
            assert held.read(4096) == PAYLOAD[:4096]
            unmount(place.raw)
            daemon.assert_refused(daemon.of(TROUBLED[1]))
            subprocess.run(["mount", "-t", "tmpfs", "none", place.raw], check=True, timeout=10)
            shutil.copytree(place.base / "volume", place.raw, dirs_exist_ok=True)
            wait_until(lambda: are_whole(daemon, TROUBLED), "the other volume is served")
            assert held.read(4096) == PAYLOAD[4096:8192]
        assert daemon.count("broken") == 0


HELD_TROUBLES = {name: RUN_TROUBLES[name] for name in ("no run", "no payload", "no series", "closed payload")}


@pytest.mark.parametrize("trouble", HELD_TROUBLES.values(), ids=HELD_TROUBLES)
def test_who_has_a_file_open_reads_its_bytes_or_an_error(place: Place, engine: str, trouble: Trouble) -> None:
    """V10, V5: never other bytes, nor an early end; and all of it again where the file was held or has come back."""
    runs = publish(place, TROUBLED)
    with served(place, engine) as daemon, open(daemon.of(TROUBLED[0]), "rb", buffering=0) as held:
        assert held.read(4096) == PAYLOAD[:4096]
        with trouble(place, runs):
            if not daemon.traits.kernel_opens:
                assert read_all(held.fileno()) == PAYLOAD
            else:
                assert read_all(held.fileno()) in (PAYLOAD, None)
            daemon.assert_refused(daemon.of(TROUBLED[1]))
        assert_alive(daemon, [TROUBLED[1]])
        wait_until(lambda: are_whole(daemon, [TROUBLED[0]]), "the run is whole again")
        assert read_all(held.fileno()) == PAYLOAD


def read_all(fd: int) -> bytes | None:
    """Return what a descriptor gives from its file's beginning, or None for EIO."""
    data = b""
    try:
        while more := os.pread(fd, 65536, len(data)):
            data += more
    except OSError as error:
        assert error.errno == errno.EIO
        return None
    return data


def test_run_that_was_cut_before_anybody_looked_is_served_as_it_stands(place: Place, engine: str) -> None:
    """V10: what a run was sealed with is what was seen first; `readyfs check` compares it with its row."""
    (run,) = publish(place, [partition()])
    os.truncate(run.directory / "payload.jsonl", 100)
    with mounted(place, engine=engine) as daemon:
        assert daemon.of(partition()).read_bytes() == PAYLOAD[:100]
        assert daemon.count("broken") == 0


def test_run_that_is_cut_after_it_was_seen_fails_until_it_is_whole(place: Place, engine: str) -> None:
    """V10: neither half of a file nor a listing without it; the others go on."""
    (run,) = publish(place, [partition()])
    publish(place, ALIVE)
    payload = run.directory / "payload.jsonl"
    shutil.copy2(payload, place.base / "whole")
    with mounted(place, engine=engine) as daemon:
        look_at(daemon, [partition(), *ALIVE])
        os.truncate(payload, 100)
        assert_cut(daemon)
        assert_alive(daemon, ALIVE)
        shutil.copy2(place.base / "whole", payload)
        assert_healed(daemon, [partition()])


def assert_cut(daemon: Daemon) -> None:
    for _ in range(3):
        daemon.assert_refused(daemon.of(partition()))
        assert daemon.of(partition()).stat().st_size > 0
    assert daemon.count("broken") == 1
    (line,) = daemon.events("run is broken")
    assert line["cause"] == f"payload.jsonl has 100 bytes and was sealed with {len(PAYLOAD)}"
