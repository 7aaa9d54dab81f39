"""V2, V4 to V7, V23 under fire: writers that flip runs every 50 ms, readers of every kind, each its own process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.mount import race_reader, race_writer
from tests.mount.daemon import PATIENCE_S, Place, mounted, partition, wait_until

SWITCHES = 16
PARTITIONS = [partition(query=query, date=f"2024-06-{day:02}") for query in ("q1", "q2") for day in (1, 2, 3)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seconds", ["2.5", pytest.param("30", marks=pytest.mark.long)])
def test_no_reader_of_any_kind_ever_sees_two_runs_mixed(place: Place, engine: str, seconds: str) -> None:
    """V2, V4, V5, V6: bytes carry run, partition and length; every observation is whole and of one run."""
    for part in PARTITIONS:
        run = place.producer.write_run(part, "start", race_writer.payload(part, "start", 1))
        (run.directory / "seal.txt").write_bytes(b"start")
        place.producer.publish(run)
    children = []
    with mounted(place, "--interval", "50ms", engine=engine) as daemon:
        try:
            for query in ("q1", "q2"):
                arguments = [place.state, place.raw, query, seconds]
                children.append(spawn(race_writer.__file__, *arguments))
            for kind in race_reader.KINDS:
                children.append(spawn(race_reader.__file__, daemon.path, kind, seconds))
            answers = [json.loads(child.communicate(timeout=90)[0]) for child in children]
        finally:
            for child in children:
                child.kill()
                child.communicate(timeout=10)
        assert daemon.count("revision") > 5
    for writer in answers[:2]:
        assert writer["flips"] > 5
    for kind, reader in zip(race_reader.KINDS, answers[2:], strict=True):
        assert reader["wrong"] == [], kind
        assert reader["observations"] > 5, kind
        assert reader["runs"] > 2, kind


def spawn(script: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, script, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def test_a_path_never_goes_back_to_an_older_run(place: Place, engine: str) -> None:
    """V3: once a run was seen at a path, no older one is seen there again."""
    part = partition()
    place.producer.write_and_publish(part, "00000", b"00000\n")
    seen: list[int] = []
    with mounted(place, "--interval", "50ms", engine=engine) as daemon:
        deadline = time.monotonic() + PATIENCE_S
        number = 0
        while len(set(seen)) < SWITCHES and time.monotonic() < deadline:
            number += 1
            place.producer.write_and_publish(part, f"{number:05}", b"%05d\n" % number)
            seen += [int(daemon.of(part).read_bytes()) for _ in range(10)]
        wait_until(lambda: int(daemon.of(part).read_bytes()) == number, "the last run is seen")
    assert seen == sorted(seen)
    assert len(set(seen)) >= SWITCHES
