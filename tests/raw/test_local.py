"""The raw store in a directory: what it lists, what it opens, what it refuses, and that it changes nothing."""

from __future__ import annotations

import errno
import gc
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from readyfs import native
from readyfs.errors import RawRootError
from readyfs.layout import RawLayout, UnusableNameError
from readyfs.partition import Partition
from readyfs.raw.beneath import Opener, open_by_openat2, open_part_by_part
from readyfs.raw.local import LocalRawStore
from readyfs.raw.store import EntryKind, NotRegularError, RawEntry, RawStat, RawStore, UnreadableFileError
from tests.descriptors import open_descriptors
from tests.fuse.live_mount import readyfs_mount

NOBODY = 65534


def in_python(root: Path, layout: RawLayout, opener: Opener = open_by_openat2) -> RawStore:
    return LocalRawStore(root, layout, opener=opener, compiled=None)


def part_by_part(root: Path, layout: RawLayout) -> RawStore:
    return in_python(root, layout, open_part_by_part)


def in_c(root: Path, layout: RawLayout) -> RawStore:
    assert native.module is not None, native.obstacle
    return LocalRawStore(root, layout)


MakeStore = Callable[[Path, RawLayout], RawStore]


@pytest.fixture(params=[in_python, part_by_part, in_c])
def make_store(request: pytest.FixtureRequest) -> MakeStore:
    chosen: MakeStore = request.param
    return chosen


@pytest.fixture
def store(root: Path, layout: RawLayout, make_store: MakeStore) -> RawStore:
    return make_store(root, layout)


@contextmanager
def tmpfs(place: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True, timeout=10)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True, timeout=10)


@contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def names(entries: tuple[RawEntry, ...]) -> list[bytes]:
    return [entry.name for entry in entries]


SPECIAL: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "socket": lambda path: os.mknod(path, 0o140666),
    "character device": lambda path: os.mknod(path, 0o20666, os.makedev(1, 3)),
    "device without driver": lambda path: os.mknod(path, 0o20666, os.makedev(4095, 7)),
    "block device": lambda path: os.mknod(path, 0o60666, os.makedev(4095, 7)),
}
KINDS = pytest.mark.parametrize("make", SPECIAL.values(), ids=list(SPECIAL))


def test_a_listing_gives_names_kinds_sizes_and_times(store: RawStore, run: Path, partition: Partition) -> None:
    (run / "parts").mkdir()
    os.utime(run / "parts", ns=(1, 1_717_300_000_000_000_009))
    os.utime(run / "metadata.json", ns=(1, 1_717_300_000_123_456_789))
    os.utime(run / "payload.jsonl", ns=(1, -5))
    found = store.list_directory(partition)
    assert len({entry.stat.file for entry in found}) == 3
    assert tuple(entry._replace(stat=entry.stat._replace(file=0)) for entry in found) == (
        RawEntry(b"metadata.json", EntryKind.FILE, RawStat(2, 1_717_300_000_123_456_789)),
        RawEntry(b"parts", EntryKind.DIRECTORY, RawStat(0, 1_717_300_000_000_000_009)),
        RawEntry(b"payload.jsonl", EntryKind.FILE, RawStat(14, -5)),
    )


def test_an_empty_run_lists_as_empty(store: RawStore, run: Path, partition: Partition) -> None:
    for path in run.iterdir():
        path.unlink()
    assert store.list_directory(partition) == ()


def test_names_are_bytes_sorted_as_bytes(store: RawStore, run: Path, partition: Partition) -> None:
    odd = [b"\xff", b"a\nb", b"B", b"\xc3\xa9", b" "]
    for name in odd:
        (run / os.fsdecode(name)).touch()
    assert names(store.list_directory(partition)) == sorted([*odd, b"payload.jsonl", b"metadata.json"])


