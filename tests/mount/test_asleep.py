"""V11: an age goes on while the machine sleeps. That it slept is told to the daemon's clock of ages alone."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.mount.daemon import EACH_ENGINE_ONCE, Place, mounted, partition, wait_until

HOUR = 3600


@pytest.fixture(params=EACH_ENGINE_ONCE)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def asleep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file: the machine has slept for as many seconds as it has bytes."""
    made = tmp_path / "asleep"
    made.touch()
    monkeypatch.setenv("SECONDS_ASLEEP", str(made))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("asleep")))
    return made


def is_refused(path: Path) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        assert error.errno == errno.EIO
        return True
    return False


def test_catalog_grows_too_old_asleep(place: Place, engine: str, asleep: Path) -> None:
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x\n")
    with mounted(place, "--max-staleness", "30m", engine=engine, afresh=True) as daemon:
        assert daemon.of(part).read_bytes() == b"x\n"
        place.producer.close()
        place.state.rename(place.base / "away.db")
        os.truncate(asleep, HOUR)
        wait_until(lambda: bool(daemon.status()["stale"]), "the catalog is too old")
        # It is stale from then on, and the kernel is told a moment later.
        wait_until(lambda: is_refused(daemon.of(part)), "no path is walked any more")
        wait_until(lambda: bool(daemon.status()["state_error"]), "the state was looked at")
        age_s, uptime_s = daemon.status()["age_seconds"], daemon.status()["uptime_seconds"]
        assert isinstance(age_s, float)
        assert isinstance(uptime_s, float)
        assert min(age_s, uptime_s) >= HOUR
        os.truncate(asleep, 2 * HOUR)
        outage_s = daemon.status()["outage_seconds"]
        assert isinstance(outage_s, float)
        assert HOUR <= outage_s < 2 * HOUR


def test_state_is_looked_at_when_the_machine_wakes(place: Place, engine: str, asleep: Path) -> None:
    """V3: the interval of an hour is over, although its timer stood still."""
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    later = partition(date="2024-06-02")
    with mounted(place, engine=engine, afresh=True) as daemon:
        place.producer.write_and_publish(later, "r2", b"y\n")
        assert not daemon.of(later).exists()
        os.truncate(asleep, HOUR)
        wait_until(lambda: daemon.of(later).exists(), "the new partition is seen")
        (line,) = daemon.events("the machine slept, looking at the state")
        assert line["slept_seconds"] == pytest.approx(HOUR, abs=1.0)
