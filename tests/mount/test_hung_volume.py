"""V10: one volume of the raw store that hangs takes the threads of those who read other volumes only for a moment."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.mount.bindfs import BoundStore, bound_in_place
from tests.mount.daemon import Daemon, Place, files_below, mounted, partition, wait_until
from tests.mount.test_hung_raw import RESCUE_S, SOON_S, is_asleep

THREADS = 4
OPTIONS = ("--raw-threads", str(THREADS))
HANGING = [partition(date=f"2024-06-{day:02}") for day in range(1, 3 * THREADS)]
OTHERS = [partition("c2", date=f"2024-06-{day:02}") for day in range(1, 3 * THREADS)]


@contextmanager
def series_on_volumes(place: Place, *customers: str) -> Iterator[list[BoundStore]]:
    """Publish everything, with each of these customers on a file system of its own."""
    for part in (*HANGING, *OTHERS):
        place.producer.write_and_publish(part, "r1", b"x\n")
    with ExitStack() as stack:
        yield [stack.enter_context(bound_in_place(place.raw / "s1" / f"customer_id={name}")) for name in customers]


@contextmanager
def readers_of(store: BoundStore, paths: list[Path]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Stop a volume and have each path read until all readers wait; afterwards it goes on, and they are ended."""
    readers = []
    store.stop()
    rescue = threading.Timer(RESCUE_S, store.go_on)
    rescue.start()
    try:
        for path in paths:
            readers.append(subprocess.Popen(["cat", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        wait_until(lambda: all(is_asleep(reader.pid) for reader in readers), "the readers wait")
        yield readers
    finally:
        rescue.cancel()
        rescue.join()
        store.go_on()
        for reader in readers:
            reader.kill()
            reader.communicate(timeout=10)


def read_others(daemon: Daemon) -> None:
    began = time.monotonic()
    for part in OTHERS:
        assert files_below(daemon.directory(part)) == ["metadata.json", "payload.jsonl"]
        assert daemon.of(part).read_bytes() == b"x\n"
    assert time.monotonic() - began < SOON_S


def test_others_read_while_more_requests_hang_than_there_are_threads(place: Place, engine: str) -> None:
    """V10: readers of the other volumes need wait for no answer, and those of this one get theirs when it comes."""
    with series_on_volumes(place, "c1") as (store,), mounted(place, *OPTIONS, engine=engine) as daemon:
        with readers_of(store, [daemon.of(part) for part in HANGING]) as readers:
            read_others(daemon)
            wait_until(lambda: daemon.count("raw_waiting") == len(readers), "only they wait")
            assert [reader.poll() for reader in readers] == [None] * len(readers)
            store.go_on()
            assert [reader.communicate(timeout=20)[0] for reader in readers] == [b"x\n"] * len(readers)
        wait_until(lambda: daemon.count("raw_waiting") == 0, "nobody waits any more")
        assert len(daemon.events("part of the raw store hangs, its readers wait aside")) == 1
        assert len(daemon.events("the raw store answers again")) == 1
        assert daemon.count("broken") == 0


def test_requests_to_a_hung_volume_fail_in_time_and_more_of_them_do_no_harm(place: Place, engine: str) -> None:
    """V10: no request waits longer than `--raw-timeout`; their threads, which nothing can end, are not missed."""
    options = (*OPTIONS, "--raw-timeout", "2s")
    with series_on_volumes(place, "c1") as (store,), mounted(place, *options, engine=engine) as daemon:
        with readers_of(store, [daemon.of(part) for part in HANGING]) as readers:
            for reader in readers:
                assert b"Input/output error" in reader.communicate(timeout=10)[1]
            read_others(daemon)
            assert store.path.name in str(
                daemon.events("part of the raw store hangs, its readers wait aside")[0]["path"]
            )
        wait_until(
            lambda: all(is_whole(daemon.of(part)) for part in HANGING) and daemon.count("broken") == 0,
            "the volume is served again",
        )


def is_whole(path: Path) -> bool:
    try:
        return path.read_bytes() == b"x\n"
    except OSError:
        return False


def test_volume_that_is_mounted_anew_below_calls_that_hang_is_served(place: Place, engine: str) -> None:
    """V10: threads that hang in what was detached say nothing of what took its place."""
    with (
        series_on_volumes(place, "c1") as (store,),
        mounted(place, *OPTIONS, engine=engine) as daemon,
        readers_of(store, [daemon.of(part) for part in HANGING]),
    ):
        read_others(daemon)
        subprocess.run(["umount", "--lazy", store.path], check=True, timeout=10)
        subprocess.run(["mount", "--bind", store.source, store.path], check=True, timeout=10)
        try:
            late = partition(date="2024-07-01")
            run = place.producer.write_run(late, "r1", b"late\n")
            place.producer.publish(run)
            daemon.refresh()
            assert daemon.of(late).read_bytes() == b"late\n"
        finally:
            subprocess.run(["umount", "--lazy", store.path], check=True, timeout=10)
