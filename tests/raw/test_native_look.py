"""Looks in C against looks in Python: the same entries and the same errors, whatever lies there."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

import pytest

from readyfs import native
from readyfs.layout import RawLayout
from readyfs.partition import Partition
from readyfs.raw import local
from readyfs.raw.local import LocalRawStore
from readyfs.raw.store import RawStat, RawStore, UnreadableFileError
from tests.descriptors import open_descriptors
from tests.raw import exchange

NOBODY = 65534
REQUIRED = (b"metadata.json", b"payload.jsonl")
Outcome = tuple[object, ...]


@pytest.fixture
def stores(root: Path, layout: RawLayout) -> tuple[RawStore, RawStore]:
    return LocalRawStore(root, layout, compiled=None), in_c(root, layout)


def in_c(root: Path, layout: RawLayout) -> RawStore:
    assert native.module is not None, native.obstacle
    # Nothing but the call in C may answer, where it can.
    return LocalRawStore(root, layout, compiled=native.module, opener=no_opener)


def no_opener(root_fd: int, parts: object, flags: int) -> int:
    raise AssertionError("Python's way was taken")


def listed(
    store: RawStore, partition: Partition, relpath: tuple[bytes, ...] = (), readable: Collection[bytes] = ()
) -> Outcome:
    return outcome(lambda: store.list_directory(partition, relpath, readable))


def opened(store: RawStore, partition: Partition, relpath: tuple[bytes, ...]) -> Outcome:
    def stat() -> RawStat:
        file = store.open_file(partition, relpath)
        try:
            assert file.stat == file.current_stat()
            return file.stat
        finally:
            file.close()

    return outcome(stat)


def opened_payload(store: RawStore, partition: Partition) -> Outcome:
    return opened(store, partition, (b"payload.jsonl",))


LOOKS: tuple[Callable[[RawStore, Partition], Outcome], ...] = (listed, opened_payload)
LOOKS_BELOW: tuple[Callable[[RawStore, Partition, tuple[bytes, ...]], Outcome], ...] = (listed, opened)


def outcome(act: Callable[[], object]) -> Outcome:
    before = open_descriptors()
    try:
        return ("found", act())
    except OSError as error:
        return (type(error), error.errno, error.strerror, error.filename, getattr(error, "name", None))
    finally:
        assert open_descriptors() == before


@contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def strange_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with what a raw store should not hold, and more."""
    (run / "parts/deep").mkdir(parents=True)
    (run / "closed").mkdir(mode=0)
    os.mkfifo(run / "fifo")
    os.mknod(run / "device", 0o20666, os.makedev(4095, 7))
    monkeypatch.chdir(run)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    for name, target in {"link": "payload.jsonl", "away": "/etc", "nowhere": "gone", "circle": "circle"}.items():
        (run / name).symlink_to(target)
    for odd in (b"\xff", b"a\nb", b"n" * 255, b" ", b"..."):
        (run / os.fsdecode(odd)).write_bytes(odd)
    (run / "secret").touch(mode=0)
    os.utime(run / "secret", ns=(1, -5))
    os.utime(run / "parts", ns=(1, 1_717_300_000_000_000_009))
    return run


NAMES = (
    *(b"payload.jsonl", b"metadata.json", b"parts", b"closed", b"fifo", b"device", b"socket", b"link", b"away"),
    *(b"nowhere", b"circle", b"\xff", b"a\nb", b"n" * 255, b"n" * 256, b" ", b"...", b"secret", b"gone"),
)


def test_a_strange_directory_lists_alike(
    stores: tuple[RawStore, RawStore], strange_run: Path, partition: Partition
) -> None:
    expected, found = (listed(store, partition) for store in stores)
    assert found == expected
    assert len(found[1]) == 10  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_must_be_readable_is_judged_alike(
    stores: tuple[RawStore, RawStore], strange_run: Path, partition: Partition, name: bytes
) -> None:
    expected, found = (listed(store, partition, (), (name,)) for store in stores)
    assert found == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("below", [(), (b"x",)])
def test_every_name_is_opened_and_listed_alike(
    stores: tuple[RawStore, RawStore],
    strange_run: Path,
    partition: Partition,
    name: bytes,
    below: tuple[bytes, ...],
    layout: RawLayout,
) -> None:
    if name == b"n" * 256:  # longer than a name can be: Python finds that out
        stores = stores[0], LocalRawStore(strange_run.parents[4], layout)
    for act in LOOKS_BELOW:
        expected, found = (act(store, partition, (name, *below)) for store in stores)
        assert found == expected


