"""Three partitions on one mount, of which the middle one has met with something."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from tests.clients.programs import OLD, Failed, Habit, Program
from tests.mount.daemon import Daemon, Place, Traits, mounted, partition

DATES: Final = ("2024-06-01", "2024-06-02", "2024-06-03")
VICTIM: Final = 1


class Situation(Enum):
    """What has happened to the partition in the middle."""

    BROKEN = "broken at start"
    DAMAGED = "damaged after it was sealed"
    DELETED = "deleted while open"
    HEALED = "healed"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a program ended: with all, with less, or with neither, which is an error."""

    has_all: bool = False
    has_less: bool = False
    spoiled: bool = False
    """Without all, and the old copy of the file in the middle is gone."""


def payload_of(date: str) -> bytes:
    """Return the records of one date."""
    return b"".join(b'{"date":"%s","number":%d}\n' % (date.encode(), number) for number in range(300))


@dataclass(frozen=True, slots=True)
class Scene:
    """A mount on which a situation holds; any number of programs may read it, at the same time too."""

    daemon: Daemon
    situation: Situation
    held: int
    """The file in the middle, open since before it was deleted; else -1."""

    def play(self, program: Program, truth: Truth, out: Path) -> Ending | None:
        """Let a program read the mount; return how it ended, or None where it is not run."""
        if Habit.MAPS in program.habits and self.daemon.traits.kernel_opens and self.situation is not Situation.HEALED:
            return None
        is_open = self.situation is Situation.DELETED
        if is_open and not program.takes_open_files:
            return None
        _place_old_copies(out)
        try:
            if is_open:
                os.lseek(self.held, 0, os.SEEK_SET)
                found = program.read_open(self.held, out)
            else:
                found = program.read(payloads_below(self.daemon.path), out)
        except Failed:
            return Ending(spoiled=_is_spoiled(out))
        if found == (truth.open_file if is_open else truth.all_files)[program.name]:
            return Ending(has_all=True)
        return Ending(has_less=True, spoiled=_is_spoiled(out))


@dataclass(frozen=True, slots=True)
class Truth:
    """What each program finds over plain files: all three, and the one in the middle where somebody else opened it."""

    all_files: dict[str, bytes]
    open_file: dict[str, bytes]


def find_truth(programs: Iterable[Program], base: Path) -> Truth:
    """Let programs read from plain disk what the mount shows."""
    top = base / "plain"
    for path, date in zip(payloads_below(top), DATES, strict=True):
        path.parent.mkdir(parents=True)
        path.write_bytes(payload_of(date))
    truth = Truth({}, {})
    for number, program in enumerate(programs):
        out = base / str(number)
        _place_old_copies(out)
        truth.all_files[program.name] = program.read(payloads_below(top), out)
        if program.takes_open_files:
            _place_old_copies(out / "open")
            with payloads_below(top)[VICTIM].open("rb") as file:
                truth.open_file[program.name] = program.read_open(file.fileno(), out / "open")
    return truth


def expect(program: Program, situation: Situation, traits: Traits) -> Ending | None:
    """Return how the table says that a program ends; None where it is not run."""
    habits = program.habits
    at_read = traits.kernel_opens
    if situation is Situation.HEALED:
        return Ending(has_all=True)
    if at_read and Habit.MAPS in habits:
        return None
    ignores = (Habit.IGNORES_READ if at_read else Habit.IGNORES_OPEN) in habits
    if situation is Situation.DELETED:
        if not program.takes_open_files:
            return None
        return Ending(has_less=ignores) if at_read else Ending(has_all=True)
    return Ending(
        has_less=ignores, spoiled=(Habit.SPOILS_BEFORE_READ if at_read else Habit.SPOILS_BEFORE_OPEN) in habits
    )


@contextmanager
def staged(base: Path, engine: str, situation: Situation, *arguments: str) -> Iterator[Scene]:
    """Mount three partitions and bring the situation about."""
    place = Place(base)
    with closing(place.producer):
        runs = [place.producer.write_and_publish(partition(date=date), "r1", payload_of(date)) for date in DATES]
        directory = runs[VICTIM].directory
        aside = directory.with_name("aside")
        if situation in (Situation.BROKEN, Situation.HEALED):
            directory.rename(aside)
        with mounted(place, *arguments, engine=engine) as daemon:
            for path in payloads_below(daemon.path):
                path.stat()  # seals those that are whole
            held = -1
            victim = payloads_below(daemon.path)[VICTIM]
            match situation:
                case Situation.DAMAGED:
                    os.truncate(directory / "payload.jsonl", len(payload_of(DATES[VICTIM])) // 2)
                case Situation.DELETED:
                    held = os.open(victim, os.O_RDONLY)
                    shutil.rmtree(directory)
                case Situation.HEALED:
                    daemon.assert_refused(victim)
                    aside.rename(directory)
            try:
                yield Scene(daemon, situation, held)
            finally:
                if held >= 0:
                    os.close(held)


def payloads_below(top: Path) -> list[Path]:
    """Return the three payloads below a mount point or a copy of it."""
    return [top / partition(date=date).path / "payload.jsonl" for date in DATES]


def _place_old_copies(directory: Path) -> None:
    directory.mkdir(parents=True)
    for number in range(1, len(DATES) + 1):
        (directory / str(number)).write_bytes(OLD)


def _is_spoiled(directory: Path) -> bool:
    copy = directory / str(VICTIM + 1)
    return not copy.exists() or copy.read_bytes() != OLD
