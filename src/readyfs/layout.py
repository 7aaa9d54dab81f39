"""Path templates: where a partition stands below the mount point, and where its run lies below the raw root.

A template is a relative path whose components hold at most one `{field}` each, or parts of the date, with literal text
around them. That keeps the map injective: from the names one can tell the values, and `MountLayout.read` does.
`MountLayout` escapes values the way Hive and Spark do (V12); `RawLayout` uses them verbatim unless told otherwise. Pure
functions of text: no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self, TypeAlias
from urllib.parse import unquote_to_bytes

from readyfs.errors import UsageError
from readyfs.partition import Partition, SeriesKey, parse_date
from readyfs.template import DATE_FIELDS, DATE_PARTS, Component, DateComponent, parse_component
from readyfs.text import escape_text

DEFAULT_MOUNT_LAYOUT: Final = "plain"
NAMED_LAYOUTS: Final[Mapping[str, str]] = {
    "plain": "{customer_id}/{query_name}/{logical_date}",
    "hive": "customer_id={customer_id}/query_name={query_name}/logical_date={logical_date}",
    "by-date": "{logical_date}/{customer_id}/{query_name}",
}
"""The mount layouts that have a name."""
DEFAULT_RAW_LAYOUT: Final = (
    "{source}/customer_id={customer_id}/query_name={query_name}/logical_date={logical_date}/run_id={run_id}"
)
CONTROL_NAME: Final = b".readyfs"
"""The reserved top-level name: reachable by lookup, never listed."""

MAX_NAME_BYTES: Final = 255
"""NAME_MAX of Linux (limits.h)."""

_SERIES_FIELDS: Final = ("source", "customer_id", "query_name")

# What Hive's FileUtils.escapePathName escapes; Spark and pyarrow decode the same set.
_HIVE_SPECIAL: Final = bytes(sorted({*range(0x20), 0x7F, *b"\"#%'*/:=?\\{}[]^"}))
_HIVE_ESCAPE_BYTES: Final = len("%2F")
_HIVE_ESCAPES: Final = {byte: f"%{byte:02X}".encode() for byte in _HIVE_SPECIAL}
_HIVE_PATTERN: Final = re.compile(b"[" + re.escape(_HIVE_SPECIAL) + b"]")
_NO_NAMES: Final = frozenset({b"", b".", b".."})
"""What is no name of a file."""
_LONGEST_NO_NAME: Final = max(map(len, _NO_NAMES))
_WHOLE_NAME_ESCAPES: Final = frozenset({b".", b"..", CONTROL_NAME})

_Components: TypeAlias = tuple[Component | DateComponent, ...]

Frame: TypeAlias = tuple[bytes | Component | DateComponent, ...]
"""The names of a raw path, with components in place of those that differ between runs of a series."""


class UnusableNameError(Exception):
    """A value cannot be a path component; the text says why."""


class RawEncoding(StrEnum):
    """How the producer turns values into raw directory names."""

    VERBATIM = "verbatim"
    HIVE = "hive"


def hive_escape(value: bytes) -> bytes:
    """Percent-encode the characters that Hive and Spark escape in path names; other bytes pass through."""
    return _HIVE_PATTERN.sub(lambda match: _HIVE_ESCAPES[match.group()[0]], value)


def _parse_template(template: str, what: str, allowed: Sequence[str], remedy: str) -> _Components:
    def refuse(problem: str) -> UsageError:
        return UsageError(f"{what} {template!r}: {problem}", remedy)

    for is_there, place in ((template.startswith("/"), "begins"), (template.endswith("/"), "ends")):
        if is_there:
            raise refuse(f"it {place} with a slash")
    components: list[Component | DateComponent] = []
    used: list[str] = []
    for part in template.split("/"):
        if part in ("", ".", ".."):
            raise refuse(f"component {part!r} is not a name")
        if not part.isprintable():
            raise refuse(f"component {escape_text(part)!r} holds a control character")
        try:
            component = parse_component(part)
        except ValueError as error:
            raise refuse(f"component {part!r}: {error}") from None
        if component is None:
            raise refuse(f"component {part!r} is not literal text with at most one {{field}}")
        if isinstance(component, DateComponent):
            fields, shortest = component.fields, component.name_of(1)
        else:
            fields = (component.field,) if component.field is not None else ()
            shortest = component.around(b"x" if fields else b"")
        for field in fields:
            if field not in allowed:
                raise refuse(f"unknown field {{{field}}}")
            if field in used:
                raise refuse(f"field {{{field}}} stands twice")
        if len(shortest) > MAX_NAME_BYTES:
            raise refuse(f"component {part!r} makes names of more than {MAX_NAME_BYTES} bytes")
        components.append(component)
        used.extend(fields)
    parts = [part for part in DATE_PARTS if part in used]
    if parts and "logical_date" in used:
        raise refuse(f"the date stands twice, in {{logical_date}} and in {{{parts[0]}}}")
    for name in allowed:
        if name == "source" or name in used or name in DATE_PARTS:
            continue
        if name != "logical_date" or not parts:
            raise refuse(f"field {{{name}}} is missing")
        for part in DATE_PARTS:
            if part not in parts:
                raise refuse(f"the date is not complete, {{{part}}} is missing")
    return tuple(components)


def _check_length(name: bytes, field: str | None) -> bytes:
    if len(name) > MAX_NAME_BYTES:
        raise UnusableNameError(f"{field} makes a name of {len(name)} bytes, more than {MAX_NAME_BYTES}")
    return name


@dataclass(frozen=True, slots=True)
class MountLayout:
    """The template of paths below the mount point.

    Where the last component holds the whole date, the directories above it are `above`, and each holds the dates of a
    series. In any other layout a path must be read back to tell whose partition it is.
    """

    template: str
    components: _Components
    has_date_last: bool
    """Whether the last component tells the whole date, and no other anything of it."""
    shows_source: bool
    """Whether the source is part of the path, so that two sources can never claim one path."""

    @classmethod
    def parse(cls, text: str = DEFAULT_MOUNT_LAYOUT) -> Self:
        """Parse a template or the name of one; raise `UsageError` saying what is wrong."""
        template = NAMED_LAYOUTS.get(text, text)
        allowed = (*_SERIES_FIELDS, *DATE_FIELDS)
        names, fields = ", ".join(NAMED_LAYOUTS), ", ".join(f"{{{name}}}" for name in allowed)
        remedy = (
            f"use {names}, or a relative path of the fields {fields}, one a component (parts of the date may share one)"
        )
        if text and "/" not in template and "{" not in template:
            raise UsageError(f"layout {escape_text(text)!r} is not the name of one, and no template", remedy)
        components = _parse_template(template, "layout", allowed, remedy)
        if CONTROL_NAME.decode() in template.split("/")[:1]:
            raise UsageError(
                f"layout {template!r}: {CONTROL_NAME.decode()} is a reserved name", "choose another first component"
            )
        *above, last = (isinstance(component, DateComponent) for component in components)
        sources = [one for one in components if isinstance(one, Component) and one.field == "source"]
        return cls(template, components, last and not any(above), bool(sources))

    @property
    def above(self) -> _Components:
        """The components of the directories over the partitions."""
        return self.components[:-1]

    @property
    def ends_with_date(self) -> bool:
        """Whether the last component tells the date or a part of it."""
        return isinstance(self.components[-1], DateComponent)

    def shown(self, series: SeriesKey) -> SeriesKey:
        """Return a series as far as a path tells it: with an empty source where that is not part of the path."""
        return series if self.shows_source else series._replace(source=b"")

    def names_of(self, series: SeriesKey) -> tuple[bytes | None, ...]:
        """Return the names of a series, component by component; None where parts of the date stand.

        Raises `UnusableNameError` if a value makes a name that is empty or too long.
        """
        names: list[bytes | None] = []
        for component in self.components:
            if isinstance(component, DateComponent):
                names.append(None)
            elif component.field is None:
                names.append(component.prefix)
            else:
                value: bytes = getattr(series, component.field)
                if not value:
                    raise UnusableNameError(f"{component.field} is empty")
                names.append(_check_length(mount_name(component, value), component.field))
        return tuple(names)

    def dates_of(self, date: int) -> tuple[bytes, ...]:
        """Return the names of a date, in the order of the components that hold parts of it."""
        return tuple(one.name_of(date) for one in self.components if isinstance(one, DateComponent))

    def path_of(self, series: SeriesKey, date: int) -> tuple[bytes, ...]:
        """Return the path of a partition below the mount point; raise as `names_of` does."""
        return woven(self.names_of(series), self.dates_of(date))

    def read(self, path: Sequence[bytes]) -> tuple[SeriesKey, int] | None:
        """Return the series, as `shown`, and the date that a path stands for; None if it is no partition's path.

        The inverse of `path_of`: a path that is written in any other way stands for nothing.
        """
        if len(path) != len(self.components):
            return None
        values = {"source": b""}
        for name, component in zip(path, self.components, strict=True):
            if isinstance(component, DateComponent):
                parts = component.parts_of(name)
                if parts is None:
                    return None
                values.update(parts)
            elif component.field is None:
                if name != component.prefix:
                    return None
            else:
                value = read_mount_name(component, name)
                if value is None:
                    return None
                values[component.field] = value
        date = parse_date(b"-".join(values[part] for part in DATE_PARTS))
        return None if date is None else (SeriesKey(*(values[field] for field in _SERIES_FIELDS)), date)

    def directory_of(self, series: SeriesKey) -> tuple[bytes, ...]:
        """Return the names from the mount root down to the directory of a series' dates, where the date is last.

        Raises as `names_of` does.
        """
        assert self.has_date_last
        return tuple(name for name in self.names_of(series) if name is not None)

    def date_name(self, date: int) -> bytes:
        """Return the name that a date has in the last component, where it is there as a whole."""
        component = self.components[-1]
        assert isinstance(component, DateComponent)
        return component.name_of(date)

    def parse_date_name(self, name: bytes) -> int | None:
        """Return the date that such a name stands for, or None: the inverse of `date_name`."""
        component = self.components[-1]
        assert isinstance(component, DateComponent)
        parts = component.parts_of(name)
        return None if parts is None else parse_date(b"-".join(parts[part] for part in DATE_PARTS))


def woven(names: Sequence[bytes | None], date_names: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return a path of the names of a series, with those of a date where they stand."""
    dates = iter(date_names)
    return tuple([next(dates) if name is None else name for name in names])


