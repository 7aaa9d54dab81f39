"""Pins over clocks that a test moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from readyfs.pins.asker import Asker
from readyfs.pins.file import PinFile
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import Limits
from readyfs.pins.registry import Registry

HOUR_S = 3600.0
DAY_S = 86400.0
LIMITS = Limits(default_s=DAY_S, max_s=30 * DAY_S, grace_s=HOUR_S, per_user=3, memory=1 << 30)

ALICE, BOB = Asker(1001), Asker(1002)
ROOT = Asker(0, is_operator=True)


@dataclass(slots=True)
class Clocks:
    """The clock of ages and the wall clock; time passes on both unless somebody sets the latter."""

    age_s: float = 1000.0
    wall_ns: int = 1_700_000_000_000_000_000

    def passes(self, seconds: float) -> None:
        self.age_s += seconds
        self.wall_ns += round(seconds * 1e9)

    def boots(self, after_s: float) -> None:
        """Begin the clock of ages anew, as a boot of the machine does."""
        self.passes(after_s)
        self.age_s = 5.0

    def lease_clock(self) -> LeaseClock:
        return LeaseClock(lambda: self.age_s, lambda: self.wall_ns)


@dataclass(slots=True)
class World:
    """A registry, and others that read what it wrote."""

    state_dir: Path
    limits: Limits = LIMITS
    clocks: Clocks = field(default_factory=Clocks)

    def open(self) -> Registry:
        clock = self.clocks.lease_clock()
        return Registry(PinFile(self.state_dir, Path("/mnt/ready"), clock), self.limits, clock)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def registry(world: World) -> Registry:
    return world.open()


Pinner = Callable[..., str]
