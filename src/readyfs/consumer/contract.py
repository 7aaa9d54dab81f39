"""The service level of a data contract: a file of the Open Data Contract Standard, version 3."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from readyfs.consumer.agreement import ServiceLevel
from readyfs.consumer.cadence import DAILY, Cadence
from readyfs.consumer.deadline import Allowance, Deadline, Earliest, TimeOfDay, date_of
from readyfs.errors import UsageError
from readyfs.text import escape_text

_LARGEST_BYTES: Final = 4 << 20
_SYNONYMS: Final = {
    "ly": "latency",
    "fy": "frequency",
    "ga": "generalavailability",
    "el": "endoflife",
    "re": "retention",
}
_UNITS: Final = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86_400.0,
    "week": 604_800.0,
    "year": 31_536_000.0,
}
_SHORT_UNITS: Final = {
    "s": "second",
    "sec": "second",
    "min": "minute",
    "h": "hour",
    "hr": "hour",
    "d": "day",
    "w": "week",
    "wk": "week",
    "y": "year",
    "yr": "year",
}
_TIME_OF_DAY: Final = re.compile(
    r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::00)?(Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?", re.ASCII
)


def read_service_level(
    path: Path, zone: datetime.tzinfo, day_zone: datetime.tzinfo, now_ns: int, *, wants_cadence: bool = True
) -> ServiceLevel:
    """Read the properties of the service level that say when dates are due; raise `UsageError` if one makes no sense.

    `latency` and `timeOfAvailability` are deadlines, and of several the first counts. A time without an offset is one
    of `zone`. `frequency` is a cadence, where one is wanted. `generalAvailability`, `endOfLife` and `retention` bound
    the dates. Others say nothing of dates.
    """
    shown = escape_text(os.fsencode(path))
    deadlines: list[Deadline] = []
    cadence: Cadence | None = None
    firsts: list[int] = []
    lasts: list[int] = []
    for one in _properties(_load(path, shown), shown):
        match one.name:
            case "latency":
                deadlines.append(Allowance(one.seconds(), day_zone))
            case "timeofavailability":
                deadlines.append(one.time_of_day(zone, day_zone))
            case "frequency" if wants_cadence:
                cadence = one.cadence()
            case "generalavailability":
                firsts.append(one.date())
            case "endoflife":
                lasts.append(one.date())
            case "retention":
                firsts.append(date_of(now_ns - round(one.seconds() * 10**9), day_zone))
            case _:
                pass
    deadline = deadlines[0] if len(deadlines) == 1 else Earliest(tuple(deadlines)) if deadlines else None
    return ServiceLevel(deadline, cadence, max(firsts, default=None), min(lasts, default=None))


@dataclass(frozen=True, slots=True)
class _Property:
    """One property of the service level, its texts as they stand in the file."""

    shown: str
    name: str
    value: str
    unit: str

    def seconds(self) -> float:
        word = self.unit.lower()
        unit = _SHORT_UNITS.get(word, word.removesuffix("s"))
        if unit not in _UNITS:
            raise self.error(f"has the unit {self.unit!r}", f"write one of {', '.join(_UNITS)}")
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", self.value, re.ASCII):
            raise self.error(f"has the value {self.value!r}", "write a number")
        seconds = float(self.value) * _UNITS[unit]
        if seconds > 200 * _UNITS["year"]:
            raise self.error(f"is {self.value} {self.unit}", "choose at most 200 years")
        return seconds

    def cadence(self) -> Cadence:
        if self.seconds() != _UNITS["day"]:
            raise self.error(
                f"is {self.value} {self.unit}, which does not say on which days", "say it with --cadence weekly:MON"
            )
        return DAILY

    def time_of_day(self, zone: datetime.tzinfo, day_zone: datetime.tzinfo) -> Deadline:
        match = _TIME_OF_DAY.fullmatch(self.value)
        if match is None:
            raise self.error(f"has the value {self.value!r}", "write a time such as 09:00-08:00")
        if match[3] is not None:
            offset = datetime.time.fromisoformat(f"00:00{match[3]}").utcoffset()
            zone = datetime.timezone(offset or datetime.timedelta())
        return TimeOfDay(int(match[1]), int(match[2]), 1, zone, day_zone)

    def date(self) -> int:
        try:
            return datetime.datetime.fromisoformat(self.value).toordinal()
        except ValueError as error:
            raise self.error(f"has the value {self.value!r}", "write a date or a time of ISO 8601") from error

    def error(self, message: str, remedy: str) -> UsageError:
        return UsageError(f"{self.name} in slaProperties of {self.shown} {escape_text(message)}", remedy)


def _properties(contract: Mapping[str, object], shown: str) -> Iterator[_Property]:
    found = contract.get("slaProperties") or []
    if not isinstance(found, list):
        raise UsageError(f"slaProperties of {shown} is no list", "see the Open Data Contract Standard")
    for one in found:
        if not (isinstance(one, dict) and isinstance(one.get("property"), str) and isinstance(one.get("value"), str)):
            raise UsageError(f"one of slaProperties of {shown} has no property or no value", "add them, as texts")
        word = one["property"].lower()
        unit = one.get("unit")
        yield _Property(shown, _SYNONYMS.get(word, word), one["value"].strip(), unit if isinstance(unit, str) else "")


def _load(path: Path, shown: str) -> Mapping[str, object]:
    parse = _import_parser()
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {shown}: {error.strerror}", "name another file with --contract") from error
    if len(content) > _LARGEST_BYTES:
        raise UsageError(f"{shown} has more than 4 MiB", "name the data contract")
    contract = parse(content, shown)
    version = contract.get("apiVersion") if isinstance(contract, dict) else None
    if not isinstance(contract, dict) or contract.get("kind") != "DataContract" or not str(version).startswith("v3."):
        raise UsageError(
            f"{shown} is no data contract", "it needs `kind: DataContract` and an `apiVersion` that begins with v3."
        )
    return contract


def _import_parser() -> Callable[[bytes, str], object]:
    try:
        import yaml
    except ImportError as error:
        raise UsageError(
            "--contract needs a YAML library that is not installed", "pip install 'readyfs[contract]'"
        ) from error

    def parse(content: bytes, shown: str) -> object:
        try:
            # All scalars as the texts that they are: YAML 1.1 reads 10:30 as 630, and 1.2 does not.
            return yaml.load(content, yaml.BaseLoader)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            line = getattr(getattr(error, "problem_mark", None), "line", None)
            place = "" if line is None else f" line {line + 1}"
            raise UsageError(f"{shown}{place} is not YAML", "mend it") from error

    return parse