def test_what_may_not_be_looked_at_is_refused_alike(
    stores: tuple[RawStore, RawStore], run: Path, partition: Partition
) -> None:
    (run / "payload.jsonl").chmod(0)
    for mode in (0o755, 0o744, 0o711, 0o700):
        run.chmod(mode)
        with as_nobody():
            for readable in ((), REQUIRED):
                expected, found = (listed(store, partition, (), readable) for store in stores)
                assert found == expected
            expected, found = (opened(store, partition, (b"payload.jsonl",)) for store in stores)
            assert found == expected


@pytest.mark.parametrize("instead", ["gone", "file", "circle", "closed"])
def test_a_root_that_cannot_be_had_is_refused_alike(
    root: Path, run: Path, partition: Partition, layout: RawLayout, instead: str
) -> None:
    (root / "file").touch()
    (root / "circle").symlink_to("circle")
    (root / "closed").mkdir(mode=0)
    place = root / instead
    with as_nobody():
        for act in LOOKS:
            expected = act(LocalRawStore(place, layout, compiled=None), partition)
            assert act(in_c(place, layout), partition) == expected
            assert expected[0] != "found"


def test_a_missing_run_and_links_on_the_way_are_refused_alike(
    stores: tuple[RawStore, RawStore], run: Path, partition: Partition
) -> None:
    kept = run.with_name("kept")
    run.rename(kept)
    makes: tuple[Callable[[], None], ...] = (
        lambda: None,
        lambda: run.symlink_to("kept"),
        lambda: run.symlink_to("gone"),
        lambda: run.touch(),
    )
    for make in makes:
        make()
        for act in LOOKS:
            expected, found = (act(store, partition) for store in stores)
            assert found == expected
            assert expected[0] != "found"
        run.unlink(missing_ok=True)


def test_ten_thousand_entries_list_alike(stores: tuple[RawStore, RawStore], run: Path, partition: Partition) -> None:
    for number in range(10_000):
        (run / f"part-{number}").touch()
    expected, found = (listed(store, partition, (), REQUIRED) for store in stores)
    assert found == expected
    assert len(found[1]) == 10_002  # type: ignore[arg-type]


