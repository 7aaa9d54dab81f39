"""A refresh that changes very many names: the kernel is told once, and readers see all of it."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence

import pytest

from readyfs.demo.producer import LogicalPartition
from readyfs.fuse.notifications import EXPIRE_ALL_FROM
from tests.mount.daemon import Daemon, Place, mounted, partition
from tests.mount.test_resources import MEBIBYTE, resident_bytes

DATES = [(datetime.date(2020, 1, 1) + datetime.timedelta(days=day)).isoformat() for day in range(1000)]


def make_ready(place: Place, parts: Sequence[LogicalPartition], run_id: str) -> None:
    with place.producer.one_transaction():
        for part in parts:
            place.producer.set_ready(part, run_id)


def numbers(daemon: Daemon, parts: Sequence[LogicalPartition]) -> list[int]:
    """Return the inode numbers of the date directories, by path."""
    top = os.fspath(daemon.path)
    return [os.stat(f"{top}/{part.path}").st_ino for part in parts]


@pytest.mark.parametrize(("changes", "asked_again"), [(EXPIRE_ALL_FROM - 1, False), (EXPIRE_ALL_FROM, True)])
def test_many_changes_expire_all_names_and_few_do_not(place: Place, changes: int, asked_again: bool) -> None:
    """With one notification for all, the kernel asks once more for what did not change, and for nothing else."""
    stays, changing = partition("c2"), [partition(date=date) for date in DATES[:changes]]
    make_ready(place, [stays, *changing], "r1")
    with mounted(place, "--name-timeout", "1h", engine="cached") as daemon:
        before = numbers(daemon, [stays, *changing])
        make_ready(place, changing, "r2")
        assert daemon.refresh()["switched"] == changes
        asked = daemon.requests("lookup")
        assert numbers(daemon, [stays]) == before[:1]
        assert daemon.requests("lookup") - asked == (3 if asked_again else 0)
        assert not set(numbers(daemon, changing)) & set(before)
        asked = daemon.requests("lookup")
        assert numbers(daemon, [stays]) == before[:1]
        assert daemon.requests("lookup") == asked


@pytest.mark.parametrize("count", [8000, pytest.param(100_000, marks=pytest.mark.long)])
def test_readers_see_every_change_of_a_burst_and_memory_is_bounded(place: Place, count: int) -> None:
    """V3, V7: names that were listed and looked up before, half of which go, while others come."""
    parts = [partition(f"c{number}", date=date) for number in range(count // len(DATES)) for date in DATES]
    make_ready(place, parts, "r0")
    with mounted(place, "--name-timeout", "1h", engine="cached") as daemon:
        before = numbers(daemon, parts)
        held = os.open(daemon.directory(parts[0]), os.O_RDONLY | os.O_DIRECTORY)
        sizes = []
        for turn in range(1, 5):
            make_ready(place, parts, f"r{turn}")
            assert daemon.refresh()["switched"] == count
            now = numbers(daemon, parts)
            assert not set(now) & set(before)
            assert len(set(now)) == count
            before = now
            sizes.append(resident_bytes(daemon.pid))
        assert os.getxattr(held, "user.readyfs.run_id") == b"r0"
        os.close(held)
        assert sizes[3] - sizes[1] < 16 * MEBIBYTE, [size // MEBIBYTE for size in sizes]

        gone, come = parts[::2], [partition(f"d{number}", date=date) for number in range(2) for date in DATES]
        with place.producer.one_transaction():
            for part in gone:
                place.producer.delete_row(part)
            for part in come:
                place.producer.set_ready(part, "r1")
        daemon.refresh()
        assert sorted(os.listdir(daemon.path)) == sorted({part.customer_id for part in (*parts, *come)})
        for customer in ("c0", "c7", "d1"):
            expected = DATES[1::2] if customer.startswith("c") else DATES
            assert os.listdir(daemon.path / customer / "q1") == expected
        assert not any(daemon.directory(part).exists() for part in gone[::7])
        assert all(daemon.directory(part).exists() for part in (*parts[1::14], *come[::7]))
