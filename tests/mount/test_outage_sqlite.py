"""V11 on a SQLite file that is truncated, overwritten, altered, or lies on a disk that is full."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from readyfs.demo.producer import Producer
from readyfs.errors import RefreshFailedError
from tests.mount.daemon import (
    EACH_ENGINE_ONCE,
    Daemon,
    Place,
    fails_with,
    held_descriptors,
    mounted,
    partition,
    wait_until,
)

ENTERED: Final = "state cannot be read, serving the last good catalog"
LEFT: Final = "state can be read again"
OPTIONS: Final = ("--interval", "50ms", "--state-timeout", "100ms")
ROWS: Final = 600
"""Enough for a table of many pages."""
PAGE: Final = 4096


@pytest.fixture(params=EACH_ENGINE_ONCE)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def fill(place: Place, *, wal: bool = False) -> None:
    """Write one partition with a run, and many rows beside it."""
    if wal:
        place.change("PRAGMA journal_mode = WAL")
    place.producer.write_and_publish(partition("seen"), "r1", b"x\n")
    with place.producer.one_transaction():
        for number in range(ROWS):
            place.producer.set_ready(partition(f"c{number % 10}", f"q{number // 10}"), "r1")


def truncate_to(size: Callable[[int], int]) -> Callable[[Path], None]:
    def truncate(state: Path) -> None:
        os.truncate(state, size(state.stat().st_size))

    return truncate


def overwrite(state: Path) -> None:
    size = state.stat().st_size
    with open(state, "r+b") as file:
        file.write(os.urandom(size))


def overwrite_rows(state: Path) -> None:
    """Leave header and schema as they are."""
    size = state.stat().st_size
    with open(state, "r+b") as file:
        file.seek(PAGE)
        file.write(bytes(size - PAGE))


def execute(state: Path, statement: str) -> None:
    with closing(sqlite3.connect(state, isolation_level=None, timeout=10)) as session:
        session.execute(statement)


def drop_column(state: Path) -> None:
    execute(state, "ALTER TABLE partition_state DROP COLUMN status")


def rename_column(state: Path) -> None:
    execute(state, "ALTER TABLE partition_state RENAME COLUMN current_run_id TO run")


def rename_table(state: Path) -> None:
    execute(state, "ALTER TABLE partition_state RENAME TO away")


def shut(state: Path) -> None:
    """Put something in its place that cannot be opened as a file; root may read what others may not."""
    state.unlink()
    state.symlink_to(state.name)


DAMAGES: Final = {
    "emptied": truncate_to(lambda _: 0),
    "header": truncate_to(lambda _: 60),
    "first page": truncate_to(lambda _: PAGE),
    "half": truncate_to(lambda size: size // 2 // PAGE * PAGE),
    "torn page": truncate_to(lambda size: size - PAGE // 2),
    "garbage": overwrite,
    "zeros": overwrite_rows,
    "column dropped": drop_column,
    "column renamed": rename_column,
    "table renamed": rename_table,
    "shut": shut,
}


def back_up(state: Path) -> bytes:
    """Return the whole database as one file's bytes, whatever its journal mode."""
    with closing(sqlite3.connect(state)) as session:
        session.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return session.serialize()


def put_back(state: Path, content: bytes) -> None:
    """Restore a backup under the name, in one step."""
    other = state.with_name("backup.db")
    other.write_bytes(content)
    for suffix in ("-wal", "-shm", "-journal"):
        state.with_name(state.name + suffix).unlink(missing_ok=True)
    os.replace(other, state)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("journal", ["rollback", "wal"])
def test_last_good_catalog_is_served_until_the_file_is_restored(
    place: Place, journal: str, damage: Callable[[Path], None]
) -> None:
    """V11: a file that cannot be read is never taken for one with fewer rows, and its restoring is all it takes."""
    fill(place, wal=journal == "wal")
    part, unseen = partition("seen"), partition("seen", date="2024-06-02")
    with mounted(place, *OPTIONS, engine="cached") as daemon:
        before = daemon.status()
        names = sorted(os.listdir(daemon.path))
        assert len(names) == 11
        place.producer.close()
        good = back_up(place.state)
        damage(place.state)
        wait_until(lambda: daemon.status()["state_error"] is not None, "the outage is in the status")
        with pytest.raises(RefreshFailedError):
            daemon.refresh()
        during = daemon.status()
        assert (during["revision"], during["partitions"]) == (before["revision"], ROWS + 1)
        assert during["state_error_since"] is not None
        assert sorted(os.listdir(daemon.path)) == names
        assert daemon.of(part).read_bytes() == b"x\n"
        assert len(daemon.events(ENTERED)) == 1

        put_back(place.state, good)
        place.producer = Producer(place.state, place.raw)
        place.producer.write_and_publish(unseen, "r1", b"new\n")
        wait_until(daemon.of(unseen).exists, "the restored state is seen")
        wait_until(lambda: daemon.status()["state_error"] is None, "the outage is over")
        assert daemon.count("partitions") == ROWS + 2
        assert len(daemon.events(LEFT)) == 1


def test_walks_fail_past_the_staleness_limit_until_the_file_is_restored(place: Place, engine: str) -> None:
    """V11: a truncated file fails closed and recovers."""
    fill(place)
    with mounted(place, *OPTIONS, "--max-staleness", "2s", engine=engine) as daemon:
        place.producer.close()
        good = back_up(place.state)
        DAMAGES["half"](place.state)
        wait_until(lambda: daemon.status()["stale"] is True, "the catalog is too old")
        wait_until(lambda: is_refused(daemon.path / "seen"), "the kernel forgot the root's names")
        with fails_with(errno.EIO):
            os.listdir(daemon.path)
        put_back(place.state, good)
        wait_until(lambda: daemon.status()["stale"] is False, "it is fresh again")
        wait_until(lambda: not is_refused(daemon.of(partition("seen"))), "and is so for a look's time")
        assert daemon.of(partition("seen")).read_bytes() == b"x\n"


