"""The lines of a manifest: how long those of some rows are together, and the lines themselves.

A line is a template of its series, filled with what differs between the rows. All names of dates are equally long, so
that a width is told without the line: what is the same for all rows of a series, once, and then column by column.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Final, TypeAlias

from readyfs.layout import MountLayout, mount_name
from readyfs.manifest.form import Form
from readyfs.manifest.selection import Rows
from readyfs.manifest.text import (
    NULL,
    counts_width,
    json_content,
    json_text,
    render_counts,
    render_moments,
    render_run_ids,
    render_versions,
    run_ids_width,
    times_width,
    versions_width,
)
from readyfs.partition import SeriesKey, render_date
from readyfs.template import Component, DateComponent

Broken: TypeAlias = Mapping[SeriesKey, Collection[int]]
"""The dates of each series that are known to be broken."""

_MOST_REMEMBERED: Final = 65_536
_TRUE: Final = b"true"
_UNKNOWN: Final = NULL
"""What says that a partition is not known to be broken: as wide as the other word."""


class _Names(dict[int, bytes]):
    """The names of dates in one component, made as they are asked for."""

    def __init__(self, component: DateComponent, text: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._component = component
        self._text = text

    def __missing__(self, date: int) -> bytes:
        if len(self) > _MOST_REMEMBERED:
            self.clear()
        name = self[date] = self._text(self._component.name_of(date))
        return name


class _Widths(dict[bytes, int]):
    """How much each value of one field adds to the lines of a partition, worked out as it is asked for."""

    def __init__(self, width: Callable[[bytes], int]) -> None:
        super().__init__()
        self._width = width

    def __missing__(self, value: bytes) -> int:
        if len(self) > _MOST_REMEMBERED:
            self.clear()
        width = self[value] = self._width(value)
        return width


class Lines(ABC):
    """Makes the lines of one manifest: the first `depth` names of each path are those of its directory."""

    paths: int
    """How often the path of a partition stands in its lines."""

    def __init__(self, layout: MountLayout, depth: int, files: Sequence[bytes], text: Callable[[bytes], bytes]) -> None:
        self.layout = layout
        self.files = files
        self._text = text
        self._components = layout.components[depth:]
        self._dates = [_Names(one, text) for one in self._components if isinstance(one, DateComponent)]
        self._named = {one.field: one for one in self._components if isinstance(one, Component)}
        self.widths = tuple(_Widths(self._width_of(field)) for field in SeriesKey._fields)

    @abstractmethod
    def width(self, key: SeriesKey, ambiguous: bool) -> int:
        """Return how long the lines of a partition are without what differs between those of its series."""

    @abstractmethod
    def varying_width(self, piece: Sequence[Rows]) -> int:
        """Return how long all that differs between rows is."""

    @abstractmethod
    def render(self, piece: Sequence[Rows], broken: Broken) -> list[bytes]:
        """Return the lines of rows, of which some are known to be broken."""

    def field_width(self, value: bytes) -> int:
        """Return how much a value of a series adds to a line beside the path."""
        del value
        return 0

    def path_template(self, key: SeriesKey) -> bytes:
        """Return the path of a partition, with a place for each name of a date."""
        return b"/".join([self._name_template(component, key) for component in self._components])

    def path_width(self) -> int:
        """Return how long the path of a partition is, without the names of its series."""
        width = len(self._components) - 1
        for component in self._components:
            if isinstance(component, DateComponent):
                width += len(self._text(component.name_of(1)))
            elif component.field is None:
                width += len(self._text(component.prefix))
        return width

    def date_columns(self, dates: Iterable[int]) -> list[list[bytes]]:
        """Return the names of dates, for each place in a path."""
        return [list(map(names.__getitem__, dates)) for names in self._dates]

    def _name_template(self, component: Component | DateComponent, key: SeriesKey) -> bytes:
        if isinstance(component, DateComponent):
            return b"%b"
        name = component.prefix if component.field is None else mount_name(component, getattr(key, component.field))
        return escape_percent(self._text(name))

    def _width_of(self, field: str) -> Callable[[bytes], int]:
        component = self._named.get(field)
        if component is None:
            return self.field_width
        return lambda value: self.paths * len(self._text(mount_name(component, value))) + self.field_width(value)


class PathLines(Lines):
    """The paths of the files of each partition."""

    def __init__(self, layout: MountLayout, depth: int, files: Sequence[bytes], end: bytes) -> None:
        super().__init__(layout, depth, files, bytes)
        self.paths = len(files)
        self._ends = [b"/" + file + end for file in files]
        self._frame_width = self.paths * self.path_width() + sum(map(len, self._ends))

    def width(self, key: SeriesKey, ambiguous: bool) -> int:
        """Return how long the lines of a partition are."""
        sources, customers, queries = self.widths
        return self._frame_width + sources[key[0]] + customers[key[1]] + queries[key[2]]

    def varying_width(self, piece: Sequence[Rows]) -> int:
        """Return nothing: paths of a series are equally long."""
        return 0

    def render(self, piece: Sequence[Rows], broken: Broken) -> list[bytes]:
        """Return the lines of rows, those of one partition together."""
        lines: list[bytes] = []
        for key, columns, _ in piece:
            path = self.path_template(key)
            template = b"".join([path + escape_percent(end) for end in self._ends])
            names = self.date_columns(columns.dates)
            if names:
                lines += map(template.__mod__, zip(*(names * self.paths), strict=True))
            else:
                lines += [template % ()] * len(columns)
        return lines


class JsonLines(Lines):
    """A JSON object for each partition."""

    def __init__(self, layout: MountLayout, depth: int, files: Sequence[bytes]) -> None:
        super().__init__(layout, depth, files, json_content)
        self.paths = 1 + len(files)
        # What a line of nothing has, but for what `width` and `varying_width` add.
        nothing = self._template(b"", SeriesKey(b"", b"", b""), b"")
        filled = nothing % (b"", render_date(1), b"", b"", b"", _UNKNOWN)
        self._frame_width = len(filled) - 2 * len(json_text(b"")) + self.paths * self.path_width()

    def field_width(self, value: bytes) -> int:
        """Return how long the value is as JSON."""
        return len(json_text(value))

    def width(self, key: SeriesKey, ambiguous: bool) -> int:
        """Return how long a line is without what differs between the rows of its series."""
        sources, customers, queries = self.widths
        source = len(NULL) if ambiguous and not self.layout.shows_source else sources[key[0]]
        return self._frame_width + source + customers[key[1]] + queries[key[2]]

    def varying_width(self, piece: Sequence[Rows]) -> int:
        """Return how long run ids, counts, versions and times are."""
        columns = _Varying(piece)
        width = run_ids_width(columns.run_ids) + counts_width(columns.counts) + times_width(columns.times_ns)
        return width + versions_width(columns.versions)

    def render(self, piece: Sequence[Rows], broken: Broken) -> list[bytes]:
        """Return the lines of rows."""
        # Of all rows at once: the price of a call is that of several rows, and many series have only few.
        columns = _Varying(piece)
        run_ids, counts = render_run_ids(columns.run_ids), render_counts(columns.counts)
        versions, times = render_versions(columns.versions), render_moments(columns.times_ns)
        lines: list[bytes] = []
        begin = 0
        for key, rows, ambiguous in piece:
            dates = rows.dates
            end = begin + len(dates)
            source = NULL if ambiguous and not self.layout.shows_source else json_text(key.source)
            names = self.date_columns(dates)
            filled = zip(
                *names,
                run_ids[begin:end],
                map(render_date, dates),
                counts[begin:end],
                versions[begin:end],
                times[begin:end],
                *(names * len(self.files)),
                _marks(dates, ambiguous, broken.get(key)),
                strict=True,
            )
            lines += map(self._template(self.path_template(key), key, source).__mod__, filled)
            begin = end
        return lines

    def _template(self, path: bytes, key: SeriesKey, source: bytes) -> bytes:
        files = b",".join([b'"%b/%b"' % (path, escape_percent(json_content(file))) for file in self.files])
        return (
            b'{"path":"%b","run_id":%%b,"source":%b,"customer_id":%b,"query_name":%b,"logical_date":"%%b",'
            b'"record_count":%%b,"schema_version":%%b,"updated_at":%%b,"files":[%b],"broken":%%b}\n'
        ) % (
            path,
            escape_percent(source),
            escape_percent(json_text(key.customer_id)),
            escape_percent(json_text(key.query_name)),
            files,
        )


class _Varying:
    """What differs between the rows of a piece, column by column."""

    def __init__(self, piece: Sequence[Rows]) -> None:
        self.counts, self.times_ns = array("q"), array("q")
        self.run_ids: list[bytes] = []
        self.versions: list[bytes | None] = []
        for _, columns, _ in piece:
            self.run_ids += columns.run_ids
            self.counts += columns.record_counts
            self.times_ns += columns.updated_at_ns
            versions, rows = columns.schema_versions, len(columns.dates)
            self.versions += versions if len(versions) == rows else versions * rows


def _marks(dates: Sequence[int], ambiguous: bool, broken: Collection[int] | None) -> Iterable[bytes]:
    """Return for each date whether it is known to be broken."""
    if broken and not ambiguous:
        return [_TRUE if date in broken else _UNKNOWN for date in dates]
    return repeat(_TRUE if ambiguous else _UNKNOWN, len(dates))


def make_lines(form: Form, layout: MountLayout, depth: int, files: Sequence[bytes]) -> Lines:
    """Return what makes the lines of a form."""
    match form:
        case Form.JSONL:
            return JsonLines(layout, depth, files)
        case Form.PATHS:
            return PathLines(layout, depth, files, b"\n")
        case Form.PATHS0:
            return PathLines(layout, depth, files, b"\0")


def escape_percent(text: bytes) -> bytes:
    """Return a text that stands for itself in a template."""
    return text.replace(b"%", b"%%") if b"%" in text else text
