"""A driver's machine and two workers', each with a mount of its own at one path, and a pin store between them.

The workers' mounts have other engines, other intervals, and the raw store at other paths. So their live trees differ
most of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.clients.flips import Flips, write_runs
from tests.clients.machines import Machine, machine
from tests.mount.daemon import Daemon, Place, mounted

WORKERS: Final = {"early": ("pyfuse3", "200ms"), "late": ("opened", "700ms")}
"""Engine and interval by machine."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """All machines; the driver's is the test's own, and shows each flip at once."""

    flips: Flips
    machines: tuple[Machine, ...]
    """Of the workers, as are `daemons`."""
    daemons: tuple[Daemon, ...]
    sharing: tuple[str, ...]
    """The words with which each mount finds the pins of the others."""

    @property
    def place(self) -> Place:
        """The driver's."""
        return self.flips.mounts["plain"].place

    @property
    def mount(self) -> Path:
        """The path at which each machine mounts."""
        return self.place.mountpoint


@contextmanager
def fleet_of_three(base: Path) -> Iterator[Fleet]:
    """Make the world of flips below a directory, the machines and the pin store, and mount on each machine."""
    with ExitStack() as stack:
        place = Place(base)
        stack.enter_context(closing(place.producer))
        write_runs(place)
        (base / "pins").mkdir()
        sharing = ("--pin-store", str(base / "pins"), "--raw-id", "warehouse")
        machines = tuple(stack.enter_context(machine(name, place)) for name in WORKERS)
        daemons = []
        for one in machines:
            engine, interval = WORKERS[one.name]
            # Without a history a worker knows the catalog in force, and what it finds in the store.
            words = (*sharing, "--interval", interval, "--history-count", "0")
            daemons.append(stack.enter_context(mounted(one.place, *words, engine=engine, wrapper=one.wrapper)))
        # The driver's comes last and goes first: workers' daemons leave no mount, and that is looked for here.
        driver = stack.enter_context(mounted(place, *sharing, engine="passthrough"))
        flips = Flips({"plain": driver})
        flips.flip()
        yield Fleet(flips, machines, tuple(daemons), sharing)