def is_refused(path: Path) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        assert error.errno == errno.EIO
        return True
    return False


# ---- a full disk ------------------------------------------------------------------------------------------------


@pytest.fixture
def small_place(tmp_path: Path) -> Iterator[Place]:
    """A place whose state file lies on a file system of its own, of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs takes root")
    base = tmp_path / "world"
    base.mkdir()
    disk = base / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=True, timeout=10)
    try:
        found = SmallPlace(base)
        with closing(found.producer):
            yield found
    finally:
        subprocess.run(["umount", str(disk)], check=True, timeout=10)


class SmallPlace(Place):
    """A place with its state on a small disk."""

    @property
    def state(self) -> Path:
        return self.base / "disk" / "state.db"


@contextmanager
def full(place: Place) -> Iterator[None]:
    """Leave not a byte free on the state's disk."""
    ballast = place.state.with_name("ballast")
    with open(ballast, "wb", buffering=0) as file:
        try:
            while file.write(b"x" * PAGE) == PAGE:
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    try:
        yield
    finally:
        ballast.unlink()


@pytest.mark.parametrize("journal", ["rollback", "wal"])
def test_full_disk_stops_the_producer_and_no_reader(small_place: Place, journal: str) -> None:
    """V11: what was committed before is served and looked at again; what comes after is seen once there is room."""
    place = small_place
    if journal == "wal":
        place.change("PRAGMA journal_mode = WAL")
    part, unseen = partition(), partition(date="2024-06-02")
    place.producer.write_and_publish(part, "r1", b"x\n")
    with mounted(place, *OPTIONS, engine="cached") as daemon:
        with full(place):
            run = place.producer.write_run(unseen, "r1", b"new\n")
            with pytest.raises(sqlite3.OperationalError, match=r"full|disk I/O"):
                for _ in range(1000):
                    place.producer.publish(run)
                    place.producer.delete_row(unseen)
            daemon.refresh()
            assert daemon.status()["state_error"] is None
            assert daemon.of(part).read_bytes() == b"x\n"
        place.producer.publish(run)
        wait_until(daemon.of(unseen).exists, "what was committed when there was room is seen")
        assert daemon.of(unseen).read_bytes() == b"new\n"


def test_journal_that_nobody_can_roll_back_on_a_full_disk_is_an_outage_at_most(small_place: Place) -> None:
    """V11: a writer that died in the middle of a commit on a full disk; the next one rolls back, and all is well."""
    place = small_place
    fill(place)
    part = partition("seen")
    with mounted(place, *OPTIONS, engine="cached") as daemon:
        writer = (
            "import os, sqlite3, sys\n"
            "state = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "state.execute('PRAGMA cache_size = 1')\n"
            "state.execute('BEGIN')\n"
            "try:\n"
            "    while True:\n"
            "        state.execute('UPDATE partition_state SET status = 0, error_message = hex(randomblob(64))')\n"
            "except sqlite3.OperationalError:\n"
            "    pass\n"
            "os.kill(os.getpid(), 9)\n"
        )
        with full(place):
            subprocess.run(["python3", "-c", writer, str(place.state)], timeout=30, check=False)
            for _ in range(3):
                daemon.client.refresh(wait=False)
                assert len(os.listdir(daemon.path)) == 11
                assert daemon.of(part).read_bytes() == b"x\n"
        place.producer.set_ready(partition("last"), "r1")
        wait_until((daemon.path / "last").exists, "the next writer's commit is seen")
        daemon.refresh()
        assert daemon.count("partitions") == ROWS + 2


# ---- time after time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cycles", [23, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(0)], id="1000")]
)
@pytest.mark.parametrize("journal", ["rollback", "wal"])
def test_outages_leak_neither_descriptors_nor_threads(place: Place, journal: str, cycles: int) -> None:
    """V11: one damage after the other, for as long as it takes."""
    fill(place, wal=journal == "wal")
    damages = list(DAMAGES.values())
    with mounted(place, *OPTIONS, engine="cached") as daemon:
        place.producer.close()
        good = back_up(place.state)
        descriptors = threads = 0
        for cycle in range(cycles):
            damages[cycle % len(damages)](place.state)
            with pytest.raises(RefreshFailedError):
                refresh_twice(daemon)
            put_back(place.state, good)
            daemon.refresh()
            assert daemon.count("partitions") == ROWS + 1
            if cycle <= len(damages):
                threads = max(threads, count_threads(daemon))  # how many are at work at a time is chance
            if cycle == len(damages):
                descriptors = held_descriptors(daemon.pid)
        wait_until(lambda: held_descriptors(daemon.pid) <= descriptors, "no descriptor is held for longer")
        # An idle thread ends after ten seconds (trio's cache of threads), unless it was of use again meanwhile.
        wait_until(lambda: count_threads(daemon) <= threads, "no thread lives for longer", 60)
        assert len(daemon.events(ENTERED)) == len(daemon.events(LEFT)) == cycles


def refresh_twice(daemon: Daemon) -> None:
    """Refresh; one that was under way when the trouble began is followed by another."""
    daemon.refresh()
    daemon.refresh()


def count_threads(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{daemon.pid}/task"))
