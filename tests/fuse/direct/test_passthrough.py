"""Passthrough over a real mount: the kernel reads raw files itself, and who opens what and when makes no difference."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import struct
import subprocess
import threading
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest

from tests.fuse.direct.raw_mounts import behind_two_overlays, on_tmpfs
from tests.mount.bindfs import bound
from tests.mount.daemon import Place, fails_with, mounted, partition, wait_until

PAGE = mmap.PAGESIZE
_SYS_CACHESTAT = 451
"""The number of cachestat(2) on every architecture; Linux 6.5."""
_libc = ctypes.CDLL(None, use_errno=True)


def cached_pages(path: Path) -> int:
    """Return how many pages of a file are in the page cache under its own inode."""
    with open(path, "rb", buffering=0) as file:
        seen = ctypes.create_string_buffer(40)
        if _libc.syscall(_SYS_CACHESTAT, file.fileno(), struct.pack("=QQ", 0, 0), seen, 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return int(struct.unpack_from("=Q", seen)[0])


@pytest.mark.parametrize(("engine", "copies"), [("passthrough", 0), ("cached", 1)])
def test_bytes_are_in_memory_once_where_the_kernel_reads(place: Place, engine: str, copies: int) -> None:
    part, pages = partition(), 512
    place.producer.write_and_publish(part, "r1", bytes(PAGE) * pages)
    with mounted(place, engine=engine) as daemon:
        assert daemon.of(part).read_bytes() == bytes(PAGE) * pages
        with (
            open(daemon.of(part), "rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
        ):
            assert mapped[:] == bytes(PAGE) * pages
        assert cached_pages(daemon.of(part)) == copies * pages
        assert (daemon.requests("read") > 0) == bool(copies)


def test_file_that_the_kernel_refuses_is_read_by_the_daemon_and_others_are_not(place: Place) -> None:
    """ELOOP on a stack of filesystems: decided for each file, counted, and logged once."""
    passed, refused = partition(), [partition("c2", date=f"2024-06-0{day}", source="s2") for day in (1, 2)]
    for part in (passed, *refused):
        place.producer.write_and_publish(part, "r1", part.path.encode() * 5000)
    with behind_two_overlays(place.raw / "s2", place.base), mounted(place, engine="passthrough") as daemon:
        assert daemon.of(passed).read_bytes() == passed.path.encode() * 5000
        assert daemon.requests("read") == 0
        assert daemon.status()["fallbacks"] == {}
        for part in refused:
            assert daemon.of(part).read_bytes() == part.path.encode() * 5000
        reads = daemon.requests("read")
        assert reads > 0
        assert daemon.status()["fallbacks"] == {"ELOOP": 2}
        for part in refused:
            assert daemon.of(part).read_bytes() == part.path.encode() * 5000
        assert daemon.requests("read") == reads, "pages are kept over opens"
        assert len(daemon.events("the kernel refuses passthrough for a raw file, reading it ourselves")) == 1


def test_refused_file_can_be_opened_while_it_is_open_and_again_afterwards(place: Place) -> None:
    part = partition()
    place.producer.write_and_publish(part, "r1", b"refused\n")
    with behind_two_overlays(place.raw / "s1", place.base), mounted(place, engine="passthrough") as daemon:
        for _ in range(2):
            with open(daemon.of(part), "rb") as one, open(daemon.of(part), "rb") as other:
                mapped = mmap.mmap(one.fileno(), 0, prot=mmap.PROT_READ)
                assert other.read() == b"refused\n"
            with mapped, open(daemon.of(part), "rb") as again:
                assert again.read() == mapped[:] == b"refused\n"
            wait_until(lambda: daemon.count("open_handles") == 0, "the kernel has closed it")


@pytest.mark.parametrize("refused", [False, True], ids=["passed", "refused"])
def test_readers_that_open_and_close_the_same_files_at_once_do_not_harm_each_other(place: Place, refused: bool) -> None:
    """All opens of an inode share one registration: with two the kernel would fail one of them."""
    parts = [partition(date=f"2024-06-0{day}") for day in range(1, 5)]
    contents = {part: bytes([number]) * 100_000 for number, part in enumerate(parts)}
    for part in parts:
        place.producer.write_and_publish(part, "r1", contents[part])
    store = behind_two_overlays(place.raw / "s1", place.base) if refused else nullcontext()
    with store, mounted(place, engine="passthrough") as daemon:
        failures: list[str] = []

        def read(seed: int) -> None:
            choose = random.Random(seed)
            try:
                for _ in range(200):
                    part = choose.choice(parts)
                    with open(daemon.of(part), "rb", buffering=0) as file:
                        offset = choose.randrange(100_000)
                        data = os.pread(file.fileno(), 5000, offset)
                        if choose.random() < 0.2:
                            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                                assert mapped[offset : offset + 5000] == data
                    assert data == contents[part][offset : offset + 5000]
            except (OSError, AssertionError) as error:
                failures.append(repr(error))

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def test_mapping_whose_file_was_closed_does_not_hinder_the_next_open(place: Place) -> None:
    """V5: the kernel goes on to count it as an open, so its registration is not let go and replaced by another."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"mapped\n")
    with mounted(place, engine="passthrough") as daemon:
        with open(daemon.of(part), "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        with mapped:
            assert daemon.of(part).read_bytes() == b"mapped\n"
            wait_until(lambda: daemon.count("open_handles") == 1, "only the mapping is left")
            assert mapped[:] == b"mapped\n"


def test_raw_file_that_is_replaced_by_its_equal_while_it_is_open_is_another_inode(place: Place) -> None:
    """V10: whoever has the old one open goes on with it, whoever comes reads the new one, and the kernel allows it."""
    part = partition()
    payload = place.producer.write_and_publish(part, "r1", b"payload\n").directory / "payload.jsonl"
    with mounted(place, engine="passthrough") as daemon:
        with open(daemon.of(part), "rb", buffering=0) as held:
            before = os.fstat(held.fileno())
            os.truncate(payload, 3)
            daemon.assert_refused(daemon.of(part))
            payload.with_name("new").write_bytes(b"payload\n")
            os.utime(payload.with_name("new"), ns=(before.st_mtime_ns, before.st_mtime_ns))
            payload.with_name("new").rename(payload)
            with open(daemon.of(part), "rb", buffering=0) as other:
                assert other.read() == b"payload\n"
                assert held.read() == b"pay", "this is what the old one came to"
                assert os.fstat(other.fileno()).st_ino != before.st_ino
            assert daemon.of(part).read_bytes() == b"payload\n"
        assert daemon.of(part).read_bytes() == b"payload\n"
        assert daemon.of(part).stat().st_size == 8


def test_open_that_hangs_is_undone_and_opened_once_in_the_end(place: Place) -> None:
    """V13: the reader is told after the deadline; what the store answers later is not kept open."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"payload\n")
    with (
        bound(place) as store,
        mounted(place, "--raw", str(store.path), "--raw-timeout", "500ms", engine="passthrough") as daemon,
    ):
        assert daemon.of(part).read_bytes() == b"payload\n"
        assert daemon.requests("read") == 0, "the kernel reads"
        store.stop()
        try:
            with fails_with(errno.EIO):
                daemon.of(part).read_bytes()
        finally:
            store.go_on()
        wait_until(lambda: daemon.count("open_handles") == 0 and not daemon.held_raw_files(), "the late open is undone")
        for _ in range(2):
            with open(daemon.of(part), "rb") as file:
                assert daemon.count("open_handles") == 1
                assert file.read() == b"payload\n"
        assert daemon.requests("read") == 0


def test_registrations_of_many_opens_are_let_go(place: Place) -> None:
    """Once, for each time that the inode was open; none is kept for an inode that the kernel forgot."""
    parts = [partition(date=f"2024-06-{day:02}") for day in range(1, 21)]
    volume = place.raw / "s1"
    with on_tmpfs(volume):
        for part in parts:
            place.producer.write_and_publish(part, "r1", b"x\n")
        with mounted(place, engine="passthrough") as daemon:
            for _ in range(20):
                with ExitStack() as opened:
                    for part in random.choices(parts, k=30):
                        assert opened.enter_context(open(daemon.of(part), "rb")).read() == b"x\n"
            assert daemon.requests("read") == 0

            def is_unmounted() -> bool:
                return subprocess.run(["umount", volume], capture_output=True, timeout=10, check=False).returncode == 0

            wait_until(is_unmounted, "the volume is free")


@pytest.mark.parametrize("engine", ["passthrough", "cached"])
def test_raw_filesystem_is_free_some_seconds_after_the_last_read(place: Place, engine: str) -> None:
    """What is kept open for the next read, or until it can be closed, does not keep a volume from being unmounted."""
    part = partition()
    volume = place.raw / "s1"
    with on_tmpfs(volume):
        place.producer.write_and_publish(part, "r1", b"x\n")
        with mounted(place, engine=engine) as daemon:
            assert daemon.of(part).read_bytes() == b"x\n"

            def is_unmounted() -> bool:
                return subprocess.run(["umount", volume], capture_output=True, timeout=10, check=False).returncode == 0

            if engine == "cached":
                assert not is_unmounted(), "the file is kept for a while"
            wait_until(is_unmounted, "the volume is free")