def test_a_directory_of_the_run_is_listed_as_it_is(store: RawStore, run: Path, partition: Partition) -> None:
    (run / "parts/deep").mkdir(parents=True)
    (run / "parts/deep/0.parquet").write_bytes(b"PAR1")
    assert names(store.list_directory(partition, (b"parts",))) == [b"deep"]
    assert names(store.list_directory(partition, (b"parts", b"deep"))) == [b"0.parquet"]


@KINDS
def test_special_files_are_not_listed(
    store: RawStore, run: Path, partition: Partition, make: Callable[[Path], object]
) -> None:
    make(run / "special")
    assert names(store.list_directory(partition)) == [b"metadata.json", b"payload.jsonl"]


@pytest.mark.parametrize("target", ["payload.jsonl", "/etc", "nowhere", "special"])
def test_symbolic_links_are_not_listed(store: RawStore, run: Path, partition: Partition, target: str) -> None:
    """V12: regular files and directories only."""
    (run / "special").symlink_to(target)
    assert names(store.list_directory(partition)) == [b"metadata.json", b"payload.jsonl"]


def test_an_entry_that_vanishes_while_listing_is_left_out(
    root: Path, layout: RawLayout, run: Path, partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = in_python(root, layout)
    meanwhile(monkeypatch, (run / "metadata.json").unlink)
    assert names(store.list_directory(partition)) == [b"payload.jsonl"]


@pytest.mark.parametrize("target", ["payload.jsonl", "/etc/passwd"])
def test_a_required_file_that_becomes_a_symbolic_link_while_listing_is_unreadable(
    root: Path, layout: RawLayout, run: Path, partition: Partition, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V12: the link is not followed, wherever it leads."""
    store = in_python(root, layout)
    file = run / "metadata.json"

    def replace_by_link() -> None:
        file.unlink()
        file.symlink_to(target)

    meanwhile(monkeypatch, replace_by_link)
    with pytest.raises(UnreadableFileError) as caught:
        store.list_directory(partition, (), (b"metadata.json",))
    assert (caught.value.name, caught.value.errno) == (b"metadata.json", errno.ELOOP)


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let something happen once the names are read and before the entries are looked at."""
    real = os.scandir

    @contextmanager
    def scandir(fd: int) -> Iterator[Iterator[os.DirEntry[str]]]:
        with real(fd) as found:
            items = list(found)
        act()
        yield iter(items)

    monkeypatch.setattr(os, "scandir", scandir)


def test_an_entry_that_may_not_be_looked_at_is_an_error(store: RawStore, run: Path, partition: Partition) -> None:
    """V10: what cannot be seen is not taken for absent."""
    run.chmod(0o744)
    with as_nobody(), pytest.raises(PermissionError):
        store.list_directory(partition)


def test_a_missing_run_is_enoent(store: RawStore, root: Path, partition: Partition) -> None:
    with pytest.raises(FileNotFoundError):
        store.list_directory(partition)
    with pytest.raises(FileNotFoundError):
        store.open_file(partition, (b"payload.jsonl",))


def test_a_file_in_place_of_a_directory_is_not_regular(store: RawStore, run: Path, partition: Partition) -> None:
    with pytest.raises(NotRegularError) as caught:
        store.list_directory(partition, (b"payload.jsonl",))
    assert caught.value.errno == errno.EINVAL


@KINDS
def test_a_special_file_in_place_of_a_directory_is_not_regular(
    store: RawStore, run: Path, partition: Partition, make: Callable[[Path], object]
) -> None:
    make(run / "special")
    with pytest.raises(NotRegularError):
        store.list_directory(partition, (b"special",))


def test_a_run_directory_that_is_a_link_is_eloop(store: RawStore, run: Path, partition: Partition) -> None:
    """V12: a link is not followed even to where it would be right."""
    run.rename(run.with_name("moved"))
    run.symlink_to("moved")
    for attempt in (store.list_directory, lambda its: store.open_file(its, (b"payload.jsonl",))):
        with pytest.raises(OSError) as caught:
            attempt(partition)
        assert caught.value.errno == errno.ELOOP


def test_a_file_is_opened_with_its_size_and_time(store: RawStore, run: Path, partition: Partition) -> None:
    os.utime(run / "payload.jsonl", ns=(1, 1_717_300_000_123_456_789))
    raw = store.open_file(partition, (b"payload.jsonl",))
    assert raw.stat.matches(RawStat(14, 1_717_300_000_123_456_789))
    assert raw.stat == raw.current_stat() == store.list_directory(partition)[-1].stat
    assert raw.pread(100, 0) == b'{"clicks": 1}\n'
    raw.close()


def test_current_stat_is_that_of_now_and_stat_that_of_the_open(
    store: RawStore, run: Path, partition: Partition
) -> None:
    raw = store.open_file(partition, (b"payload.jsonl",))
    os.truncate(run / "payload.jsonl", 3)
    assert (raw.current_stat().size, raw.stat.size) == (3, 14)
    raw.close()


def test_a_run_is_described_by_its_path_escaped_and_without_a_look(
    store: RawStore, root: Path, partition: Partition, layout: RawLayout
) -> None:
    described = store.describe(partition._replace(run_id=b"r\n1\xff"))
    directory = root.joinpath(*map(os.fsdecode, layout.directory_of(partition)))
    assert described == f"{directory.parent}/run_id=r\\n1\\xff"


@KINDS
def test_a_special_file_is_not_opened_and_does_not_hang(
    store: RawStore, run: Path, partition: Partition, make: Callable[[Path], object]
) -> None:
    """V12: regular files only."""
    make(run / "special")
    before = open_descriptors()
    with pytest.raises(NotRegularError) as caught:
        store.open_file(partition, (b"special",))
    assert caught.value.errno == errno.EINVAL
    assert open_descriptors() == before


def test_a_directory_is_not_opened_as_a_file(store: RawStore, run: Path, partition: Partition) -> None:
    (run / "parts").mkdir()
    with pytest.raises(NotRegularError):
        store.open_file(partition, (b"parts",))


@pytest.mark.parametrize("target", ["payload.jsonl", "/etc/hostname", "../../../../../../../../etc/hostname"])
def test_a_symbolic_link_is_not_opened(store: RawStore, run: Path, partition: Partition, target: str) -> None:
    """V12: opens do not follow links."""
    (run / "link").symlink_to(target)
    with pytest.raises(OSError) as caught:
        store.open_file(partition, (b"link",))
    assert caught.value.errno == errno.ELOOP


def test_an_unreadable_file_is_eacces(store: RawStore, run: Path, partition: Partition) -> None:
    (run / "payload.jsonl").chmod(0)
    with as_nobody(), pytest.raises(PermissionError):
        store.open_file(partition, (b"payload.jsonl",))


@pytest.mark.parametrize("run_id", [b"..", b"a/b", b"", b"x\0"])
def test_a_partition_without_a_raw_path_touches_no_disk(store: RawStore, partition: Partition, run_id: bytes) -> None:
    """V12: no value can make the daemon open anything outside the raw root."""
    with pytest.raises(UnusableNameError):
        store.list_directory(partition._replace(run_id=run_id))
    with pytest.raises(UnusableNameError):
        store.open_file(partition._replace(run_id=run_id), (b"payload.jsonl",))


def test_a_client_name_cannot_lead_upwards(store: RawStore, run: Path, partition: Partition) -> None:
    """V12: nor can a path below the run."""
    for relpath in ((b"..", b"payload.jsonl"), (b"../payload.jsonl",), (b"/etc/hostname",)):
        with pytest.raises(OSError) as caught:
            store.open_file(partition, relpath)
        assert caught.value.errno == errno.EINVAL


def test_pread_takes_any_size_and_offset(store: RawStore, run: Path, partition: Partition) -> None:
    content = bytes(range(256)) * 1000
    (run / "payload.jsonl").write_bytes(content)
    raw = store.open_file(partition, (b"payload.jsonl",))
    for size, offset in ((0, 0), (1, 255_999), (10, 255_995), (10, 256_000), (10, 999_999), (999_999, 3)):
        assert raw.pread(size, offset) == content[offset : offset + size]
    raw.close()


def test_a_short_answer_in_the_middle_is_completed(
    store: RawStore, run: Path, partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I10: a short read is never taken for the truth."""
    raw = store.open_file(partition, (b"payload.jsonl",))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: real(fd, min(size, 3), offset))
    assert raw.pread(100, 2) == b'clicks": 1}\n'
    assert raw.pread(5, 2) == b"click"
    raw.close()


def test_an_open_file_keeps_its_bytes_when_the_run_is_deleted(store: RawStore, run: Path, partition: Partition) -> None:
    """V5: an open file is pinned."""
    raw = store.open_file(partition, (b"payload.jsonl",))
    (run / "payload.jsonl").unlink()
    assert raw.pread(100, 0) == b'{"clicks": 1}\n'
    raw.close()


def test_a_file_that_shrank_or_grew_gives_what_is_there(store: RawStore, run: Path, partition: Partition) -> None:
    raw = store.open_file(partition, (b"payload.jsonl",))
    with (run / "payload.jsonl").open("ab") as file:
        file.write(b"more")
    assert raw.pread(100, 0) == b'{"clicks": 1}\nmore'
    os.truncate(run / "payload.jsonl", 4)
    assert raw.pread(100, 0) == b'{"cl'
    raw.close()


def test_a_file_can_be_closed_twice_and_is_not_read_afterwards(
    store: RawStore, run: Path, partition: Partition
) -> None:
    raw = store.open_file(partition, (b"payload.jsonl",))
    raw.close()
    raw.close()
    with pytest.raises(OSError) as caught:
        raw.pread(1, 0)
    assert caught.value.errno == errno.EBADF


def test_a_file_that_is_dropped_closes_itself(store: RawStore, run: Path, partition: Partition) -> None:
    before = open_descriptors()
    raw = store.open_file(partition, (b"payload.jsonl",))
    assert len(open_descriptors()) == len(before) + 1
    del raw
    gc.collect()
    assert open_descriptors() == before


def test_raw_files_are_opened_for_reading_only(store: RawStore, run: Path, partition: Partition) -> None:
    """V8: no descriptor of the daemon can write."""
    raw = store.open_file(partition, (b"payload.jsonl",))
    assert not os.get_inheritable(raw.fileno())
    with pytest.raises(OSError) as caught:
        os.write(raw.fileno(), b"x")
    assert caught.value.errno == errno.EBADF
    raw.close()


def test_the_raw_tree_is_left_as_it_was(store: RawStore, root: Path, run: Path, partition: Partition) -> None:
    """V8: neither bytes nor times nor modes change."""
    (run / "parts").mkdir()
    (run / "link").symlink_to("payload.jsonl")
    os.mkfifo(run / "fifo")

    def fingerprint() -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for path in (root, *sorted(root.rglob("*"))):
            seen = path.lstat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found.append((path, digest, seen.st_mode, seen.st_size, seen.st_nlink, seen.st_mtime_ns, seen.st_ctime_ns))
        return found

    before = fingerprint()
    store.check()
    store.list_directory(partition)
    for name in (b"payload.jsonl", b"metadata.json", b"link", b"fifo", b"parts", b"gone"):
        try:
            store.open_file(partition, (name,)).pread(100, 0)
        except OSError:
            continue
    assert fingerprint() == before


def test_nothing_is_left_open(store: RawStore, run: Path, partition: Partition) -> None:
    before = open_descriptors()
    store.check()
    store.list_directory(partition)
    with pytest.raises(FileNotFoundError):
        store.list_directory(partition, (b"gone",))
    with pytest.raises(FileNotFoundError):
        store.open_file(partition, (b"gone",))
    store.open_file(partition, (b"payload.jsonl",)).close()
    assert open_descriptors() == before


def test_many_threads_share_one_store(store: RawStore, run: Path, partition: Partition) -> None:
    for number in range(20):
        (run / str(number)).write_bytes(b"%d" % number)

    def read(number: int) -> bytes:
        raw = store.open_file(partition, (b"%d" % (number % 20),))
        try:
            assert len(store.list_directory(partition)) == 22
            return raw.pread(10, 0)
        finally:
            raw.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(400))) == [b"%d" % (number % 20) for number in range(400)]


def test_a_root_that_is_unmounted_and_mounted_again_heals(
    root: Path, layout: RawLayout, make_store: MakeStore, partition: Partition
) -> None:
    """V10: the store holds nothing of the old mount."""
    store = make_store(root, layout)
    relative = Path(*map(os.fsdecode, layout.directory_of(partition)))
    for content in (b"first", b"second"):
        with pytest.raises(FileNotFoundError):
            store.list_directory(partition)
        with tmpfs(root):
            (root / relative).mkdir(parents=True)
            (root / relative / "payload.jsonl").write_bytes(content)
            raw = store.open_file(partition, (b"payload.jsonl",))
            assert raw.pread(10, 0) == content
            raw.close()


def test_a_relative_root_is_found_after_a_change_of_directory(
    root: Path, run: Path, layout: RawLayout, partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    store = LocalRawStore(Path(root.name), layout)
    monkeypatch.chdir("/")
    assert store.label == str(root)
    assert len(store.list_directory(partition)) == 2


def test_a_root_given_by_a_link_is_followed(root: Path, run: Path, tmp_path: Path, layout: RawLayout) -> None:
    (tmp_path / "link").symlink_to(root)
    LocalRawStore(tmp_path / "link", layout).check()


def test_the_label_is_the_path_made_printable(layout: RawLayout) -> None:
    assert LocalRawStore(Path("/data/raw"), layout).label == "/data/raw"
    assert LocalRawStore(Path(os.fsdecode(b"/data/\xff\n")), layout).label == "/data/\\xff\\n"


def test_check_accepts_a_directory_that_may_only_be_searched(store: RawStore, root: Path) -> None:
    root.chmod(0o711)
    with as_nobody():
        store.check()


def refusal(store: RawStore) -> str:
    before = open_descriptors()
    with pytest.raises(RawRootError) as caught:
        store.check()
    assert open_descriptors() == before
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.remedy
    return message


def test_check_refuses_a_missing_root(root: Path, layout: RawLayout) -> None:
    assert refusal(LocalRawStore(root / "gone", layout)).startswith(f"raw root {root}/gone does not exist;")


def test_check_refuses_a_file(root: Path, layout: RawLayout) -> None:
    (root / "file").touch()
    assert refusal(LocalRawStore(root / "file", layout)).startswith(f"raw root {root}/file is not a directory;")


def test_check_refuses_a_root_that_may_not_be_entered(root: Path, layout: RawLayout) -> None:
    (root / "closed").mkdir(mode=0o700)
    with as_nobody():
        message = refusal(LocalRawStore(root / "closed", layout))
    assert message.startswith(f"raw root {root}/closed may not be entered (Permission denied);")


def test_check_refuses_a_root_behind_links_in_a_circle(root: Path, layout: RawLayout) -> None:
    (root / "circle").symlink_to("circle")
    assert "cannot be read" in refusal(LocalRawStore(root / "circle", layout))


@pytest.mark.parametrize("word", ["", "cached"])
def test_check_refuses_a_root_on_a_dead_mount(root: Path, layout: RawLayout, word: str) -> None:
    """Also where the kernel still answers `stat` from what it keeps."""
    place = root / "dead"
    place.mkdir()
    with readyfs_mount(place, word) as daemon:
        place.stat()
        daemon.kill()
        daemon.wait(10)
        assert "Transport endpoint is not connected" in refusal(LocalRawStore(place, layout))