def test_a_path_that_the_kernel_does_not_take_at_once_goes_pythons_way(
    root: Path, layout: RawLayout, run: Path, partition: Partition
) -> None:
    here = os.open(run, os.O_PATH)
    names = (b"d" * 250,) * 20
    for name in names:
        os.mkdir(name, dir_fd=here)
        step = os.open(name, os.O_PATH | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = step
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    store = LocalRawStore(root, layout)
    assert [entry.name for entry in store.list_directory(partition, names)] == [b"file"]
    assert opened(store, partition, (*names, b"file"))[0] == "found"


def test_a_time_beyond_64_bits_goes_pythons_way(root: Path, layout: RawLayout, partition: Partition) -> None:
    far_ns = 20_000_000_000 * 10**9 + 7
    subprocess.run(["mount", "-t", "tmpfs", "none", root], check=True, timeout=10)
    try:
        run = root.joinpath(*map(os.fsdecode, layout.directory_of(partition)))
        run.mkdir(parents=True)
        (run / "payload.jsonl").touch()
        os.utime(run / "payload.jsonl", ns=(far_ns, far_ns))
        store = LocalRawStore(root, layout)
        assert [entry.stat.mtime_ns for entry in store.list_directory(partition)] == [far_ns]
        file = store.open_file(partition, (b"payload.jsonl",))
        assert file.stat.mtime_ns == far_ns
        file.close()
    finally:
        subprocess.run(["umount", root], check=True, timeout=10)


@pytest.mark.parametrize("left", range(3))
def test_two_descriptors_are_enough_for_a_look_and_fewer_are_an_error(
    root: Path, layout: RawLayout, run: Path, partition: Partition, left: int
) -> None:
    store = in_c(root, layout)
    taken: list[int] = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    codes: list[int | None] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(left):
            os.close(taken.pop())
        for act in (
            lambda: store.list_directory(partition),
            lambda: store.list_directory(partition, (), REQUIRED),
            lambda: store.open_file(partition, (b"payload.jsonl",)).close(),
        ):
            try:
                act()
                codes.append(None)
            except OSError as error:
                codes.append(error.errno)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in taken:
            os.close(fd)
    assert codes == [None if left == 2 else errno.EMFILE] * 3


def test_a_lease_on_a_required_file_that_is_given_up_in_time_is_waited_for(
    stores: tuple[RawStore, RawStore], run: Path, partition: Partition
) -> None:
    for store in stores:
        leased = os.open(run / "payload.jsonl", os.O_RDWR)
        before = signal.signal(signal.SIGIO, lambda *_, fd=leased: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK))
        try:
            fcntl.fcntl(leased, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            # On another thread: the signal's handler runs on the main one.
            found: list[Outcome] = []
            looking = threading.Thread(
                target=lambda its, to: to.append(("found", its.list_directory(partition, (), REQUIRED))),
                args=(store, found),
            )
            looking.start()
            looking.join(10)
            assert found
            assert found[0][0] == "found"
        finally:
            os.close(leased)
            signal.signal(signal.SIGIO, before)


def test_other_threads_run_while_a_look_waits(root: Path, layout: RawLayout, run: Path, partition: Partition) -> None:
    """A lease that is kept holds an open up for a quarter of a second."""
    store = in_c(root, layout)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    leased = os.open(run / "payload.jsonl", os.O_RDWR)
    try:
        fcntl.fcntl(leased, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        for act in (
            lambda: store.list_directory(partition, (), REQUIRED),
            lambda: store.open_file(partition, (b"payload.jsonl",)),
        ):
            refused: list[int | None] = []
            done = threading.Event()

            def look(act: Callable[[], object], refused: list[int | None], done: threading.Event) -> None:
                try:
                    act()
                except OSError as error:
                    refused.append(error.errno)
                done.set()

            thread = threading.Thread(target=look, args=(act, refused, done))
            thread.start()
            turns = 0
            while not done.wait(0.001):
                turns += 1
            thread.join()
            assert refused == [errno.EAGAIN]
            assert turns >= 10
    finally:
        os.close(leased)
        signal.signal(signal.SIGIO, before)


def test_a_required_file_that_becomes_a_link_while_listing_is_never_followed(
    root: Path, layout: RawLayout, run: Path, partition: Partition
) -> None:
    """V12, with another process that exchanges the two as fast as it can."""
    store = in_c(root, layout)
    (root / "secret").write_bytes(b"longer than what is served")
    served = (run / "metadata.json").stat().st_size
    (run / "other").symlink_to(root / "secret")
    command = [sys.executable, exchange.__file__, str(run / "metadata.json"), str(run / "other")]
    seen = {"served": 0, "left out": 0, "refused": 0}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            for _ in range(20_000):
                try:
                    found = {entry.name: entry for entry in store.list_directory(partition, (), REQUIRED)}
                except UnreadableFileError as error:
                    assert (error.name, error.errno) == (b"metadata.json", errno.ELOOP)
                    seen["refused"] += 1
                    continue
                entry = found.get(b"metadata.json")
                assert entry is None or entry.stat.size == served
                seen["left out" if entry is None else "served"] += 1
                if min(seen.values()) >= 2:
                    break
        finally:
            process.kill()
    assert min(seen["served"], seen["left out"]) > 0


def test_entries_that_come_and_go_while_listing_are_whole_or_left_out(
    root: Path, layout: RawLayout, run: Path, partition: Partition
) -> None:
    store = in_c(root, layout)
    script = (
        "import os, sys; print(flush=True)\n"
        "while True:\n open('x','w').close(); os.unlink('x'); os.mkdir('y'); os.rmdir('y')"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=run, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            seen: set[int] = set()
            looks = 0
            while looks < 3000 or (looks < 200_000 and not seen >= {2, 3}):
                seen.add(len(store.list_directory(partition)))
                looks += 1
        finally:
            process.kill()
    assert seen >= {2, 3}


def test_without_openat2_nothing_is_asked_in_c(
    root: Path, layout: RawLayout, run: Path, partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "has_openat2", lambda: False)
    store = LocalRawStore(root, layout, compiled=ModuleType("empty"))
    assert len(store.list_directory(partition)) == 2
    store.open_file(partition, (b"payload.jsonl",)).close()


@pytest.mark.parametrize("part", [b"", b".", b"..", b"a/b", b"a\0b"])
def test_a_part_that_is_no_single_name_is_einval_before_c_is_asked(
    root: Path, layout: RawLayout, run: Path, partition: Partition, part: bytes
) -> None:
    """V12: no value can lead upwards."""
    for act in LOOKS_BELOW:
        assert act(in_c(root, layout), partition, (part,))[1] == errno.EINVAL


def test_files_of_one_device_never_share_a_number() -> None:
    edges = [0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
    for device in edges:
        numbers = {local.file_number(device, inode) for inode in edges}
        assert len(numbers) == len(edges)
        assert all(-(2**63) <= number < 2**63 for number in numbers)


def test_a_look_gives_its_memory_back(root: Path, layout: RawLayout, run: Path, partition: Partition) -> None:
    store = in_c(root, layout)
    for number in range(200):
        (run / f"part-{number}").touch()
    looks: tuple[Callable[[], object], ...] = (
        lambda: store.list_directory(partition, (), REQUIRED),
        lambda: listed(store, partition, (b"gone",)),
    )

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    def grow() -> int:
        for act in looks * 50:
            act()
        before = resident()
        for act in looks * 400:
            act()
        return resident() - before

    # In a process of its own, which goes through nothing that others have left in this one.
    child = os.fork()
    if not child:
        code = 2
        try:
            gc.freeze()
            # What one look found is 8 KiB, all of them 6 MiB.
            code = 0 if grow() < 4 << 20 else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
