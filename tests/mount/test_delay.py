"""V3, V4: a committed change is seen within the interval, and a refresh is one step."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from itertools import pairwise

import pytest

from readyfs.errors import RefreshFailedError
from tests.mount.daemon import Daemon, Place, in_each_layout, mounted, partition, wait_until


def test_commit_is_seen_within_the_interval_without_being_asked(place: Place, engine: str) -> None:
    """V3: the timer alone makes changes visible; the slack is the machine's, not the interval's."""
    stays, part = partition(query="q2"), partition()
    place.producer.write_and_publish(stays, "r1", b"stays\n")
    with mounted(place, "--interval", "200ms", engine=engine) as daemon:
        assert not daemon.of(part).exists()
        place.producer.write_and_publish(part, "r1", b"first\n")
        wait_until(daemon.of(part).exists, "the new partition is seen", 5.0)

        place.producer.write_and_publish(part, "r2", b"second\n")
        wait_until(lambda: daemon.of(part).read_bytes() == b"second\n", "the new run is seen", 5.0)

        place.producer.requeue(part)
        wait_until(lambda: not daemon.directory(part).exists(), "the retraction is seen", 5.0)


def test_remembered_absence_ends_with_the_refresh(place: Place, engine: str) -> None:
    """V3: names that the kernel remembers as absent, at every depth, are visible once the refresh has returned."""
    stays, part = partition(), partition(date="2024-06-02")
    query, customer = partition(query="q2"), partition(customer="c2")
    place.producer.write_and_publish(stays, "r1", b"x\n")
    absent = (part.path, "c1/q2", "c2")
    with mounted(place, engine=engine) as daemon:
        for path in absent:
            assert not (daemon.path / path).exists()
        before = daemon.requests("lookup")
        for path in absent:
            assert not (daemon.path / path).exists()
        assert daemon.requests("lookup") == before, "the kernel does not remember the absence: nothing is proved"

        for new in (part, query, customer):
            place.producer.write_and_publish(new, "r1", b"new\n")
        daemon.refresh()
        for new in (part, query, customer):
            assert daemon.of(new).read_bytes() == b"new\n"


@in_each_layout
def test_remembered_names_end_with_the_refresh(place: Place, engine: str) -> None:
    """V3: what the kernel would trust for an hour is gone or new as soon as the refresh has returned."""
    gone, switched = partition(customer="c2"), partition()
    place.producer.write_and_publish(gone, "r1", b"gone\n")
    place.producer.write_and_publish(switched, "r1", b"first\n")
    with mounted(place, "--name-timeout", "1h", engine=engine) as daemon:
        assert daemon.of(gone).read_bytes() == b"gone\n"
        assert daemon.of(switched).read_bytes() == b"first\n"
        place.producer.fail(gone)
        place.producer.write_and_publish(switched, "r2", b"second\n")
        daemon.refresh()
        assert not daemon.of(gone).exists()
        assert not (daemon.path / "c2").exists()
        assert daemon.of(switched).read_bytes() == b"second\n"


def test_hangup_signal_refreshes(place: Place, engine: str) -> None:
    """V3: sooner after a trigger: SIGHUP."""
    part = partition()
    with mounted(place, engine=engine) as daemon:
        place.producer.write_and_publish(part, "r1", b"x\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(daemon.of(part).exists, "the partition is seen", 5.0)


def test_unchanged_state_is_not_published_again(place: Place, engine: str) -> None:
    """V3: a refresh that finds nothing new leaves revision and fingerprint as they are."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x\n")
    with mounted(place, engine=engine) as daemon:
        before = daemon.status()
        assert daemon.refresh()["changed"] is False
        after = daemon.status()
        assert (after["revision"], after["fingerprint"]) == (before["revision"], before["fingerprint"])
        assert after["refreshed_at"] != before["refreshed_at"]


def test_transaction_that_is_not_committed_is_not_seen(place: Place, engine: str) -> None:
    """V3, V4: only what is committed counts, and then all of it at once."""
    stays, one, two = partition(), partition(date="2024-06-02"), partition(date="2024-06-03")
    for part in (stays, one, two):
        place.producer.write_run(part, "r1", b"x\n")
    place.producer.set_ready(stays, "r1")
    with mounted(place, "--state-timeout", "300ms", engine=engine) as daemon:
        with place.producer.one_transaction():
            place.producer.set_ready(one, "r1")
            place.producer.set_ready(two, "r1")
            refresh_or_outage(daemon)
            assert os.listdir(daemon.path / "c1/q1") == ["2024-06-01"]
        assert daemon.refresh()["appeared"] == 2
        assert os.listdir(daemon.path / "c1/q1") == ["2024-06-01", "2024-06-02", "2024-06-03"]


def refresh_or_outage(daemon: Daemon) -> None:
    try:
        daemon.refresh()
    except RefreshFailedError:
        pass  # a writer that holds the lock is an outage (V11), which shows nothing either


@pytest.mark.parametrize("round_trips", [20, pytest.param(600, marks=pytest.mark.long)])
def test_listings_during_refreshes_are_those_of_one_transaction(place: Place, engine: str, round_trips: int) -> None:
    """V4, V7: while one transaction moves fifty dates at a time, every listing is wholly the old or the new."""
    odd = [partition(date=f"2024-{month:02}-{day:02}") for month in (1, 3, 5) for day in range(1, 29)]
    even = [partition(date=f"2024-{month:02}-{day:02}") for month in (2, 4, 6) for day in range(1, 29)]
    shown, hidden = odd, even
    for part in shown:
        place.producer.set_ready(part, "r1")
    allowed = [[part.logical_date for part in odd], [part.logical_date for part in even]]
    stop = threading.Event()
    seen: list[list[str]] = []

    with mounted(place, "--interval", "50ms", engine=engine) as daemon:

        def read() -> None:
            while not stop.is_set():
                seen.append(os.listdir(daemon.path / "c1/q1"))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            revision = daemon.count("revision")
            for _ in range(round_trips):
                with place.producer.one_transaction():
                    for part in shown:
                        place.producer.delete_row(part)
                    for part in hidden:
                        place.producer.set_ready(part, "r1")
                shown, hidden = hidden, shown
                wait_until(lambda revision=revision: daemon.count("revision") > revision, "the change is in force")  # type: ignore[misc]
                revision = daemon.count("revision")
        finally:
            stop.set()
            reader.join()
    assert all(listing in allowed for listing in seen)
    assert all(listing in seen for listing in allowed)
    assert count_switches(seen) >= 5


def count_switches(seen: Sequence[list[str]]) -> int:
    return sum(a != b for a, b in pairwise(seen))


def test_concurrent_refreshes_all_return(place: Place, engine: str) -> None:
    """V3: each waits for a refresh that began after it asked, so each sees what it committed before."""
    failures: list[str] = []
    with mounted(place, engine=engine) as daemon:

        def publish_and_look(number: int) -> None:
            part = partition(customer=f"c{number}")
            with lock:
                place.producer.write_and_publish(part, "r1", b"x\n")
            daemon.refresh()
            if not daemon.of(part).exists():
                failures.append(part.path)

        lock = threading.Lock()
        threads = [threading.Thread(target=publish_and_look, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
