"""What people say of an agreement: the words of options, which may come over a socket, and what they mean."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from readyfs.consumer.agreement import Agreement, ServiceLevel
from readyfs.consumer.cadence import AUTO, DAILY, Cadence, parse_cadence
from readyfs.consumer.deadline import Allowance, Deadline, parse_deadline, parse_zone
from readyfs.duration import parse_duration
from readyfs.errors import UsageError
from readyfs.state.filters import Filters

_WARN_S: Final = 24 * 3600.0
_CRIT_S: Final = 36 * 3600.0


@dataclass(frozen=True, slots=True)
class AgreementWords:
    """What was said, by the names of the options; None where nothing was."""

    cadence: str | None = None
    day_tz: str = "UTC"
    warn: str | None = None
    crit: str | None = None
    sla: str | None = None
    deadline: str | None = None
    tz: str | None = None
    contract: Path | None = None
    reprocessing_crit: str | None = None

    def agree(self, filters: Filters, now_ns: int) -> Agreement:
        """Return what was agreed; where nothing was said of when dates are due, two thresholds. Raises `UsageError`."""
        alarms = [name for name in ("crit", "sla", "deadline") if getattr(self, name) is not None]
        if len(alarms) > 1:
            raise UsageError(f"--{alarms[0]} and --{alarms[1]} exclude each other", "leave out one of them")
        if self.tz is not None and self.deadline is None and self.contract is None:
            raise UsageError("--tz has no effect without --deadline", "did you mean --day-tz?")
        day_zone = _parse_zone("--day-tz", self.day_tz)
        zone = day_zone if self.tz is None else _parse_zone("--tz", self.tz)
        level = self._read_contract(zone, day_zone, now_ns)
        warn = _read_allowance("--warn", self.warn, day_zone)
        error = self._choose_error(zone, day_zone) or level.deadline
        if isinstance(error, Allowance) and warn is not None and warn.seconds > error.seconds:
            raise UsageError(f"--warn {self.warn} comes after the alarm, which is {error.text}", "choose a shorter one")
        is_stated = warn is not None or error is not None
        lasts = [date for date in (filters.until, level.last) if date is not None]
        return Agreement(
            day_zone=day_zone,
            cadence=self._choose_cadence(level),
            warn=warn if is_stated else Allowance(_WARN_S, day_zone),
            error=error if is_stated else Allowance(_CRIT_S, day_zone),
            reprocessing=_read_allowance("--reprocessing-crit", self.reprocessing_crit, day_zone),
            since=filters.since,
            first=level.first,
            last=min(lasts, default=None),
            is_stated=is_stated,
        )

    def _read_contract(self, zone: datetime.tzinfo, day_zone: datetime.tzinfo, now_ns: int) -> ServiceLevel:
        if self.contract is None:
            return ServiceLevel()
        from readyfs.consumer.contract import read_service_level  # by those who have one

        return read_service_level(self.contract, zone, day_zone, now_ns, wants_cadence=self.cadence is None)

    def _choose_error(self, zone: datetime.tzinfo, day_zone: datetime.tzinfo) -> Deadline | None:
        if self.deadline is not None:
            return parse_deadline(self.deadline, zone, day_zone)
        return _read_allowance("--crit", self.crit, day_zone) or _read_allowance("--sla", self.sla, day_zone)

    def _choose_cadence(self, level: ServiceLevel) -> Cadence | None:
        if self.cadence is None:
            return level.cadence or DAILY
        return None if self.cadence == AUTO else parse_cadence(self.cadence)


def _parse_zone(flag: str, name: str) -> datetime.tzinfo:
    try:
        return parse_zone(name)
    except UsageError as error:
        raise UsageError(f"{flag}: {error.message}", error.remedy) from error


def _read_allowance(flag: str, text: str | None, day_zone: datetime.tzinfo) -> Allowance | None:
    if text is None:
        return None
    try:
        return Allowance(parse_duration(text, minimum_s=0.0), day_zone)
    except UsageError as error:
        raise UsageError(f"{flag}: {error.message}", error.remedy) from error
