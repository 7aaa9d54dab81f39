"""The options that say which dates are expected and when they are due: one decorator for `latest` and `gaps`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from readyfs.cli.command import GroupedOption
from readyfs.cli.settings_options import Body
from readyfs.duration import parse_duration
from readyfs.errors import ExitCode, UsageError
from readyfs.state.filters import Filters

if TYPE_CHECKING:
    import datetime

    from readyfs.consumer.agreement import Agreement
    from readyfs.consumer.cadence import Cadence
    from readyfs.consumer.contract import ServiceLevel
    from readyfs.consumer.deadline import Deadline

WARN_S: Final = 24 * 3600.0
CRIT_S: Final = 36 * 3600.0
_HEADING: Final = "When dates are due"


@dataclass(frozen=True, slots=True)
class AgreementWords:
    """What was said of it on the command line, None where nothing was."""

    cadence: str | None
    day_tz: str
    warn: str | None
    crit: str | None
    deadline: str | None
    tz: str | None
    reprocessing_crit: str | None
    contract: Path | None

    def agree(self, filters: Filters, now_ns: int, *, by_default: bool) -> Agreement:
        """Return what was agreed; `by_default` there are two thresholds where none was given. Raises `UsageError`."""
        from readyfs.consumer.agreement import Agreement

        if self.crit is not None and self.deadline is not None:
            raise UsageError("--crit and --deadline exclude each other", "leave out one of them")
        if self.tz is not None and self.deadline is None and self.contract is None:
            raise UsageError("--tz has no effect without --deadline", "did you mean --day-tz?")
        day_zone = _parse_zone("--day-tz", self.day_tz)
        zone = day_zone if self.tz is None else _parse_zone("--tz", self.tz)
        level = self._read_contract(zone, day_zone, now_ns)
        warn, error = self._read_deadlines(zone, day_zone)
        if error is None and level is not None:
            error = level.deadline
        if by_default and warn is None and error is None:
            warn, error = _allow(WARN_S, day_zone), _allow(CRIT_S, day_zone)
        lasts = [date for date in (filters.until, None if level is None else level.last) if date is not None]
        return Agreement(
            day_zone=day_zone,
            cadence=self._choose_cadence(level),
            warn=warn,
            error=error,
            reprocessing=self._read_allowance("--reprocessing-crit", self.reprocessing_crit, day_zone),
            since=filters.since,
            first=None if level is None else level.first,
            last=min(lasts, default=None),
        )

    def _read_contract(self, zone: datetime.tzinfo, day_zone: datetime.tzinfo, now_ns: int) -> ServiceLevel | None:
        if self.contract is None:
            return None
        from readyfs.consumer.contract import read_service_level

        return read_service_level(self.contract, zone, day_zone, now_ns, wants_cadence=self.cadence is None)

    def _read_deadlines(
        self, zone: datetime.tzinfo, day_zone: datetime.tzinfo
    ) -> tuple[Deadline | None, Deadline | None]:
        warn = self._read_allowance("--warn", self.warn, day_zone)
        error: Deadline | None = self._read_allowance("--crit", self.crit, day_zone)
        if warn is not None and error is not None and warn.last_due(0) < error.last_due(0):
            raise UsageError(f"--warn {self.warn} comes after --crit {self.crit}", "exchange them")
        if self.deadline is not None:
            from readyfs.consumer.deadline import parse_deadline

            error = parse_deadline(self.deadline, zone, day_zone)
        return warn, error

    def _read_allowance(self, flag: str, text: str | None, day_zone: datetime.tzinfo) -> Deadline | None:
        if text is None:
            return None
        try:
            return _allow(parse_duration(text, minimum_s=0.0), day_zone)
        except UsageError as error:
            raise UsageError(f"{flag}: {error.message}", error.remedy) from error

    def _choose_cadence(self, level: ServiceLevel | None) -> Cadence | None:
        from readyfs.consumer.cadence import AUTO, DAILY, parse_cadence

        if self.cadence is None:
            return DAILY if level is None or level.cadence is None else level.cadence
        return None if self.cadence == AUTO else parse_cadence(self.cadence)


def with_agreement(body: Body) -> Body:
    """Give a command the options of when dates are due; its function is called with `words`, an `AgreementWords`."""

    @functools.wraps(body)
    def call(
        *args: object,
        cadence: str | None,
        day_tz: str,
        warn: str | None,
        crit: str | None,
        deadline: str | None,
        tz: str | None,
        reprocessing_crit: str | None,
        contract: Path | None,
        **values: object,
    ) -> ExitCode:
        words = AgreementWords(cadence, day_tz, warn, crit, deadline, tz, reprocessing_crit, contract)
        return body(*args, words=words, **values)

    command: Body = call
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _option(*names: str, **how: object) -> functools.partial[Body]:
    return functools.partial(_add, names, how)


def _add(names: tuple[str, ...], how: dict[str, object], body: Body) -> Body:
    return click.option(*names, cls=GroupedOption, heading=_HEADING, **how)(body)


_OPTIONS: Final = (
    _option(
        "--cadence",
        metavar="CADENCE",
        help="Which dates there should be: daily, weekdays, weekly:MON, or day, month and weekday as in cron, such as "
        "'1,15 * *'. With auto it is guessed for each series, and what is missing by a guess alarms nobody.  "
        "[default: daily]",
    ),
    _option(
        "--day-tz",
        default="UTC",
        show_default=True,
        metavar="ZONE",
        help="The time zone at whose midnight a date ends.",
    ),
    _option(
        "--warn",
        metavar="DURATION",
        help="How long after its end a date may not be ready without a warning.  [default: 24h without --crit]",
    ),
    _option(
        "--crit",
        "--sla",
        "crit",
        metavar="DURATION",
        help="How long after its end a date may not be ready without an alarm.  [default: 36h without --warn]",
    ),
    _option(
        "--deadline",
        metavar="HH:MM[+Nd]",
        help="When a date must be ready, in place of --crit: at a time of the next day, or of the Nth day after it.",
    ),
    _option("--tz", metavar="ZONE", help="The time zone of --deadline.  [default: that of --day-tz]"),
    _option(
        "--reprocessing-crit",
        metavar="DURATION",
        help="After how long a partition that was ready before, and was queued again, is worth an alarm; counted from "
        "the later of its date's end and its updated_at.  [default: never, only a warning]",
    ),
    _option(
        "--contract",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Take what is not given from the slaProperties of a data contract (ODCS 3, YAML).",
    ),
)


def _parse_zone(flag: str, name: str) -> datetime.tzinfo:
    from readyfs.consumer.deadline import parse_zone

    try:
        return parse_zone(name)
    except UsageError as error:
        raise UsageError(f"{flag}: {error.message}", error.remedy) from error


def _allow(seconds: float, zone: datetime.tzinfo) -> Deadline:
    from readyfs.consumer.deadline import Allowance

    return Allowance(seconds, zone)
