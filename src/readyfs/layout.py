"""Path templates: where a partition stands below the mount point, and where its run lies below the raw root.

A template is a relative path whose components hold at most one `{field}` each, with literal text around it. One
field a component keeps the map injective: from the name one can tell the value. `MountLayout` escapes values the
way Hive and Spark do (V12); `RawLayout` uses them verbatim unless told otherwise. Pure functions of text: no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple, Self

from readyfs.errors import UsageError
from readyfs.partition import Partition, SeriesKey, parse_date, render_date
from readyfs.text import escape_text

DEFAULT_MOUNT_LAYOUT: Final = "{customer_id}/{query_name}/{logical_date}"
DEFAULT_RAW_LAYOUT: Final = (
    "{source}/customer_id={customer_id}/query_name={query_name}/logical_date={logical_date}/run_id={run_id}"
)
CONTROL_NAME: Final = b".readyfs"
"""The reserved top-level name: reachable by lookup, never listed."""

MAX_NAME_BYTES: Final = 255
"""NAME_MAX of Linux (limits.h)."""

_SERIES_FIELDS: Final = ("source", "customer_id", "query_name")
_SHORTEST: Final[dict[str | None, bytes]] = {None: b"", "logical_date": b"YYYY-MM-DD"}
_TEMPLATE_PART: Final = re.compile(r"([^{}]*)(?:\{([a-z_]+)\}([^{}]*))?")

# What Hive's FileUtils.escapePathName escapes; Spark and pyarrow decode the same set.
_HIVE_SPECIAL: Final = bytes(sorted({*range(0x20), 0x7F, *b"\"#%'*/:=?\\{}[]^"}))
_HIVE_ESCAPES: Final = {byte: f"%{byte:02X}".encode() for byte in _HIVE_SPECIAL}
_HIVE_PATTERN: Final = re.compile(b"[" + re.escape(_HIVE_SPECIAL) + b"]")
_WHOLE_NAME_ESCAPES: Final = frozenset({b".", b"..", CONTROL_NAME})


class UnusableNameError(Exception):
    """A value cannot be a path component; the text says why."""


class RawEncoding(StrEnum):
    """How the producer turns values into raw directory names."""

    VERBATIM = "verbatim"
    HIVE = "hive"


def hive_escape(value: bytes) -> bytes:
    """Percent-encode the characters that Hive and Spark escape in path names; other bytes pass through."""
    return _HIVE_PATTERN.sub(lambda match: _HIVE_ESCAPES[match.group()[0]], value)


class _Component(NamedTuple):
    prefix: bytes
    field: str | None
    suffix: bytes

    def around(self, name: bytes) -> bytes:
        return self.prefix + name + self.suffix


def _parse_template(
    template: str, what: str, allowed: Sequence[str], required: Sequence[str]
) -> tuple[_Component, ...]:
    def refuse(problem: str) -> UsageError:
        fields = ", ".join(f"{{{name}}}" for name in allowed)
        return UsageError(
            f"{what} {template!r}: {problem}", f"use a relative path of the fields {fields}, one a component"
        )

    components: list[_Component] = []
    for part in template.split("/"):
        match = _TEMPLATE_PART.fullmatch(part)
        if match is None:
            raise refuse(f"component {part!r} is not literal text with at most one {{field}}")
        prefix, field, suffix = match.group(1), match.group(2), match.group(3) or ""
        if part in ("", ".", ".."):
            raise refuse(f"component {part!r} is not a name")
        if not part.isprintable():
            raise refuse(f"component {escape_text(part)!r} holds a control character")
        if field is not None and field not in allowed:
            raise refuse(f"unknown field {{{field}}}")
        component = _Component(prefix.encode(), field, suffix.encode())
        if len(component.around(_SHORTEST.get(field, b"x"))) > MAX_NAME_BYTES:
            raise refuse(f"component {part!r} makes names of more than {MAX_NAME_BYTES} bytes")
        components.append(component)
    used = [component.field for component in components if component.field is not None]
    for name in used:
        if used.count(name) > 1:
            raise refuse(f"field {{{name}}} stands twice")
    for name in required:
        if name not in used:
            raise refuse(f"field {{{name}}} is missing")
    return tuple(components)


def _check_length(name: bytes, field: str | None) -> bytes:
    if len(name) > MAX_NAME_BYTES:
        raise UnusableNameError(f"{field} makes a name of {len(name)} bytes, more than {MAX_NAME_BYTES}")
    return name


@dataclass(frozen=True, slots=True)
class MountLayout:
    """The template of paths below the mount point; its last component is the date."""

    template: str
    above: tuple[_Component, ...]
    date: _Component

    @classmethod
    def parse(cls, template: str = DEFAULT_MOUNT_LAYOUT) -> Self:
        """Parse a template; raise `UsageError` naming the component that is wrong."""
        fields = (*_SERIES_FIELDS, "logical_date")
        components = _parse_template(template, "layout", fields, fields[1:])
        if components[-1].field != "logical_date":
            raise UsageError(f"layout {template!r}: {{logical_date}} is not in the last component", "put the date last")
        if CONTROL_NAME.decode() in template.split("/")[:1]:
            raise UsageError(
                f"layout {template!r}: {CONTROL_NAME.decode()} is a reserved name", "choose another first component"
            )
        return cls(template, components[:-1], components[-1])

    @property
    def shows_source(self) -> bool:
        """Whether the source is part of the path, so that two sources can never claim one path."""
        return any(component.field == "source" for component in self.above)

    def directory_of(self, series: SeriesKey) -> tuple[bytes, ...]:
        """Return the names from the mount root down to the directory that holds the series' dates.

        Raises `UnusableNameError` if a value makes a name that is empty or too long.
        """
        names: list[bytes] = []
        for component in self.above:
            if component.field is None:
                names.append(component.prefix)
                continue
            value: bytes = getattr(series, component.field)
            if not value:
                raise UnusableNameError(f"{component.field} is empty")
            name = component.around(hive_escape(value))
            if name in _WHOLE_NAME_ESCAPES:
                name = b"%2E" + name[1:]
            names.append(_check_length(name, component.field))
        return tuple(names)

    def date_name(self, date: int) -> bytes:
        """Return the directory name of a date."""
        return self.date.around(render_date(date))

    def parse_date_name(self, name: bytes) -> int | None:
        """Return the date that a directory name stands for, or None: the inverse of `date_name`."""
        prefix, _, suffix = self.date
        if not (name.startswith(prefix) and name.endswith(suffix)):
            return None
        return parse_date(name[len(prefix) : len(name) - len(suffix)])


@dataclass(frozen=True, slots=True)
class RawLayout:
    """The template of run directories below the raw root."""

    template: str
    encoding: RawEncoding
    components: tuple[_Component, ...]

    @classmethod
    def parse(cls, template: str = DEFAULT_RAW_LAYOUT, encoding: RawEncoding = RawEncoding.VERBATIM) -> Self:
        """Parse a template; raise `UsageError` naming the component that is wrong."""
        fields = (*_SERIES_FIELDS, "logical_date", "run_id")
        return cls(template, encoding, _parse_template(template, "raw layout", fields, fields[1:]))

    @property
    def above_runs(self) -> RawLayout | None:
        """The layout of the directories that hold the runs of one partition, None where runs have no such directory."""
        if len(self.components) < 2 or self.components[-1].field != "run_id":
            return None
        return replace(self, components=self.components[:-1])

    def directory_of(self, partition: Partition) -> tuple[bytes, ...]:
        """Return the path components of the partition's run directory, relative to the raw root.

        Raises `UnusableNameError` where a value is not a single path component (V12).
        """
        names: list[bytes] = []
        for component in self.components:
            match component.field:
                case None:
                    names.append(component.prefix)
                    continue
                case "logical_date":
                    value = render_date(partition.key.date)
                case "run_id":
                    value = partition.run_id
                case field:
                    value = getattr(partition.key.series, field)
            names.append(self._name(component, value))
        return tuple(names)

    def check_series(self, series: SeriesKey) -> None:
        """Raise `UnusableNameError` if no run of the series can have a path."""
        for component in self.components:
            if component.field in _SERIES_FIELDS:
                self._name(component, getattr(series, component.field))

    def check_run_id(self, run_id: bytes) -> None:
        """Raise `UnusableNameError` if the run id cannot be a path component."""
        for component in self.components:
            if component.field == "run_id":
                self._name(component, run_id)

    def _name(self, component: _Component, value: bytes) -> bytes:
        if value in (b"", b".", b".."):
            raise UnusableNameError(f"{component.field} is {escape_text(value)!r}")
        if self.encoding is RawEncoding.HIVE:
            value = hive_escape(value)
        elif b"/" in value or b"\0" in value:
            raise UnusableNameError(f"{component.field} holds a slash or NUL")
        return _check_length(component.around(value), component.field)
