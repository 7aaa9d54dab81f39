"""V5, V9, V4 over a long life: descriptors, inodes and memory go back to where they were."""

from __future__ import annotations

import errno
import os
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.mount.daemon import (
    EACH_ENGINE_ONCE,
    Place,
    fails_with,
    files_below,
    held_descriptors,
    mounted,
    partition,
    start,
    take_down,
    wait_until,
)
from tests.mount.forgetting import drop_names
from tests.mount.forked import StemWrapper

MEBIBYTE = 1024 * 1024


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_descriptors_return_after_heavy_use(place: Place, engine: str) -> None:
    """V5: what was opened for readers, listings, refreshes and failures is closed again."""
    parts = [partition(date=f"2024-06-{day:02}") for day in range(1, 29)]
    for part in parts:
        place.producer.write_and_publish(part, "r1", b"x" * 100_000)
    broken = partition(query="q2")
    place.producer.set_ready(broken, "r1")
    with mounted(place, engine=engine) as daemon:
        daemon.of(parts[0]).read_bytes()
        daemon.refresh()
        baseline = held_descriptors(daemon.pid)
        for turn in range(3):
            held = [os.open(daemon.of(part), os.O_RDONLY) for part in parts]
            assert all(os.read(fd, 1) for fd in held)
            opened = daemon.count("open_handles")
            assert opened >= len(parts) if daemon.traits.kernel_opens else opened == len(parts)
            # Where the kernel opens by itself, the raw files of the turn before are kept for a while, too.
            assert (
                not daemon.held_raw_files()
                if daemon.traits.kernel_reads
                else len(daemon.held_raw_files()) >= len(parts)
            )
            assert files_below(daemon.path)
            daemon.assert_refused(daemon.of(broken))
            place.producer.write_and_publish(parts[turn], f"again{turn}", b"y")
            daemon.refresh()
            for fd in held:
                os.close(fd)
        wait_until(lambda: daemon.count("open_handles") == 0, "every handle is closed")
        wait_until(lambda: not daemon.held_raw_files(), "every raw file is closed")
        wait_until(lambda: held_descriptors(daemon.pid) <= baseline, "descriptors are back at the baseline")


@pytest.mark.parametrize("engine_loop", ["native", "python"])
def test_few_descriptors_are_shared_between_readers_and_all_the_rest(place: Place, engine_loop: str) -> None:
    """Some files can be open whatever the limit; who wants more is told, and the daemon keeps what it needs itself."""
    parts = [partition(date=f"2024-{month:02}-{day:02}") for month in (6, 7, 8) for day in range(1, 29)]
    with place.producer.one_transaction():
        for part in parts:
            place.producer.write_and_publish(part, "r1", b"x")
    wrapper = StemWrapper(("prlimit", "--nofile=64:64", "--"))
    daemon = start(place, "--engine-loop", engine_loop, engine="opened", wrapper=wrapper)
    held: list[int] = []
    try:
        for part in parts[:16]:
            held.append(os.open(daemon.of(part), os.O_RDONLY))
        with fails_with(errno.ENFILE):
            daemon.of(parts[16]).read_bytes()
        assert held_descriptors(daemon.pid) < 64 - 16
        assert daemon.count("open_handles") == 16
        assert daemon.count("broken") == 0
        while held:
            os.close(held.pop())
        wait_until(lambda: daemon.count("open_handles") == 0, "every handle is closed")
        assert {daemon.of(part).read_bytes() for part in parts} == {b"x"}
    finally:
        for fd in held:
            os.close(fd)
        take_down(daemon)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_runs_that_were_switched_away_take_no_memory(place: Place, engine: str) -> None:
    """V5: what was looked at of a run goes when neither the state nor the kernel names it any more."""
    parts = [partition(f"c{number}") for number in range(40)]
    for part in parts:
        place.producer.write_run(part, "r0", b"x" * 100)

    def switch(turns: range) -> None:
        for turn in turns:
            with place.producer.one_transaction():
                for part in parts:
                    run = place.producer.run_directory(part, f"r{turn}")
                    run.mkdir()
                    for name in ("payload.jsonl", "metadata.json"):
                        os.link(place.producer.run_directory(part, "r0") / name, run / name)
                    place.producer.set_ready(part, f"r{turn}")
            daemon.refresh()
            for part in parts:
                assert daemon.of(part).read_bytes() == b"x" * 100
                assert len(os.listdir(daemon.directory(part))) == 2

    with mounted(place, engine=engine, afresh=True) as daemon:
        switch(range(1, 26))
        before = resident_bytes(daemon.pid)
        switch(range(26, 501))
        grown = resident_bytes(daemon.pid) - before
        assert grown < 5 * MEBIBYTE, grown