def mount_name(component: Component, value: bytes) -> bytes:
    """Return the name that a value makes below the mount point, escaped (V12)."""
    name = component.around(hive_escape(value))
    return b"%2E" + name[1:] if name in _WHOLE_NAME_ESCAPES else name


def read_mount_name(component: Component, name: bytes) -> bytes | None:
    """Return the value that such a name stands for; None if none makes it."""
    whole = b"." + name[3:]
    escaped = component.within(whole if name.startswith(b"%2E") and whole in _WHOLE_NAME_ESCAPES else name)
    if not escaped:
        return None
    value = unquote_to_bytes(escaped)
    return value if mount_name(component, value) == name else None


@dataclass(frozen=True, slots=True)
class RawLayout:
    """The template of run directories below the raw root."""

    template: str
    encoding: RawEncoding
    components: _Components

    @classmethod
    def parse(cls, template: str = DEFAULT_RAW_LAYOUT, encoding: RawEncoding = RawEncoding.VERBATIM) -> Self:
        """Parse a template; raise `UsageError` naming the component that is wrong."""
        allowed = (*_SERIES_FIELDS, "logical_date", "run_id")
        fields = ", ".join(f"{{{name}}}" for name in allowed)
        remedy = f"use a relative path of the fields {fields}, one a component"
        return cls(template, encoding, _parse_template(template, "raw layout", allowed, remedy))

    @property
    def above_runs(self) -> RawLayout | None:
        """The layout of the directories that hold the runs of one partition, None where runs have no such directory."""
        last = self.components[-1]
        if len(self.components) < 2 or isinstance(last, DateComponent) or last.field != "run_id":
            return None
        return replace(self, components=self.components[:-1])

    def directory_of(self, partition: Partition) -> tuple[bytes, ...]:
        """Return the path components of the partition's run directory, relative to the raw root.

        Raises `UnusableNameError` where a value is not a single path component (V12).
        """
        series, date = partition.key
        return self.fill(self.frame_of(series), date, partition.run_id)

    def frame_of(self, series: SeriesKey) -> Frame:
        """Return what the paths of a series' runs have in common; raise as `directory_of` does."""
        frame: list[bytes | Component | DateComponent] = []
        for component in self.components:
            if isinstance(component, DateComponent) or component.field == "run_id":
                frame.append(component)
            elif component.field is None:
                frame.append(component.prefix)
            else:
                frame.append(self._name(component, getattr(series, component.field)))
        return tuple(frame)

    def fill(self, frame: Frame, date: int, run_id: bytes) -> tuple[bytes, ...]:
        """Return what `directory_of` does for a run of the frame's series."""
        return tuple(
            [
                part
                if isinstance(part, bytes)
                else part.name_of(date)
                if isinstance(part, DateComponent)
                else self._name(part, run_id)
                for part in frame
            ]
        )

    def check_series(self, series: SeriesKey) -> None:
        """Raise `UnusableNameError` if no run of the series can have a path."""
        for component in self.components:
            if isinstance(component, Component) and component.field in _SERIES_FIELDS:
                self._name(component, getattr(series, component.field))

    def check_run_id(self, run_id: bytes) -> None:
        """Raise `UnusableNameError` if the run id cannot be a path component."""
        for component in self.components:
            if isinstance(component, Component) and component.field == "run_id":
                self._name(component, run_id)

    def takes_all(self, run_ids: Collection[bytes]) -> bool:
        """Tell whether `check_run_id` surely accepts each of these; for many of them much sooner than one by one."""
        together = b" ".join(run_ids)  # a blank is never escaped, and no name that is refused
        lengths = {*map(len, run_ids)}
        longest = max(lengths, default=0)
        if self.encoding is RawEncoding.HIVE:
            if _HIVE_PATTERN.search(together) is not None:
                longest *= _HIVE_ESCAPE_BYTES
        elif b"/" in together or b"\0" in together:
            return False
        if min(lengths, default=0) <= _LONGEST_NO_NAME and not _NO_NAMES.isdisjoint(run_ids):
            return False
        own = (one for one in self.components if isinstance(one, Component) and one.field == "run_id")
        return all(len(one.around(b"")) + longest <= MAX_NAME_BYTES for one in own)

    def _name(self, component: Component, value: bytes) -> bytes:
        if value in _NO_NAMES:
            raise UnusableNameError(f"{component.field} is {escape_text(value)!r}")
        if self.encoding is RawEncoding.HIVE:
            value = hive_escape(value)
        elif b"/" in value or b"\0" in value:
            raise UnusableNameError(f"{component.field} holds a slash or NUL")
        return _check_length(component.around(value), str(component.field))
