"""The guard against an emptied table: whether a loaded catalog may take the place of what is shown (V11).

A catalog that would retract more partitions than `--max-retract` allows is held back whole, until somebody accepts it,
it was seen unchanged for `--retract-after`, or the table comes back. The refresh task alone calls this while mounted,
and the status reads it. What must outlast the process is in the baseline.

What a refresh retracts, net of what appears, is the number of partitions in force less the number in the new catalog: a
partition that switches to another run is in both, and one that is newly withheld is not in the new one.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import structlog

from readyfs.catalog.tree import Catalog
from readyfs.duration import render_duration
from readyfs.errors import StateError
from readyfs.partition import render_time
from readyfs.percentage import render_percentage
from readyfs.refresh.baseline import Baseline, Sighting, UnreadableBaselineError
from readyfs.refresh.baseline_keeper import BaselineKeeper
from readyfs.refresh.loader import Loaded
from readyfs.text import escape_text

log = structlog.get_logger("readyfs.refresh")


@dataclass(frozen=True, slots=True)
class RetractionLimit:
    """How much may be retracted at once: at most `share` of what is shown, or fewer than `floor` partitions.

    What exceeds it is accepted by itself once it was seen unchanged for `after_s`, if that is not None.
    """

    share: Fraction
    floor: int
    after_s: float | None = None

    def is_exceeded(self, shown: int, loaded: int) -> bool:
        """Tell whether the step from so many partitions to so many is too long."""
        retracted = shown - loaded
        return retracted >= self.floor and retracted > self.share * shown


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A catalog that is held back: what it is, how many partitions it has, why, and since when.

    `since_s` and `since_ns` say when holding back began, `seen_s` since when it has been this very catalog; seconds are
    by the clock of ages, nanoseconds by the wall's.
    """

    fingerprint: str
    partitions: int
    cause: str
    since_s: float
    since_ns: int
    seen_s: float


class Release(StrEnum):
    """Why a catalog is not held back any more."""

    ACCEPTED = "accepted"
    UNCHANGED = "seen unchanged for --retract-after"
    WITHIN_LIMIT = "within the limit again"


@dataclass(frozen=True, slots=True)
class MountIdentity:
    """What a baseline belongs to: the mount point, the settings that give a count its meaning, and this boot."""

    mountpoint: Path
    settings: Mapping[str, str]
    boot_id: str