def private_bytes(pid: int) -> int:
    """Return what the process alone has written to: what goes away with it (proc_pid_smaps(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))


@pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)
@pytest.mark.parametrize(
    "series", [400, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])], ids=["40k", "1m"]
)
def test_known_directories_take_few_bytes_and_give_them_back(place: Place, engine: str, series: int) -> None:
    """Decision 0023: what a walk over every partition makes known is small, and goes when the kernel forgets it."""
    days = [(date(2020, 1, 1) + timedelta(days=number)).isoformat() for number in range(100)]
    with place.producer.one_transaction():
        for number in range(series):
            for day in days:
                place.producer.set_ready(partition(customer=f"c{number % 20}", query=f"q{number}", date=day), "r1")
    with mounted(place, engine=engine, afresh=True) as daemon:
        names = os.listdir(daemon.path)
        before = private_bytes(daemon.pid)
        for customer in names:
            for query in os.listdir(daemon.path / customer):
                assert len(os.listdir(daemon.path / customer / query)) == 100
        known = daemon.count("inodes")
        assert known > series * 90  # the kernel may have forgotten some on its own
        grown = private_bytes(daemon.pid) - before
        # What a first walk makes the interpreter allocate once does not belong to the inodes.
        assert grown < 150 * known + 6 * MEBIBYTE, (grown, known)

        def is_forgotten() -> bool:
            drop_names(daemon.path)
            return daemon.count("inodes") <= 2

        wait_until(is_forgotten, "the kernel forgot, and so did the daemon", patience_s=100.0)
        wait_until(lambda: private_bytes(daemon.pid) - before < 20 * MEBIBYTE, "the memory is given back")


def test_inodes_return_when_the_kernel_forgets(place: Place, engine: str) -> None:
    """V9: the inode table holds what the kernel holds, and lookups of absent names leave nothing."""
    for day in range(1, 29):
        for query in ("q1", "q2", "q3"):
            place.producer.write_and_publish(partition(query=query, date=f"2024-06-{day:02}"), "r1", b"x")
    with mounted(place, engine=engine) as daemon:
        assert len(files_below(daemon.path)) == 3 * 28 * 2
        full = daemon.count("inodes")
        assert full > 3 * 28 * 2
        for number in range(200):
            assert not (daemon.path / f"absent-{number}").exists()
        assert daemon.count("inodes") == full

        def is_forgotten() -> bool:
            drop_names(daemon.path)
            return daemon.count("inodes") <= 2

        wait_until(is_forgotten, "the kernel forgot, and so did the daemon")
        assert len(files_below(daemon.path)) == 3 * 28 * 2


def test_forgotten_nodes_are_found_again_with_the_same_numbers(place: Place, engine: str) -> None:
    """V9, V5: dropping caches between any two steps changes nothing for who looks or holds."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"old\n")
    with mounted(place, engine=engine) as daemon, open(daemon.of(part), "rb", buffering=0) as held:
        before = daemon.of(part).stat().st_ino
        drop_names(daemon.path)
        assert daemon.of(part).stat().st_ino == before
        place.producer.write_and_publish(part, "r2", b"new\n")
        daemon.refresh()
        drop_names(daemon.path)
        assert held.read() == b"old\n"
        assert daemon.of(part).read_bytes() == b"new\n"


@pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)
def test_memory_does_not_grow_over_many_refreshes(place: Place, engine: str) -> None:
    """V4: old catalogs go when nobody holds them: 200 switches of a large table cost no lasting memory."""
    with place.producer.one_transaction():
        for number in range(1000):
            day = f"20{number % 20:02}-{number // 20 % 12 + 1:02}-{number // 240 + 1:02}"
            place.producer.set_ready(partition(date=day), f"run-{number}")
    with mounted(place, engine=engine, afresh=True) as daemon:
        sizes = []
        for turn in range(200):
            place.producer.set_ready(partition(date=f"2030-01-{turn % 28 + 1:02}"), f"turn-{turn}")
            assert daemon.refresh()["changed"]
            if turn % 20 == 0:
                assert len(os.listdir(daemon.path / "c1/q1")) > 1000
            if turn in (50, 199):
                sizes.append(resident_bytes(daemon.pid))
        assert sizes[1] - sizes[0] < 8 * MEBIBYTE, [size // MEBIBYTE for size in sizes]