class RetractionGuard:
    """Judges each loaded catalog; `held` is the one that is held back now, None if none is."""

    def __init__(
        self,
        limit: RetractionLimit,
        keeper: BaselineKeeper,
        identity: MountIdentity,
        now_s: Callable[[], float],
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.held: HeldBack | None = None
        self.keeper = keeper
        self._limit = limit
        self._identity = identity
        self._now_s = now_s
        self._wall_ns = wall_ns

    # ---- at the start ---------------------------------------------------------------------------------------

    async def admit_first(self, first: Loaded, accepted: str | None) -> None:
        """Compare the first catalog with the baseline; note it as the new one, or raise `StateError`."""
        catalog = first.catalog
        baseline = await self._read_baseline()
        if baseline is not None and (baseline.partitions is None or self._exceeds(baseline.partitions, catalog)):
            sighting = self._continue_sighting(baseline.sighting, catalog.fingerprint)
            is_due = self._is_due(sighting.since_s)
            if accepted != catalog.fingerprint and not is_due:
                if self._limit.after_s is not None:
                    await self.keeper.save(self._baseline(baseline.partitions, sighting, baseline.taken_at))
                raise self._refusal(baseline, first, sighting)
            log.warning(
                "retractions beyond the limit are accepted",
                reason=str(Release.ACCEPTED if accepted == catalog.fingerprint else Release.UNCHANGED),
                fingerprint=catalog.fingerprint,
                partitions=catalog.partitions,
                shown=baseline.partitions,
            )
        await self.save(catalog.partitions)

    async def _read_baseline(self) -> Baseline | None:
        try:
            baseline = await self.keeper.read()
        except UnreadableBaselineError as error:
            log.warning("the baseline of retractions cannot be read", path=self.keeper.path, error=str(error))
            return self._baseline(None, None, "")
        if baseline is None:
            return None
        names = baseline.settings.keys() | self._identity.settings.keys()
        differing = [n for n in sorted(names) if baseline.settings.get(n) != self._identity.settings.get(n)]
        if differing:
            log.warning("the baseline of retractions is of other settings and does not count", settings=differing)
            return None
        return baseline

    def _refusal(self, baseline: Baseline, first: Loaded, sighting: Sighting) -> StateError:
        if baseline.partitions is None:
            what = (
                f"how many partitions this mount point showed last is not known, so the {first.catalog.partitions:,} "
                "of the state cannot be compared"
            )
        else:
            what = self._cause(baseline.partitions, first, f" that were shown last ({baseline.taken_at})")
        wait = ""
        if self._limit.after_s is not None:
            left_s = max(round(sighting.since_s + self._limit.after_s - self._now_s()), 1)
            wait = f", or mount again in {render_duration(left_s)}: it is accepted then if it is unchanged"
        return StateError(what, f"if the state is right, mount with --accept {first.catalog.fingerprint}{wait}")

    # ---- while mounted --------------------------------------------------------------------------------------

    def judge(self, in_force: Catalog, loaded: Loaded, accepted: Collection[str]) -> Release | None:
        """Return why a catalog that was just loaded may be put into force, or None if it is `held` back now.

        Once it is in force, `release` is to be called with the reason: until then, what is shown is the one before.
        """
        new = loaded.catalog
        if not self._exceeds(in_force.partitions, new):
            return Release.WITHIN_LIMIT
        now_s, held = self._now_s(), self.held
        if new.fingerprint in accepted:
            return Release.ACCEPTED
        if held is not None and held.fingerprint == new.fingerprint and self._is_due(held.seen_s):
            return Release.UNCHANGED
        self.held = HeldBack(
            new.fingerprint,
            new.partitions,
            self._cause(in_force.partitions, loaded),
            since_s=now_s if held is None else held.since_s,
            since_ns=self._wall_ns() if held is None else held.since_ns,
            seen_s=held.seen_s if held is not None and held.fingerprint == new.fingerprint else now_s,
        )
        if held is None:
            log.warning(
                "a catalog is held back, serving the one before",
                cause=self.held.cause,
                fingerprint=new.fingerprint,
                accept=self.accept_command(new.fingerprint),
            )
        return None

    def release(self, reason: Release) -> None:
        """Note that the catalog which may be shown is in force, so that none is held back."""
        held, self.held = self.held, None
        if held is not None:
            log.info(
                "no catalog is held back any more",
                reason=str(reason),
                held_seconds=round(self._now_s() - held.since_s, 1),
            )

    @property
    def is_due(self) -> bool:
        """Whether what is held back was seen unchanged for long enough: it has to be loaded once more."""
        return self.held is not None and self._is_due(self.held.seen_s)

    def accept_command(self, fingerprint: str) -> str:
        """Return the command that accepts a catalog."""
        return f"readyfs refresh {shlex.quote(escape_text(str(self._identity.mountpoint)))} --accept {fingerprint}"

    async def save(self, shown: int) -> None:
        """Bring the baseline on disk up to what is shown and held back."""
        held, sighting = self.held, None
        if held is not None and self._limit.after_s is not None:
            sighting = Sighting(held.fingerprint, self._identity.boot_id, held.seen_s)
        await self.keeper.save(self._baseline(shown, sighting))

    # ---- both -----------------------------------------------------------------------------------------------

    def _exceeds(self, shown: int, new: Catalog) -> bool:
        return self._limit.is_exceeded(shown, new.partitions)

    def _cause(self, shown: int, loaded: Loaded, which: str = "") -> str:
        withheld = loaded.report.withheld.total()
        aside = f" ({withheld:,} of its ready rows are withheld)" if withheld else ""
        retracted = shown - loaded.catalog.partitions
        return (
            f"the state{aside} would retract {retracted:,} of {shown:,} partitions{which}, more than "
            f"--max-retract {render_percentage(self._limit.share)} allows"
        )

    def _continue_sighting(self, before: Sighting | None, fingerprint: str) -> Sighting:
        """Return since when a catalog has been seen; another boot of the machine has another clock."""
        now_s, boot_id = self._now_s(), self._identity.boot_id
        if (
            before is not None
            and (before.fingerprint, before.boot_id) == (fingerprint, boot_id)
            and 0.0 <= before.since_s <= now_s
        ):
            return before
        return Sighting(fingerprint, boot_id, now_s)

    def _is_due(self, since_s: float) -> bool:
        return self._limit.after_s is not None and self._now_s() - since_s >= self._limit.after_s

    def _baseline(self, partitions: int | None, sighting: Sighting | None, taken_at: str | None = None) -> Baseline:
        now = render_time(self._wall_ns()).decode() if taken_at is None else taken_at
        return Baseline(partitions, self._identity.settings, now, sighting)
