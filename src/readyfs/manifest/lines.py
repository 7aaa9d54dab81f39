"""The lines of a manifest: how long those of some rows are together, and the lines themselves.

A line is a template of its series, filled with what differs between the rows. All names of dates are equally long, so
that a width is told without the line: what is the same for all rows of a series, once, and then column by column.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import repeat
from typing import Final

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

_MOST_REMEMBERED: Final = 65_536
_TRUE: Final = b"true"
_UNKNOWN: Final = NULL
"""What says that a partition is not known to be broken: as wide as the other word."""


class Names(dict[int, bytes]):
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


class Lines(ABC):
    """Makes the lines of one manifest: `depth` names of each path are those of its directory."""

    def __init__(self, layout: MountLayout, depth: int, files: Sequence[bytes], text: Callable[[bytes], bytes]) -> None:
        self.layout = layout
        self.files = files
        self._text = text
        self._components = layout.components[depth:]
        self._dates = [Names(one, text) for one in self._components if isinstance(one, DateComponent)]
        self._widths: dict[tuple[str, bytes], int] = {}

    @abstractmethod
    def width(self, key: SeriesKey, ambiguous: bool) -> int:
        """Return how long a line of a series is without what differs between its rows."""

    @abstractmethod
    def varying_width(self, rows: Sequence[Rows]) -> int:
        """Return how long all that differs between rows is."""

    @abstractmethod
    def render(self, rows: Rows, broken: Collection[int]) -> list[bytes]:
        """Return the lines of rows, of which those at some dates are known to be broken."""

    def path_template(self, key: SeriesKey) -> bytes:
        """Return the path of a partition, with a place for each name of a date."""
        return b"/".join([self._name_template(component, key) for component in self._components])

    def path_width(self, key: SeriesKey) -> int:
        """Return how long the path is."""
        width = len(self._components) - 1
        for component in self._components:
            if isinstance(component, DateComponent):
                width += len(self._text(component.name_of(1)))
            elif component.field is None:
                width += len(self._text(component.prefix))
            else:
                width += self._width(component, getattr(key, component.field))
        return width

    def date_columns(self, dates: Iterable[int]) -> list[list[bytes]]:
        """Return the names of dates, for each place in a path."""
        return [list(map(names.__getitem__, dates)) for names in self._dates]

    def _name_template(self, component: Component | DateComponent, key: SeriesKey) -> bytes:
        if isinstance(component, DateComponent):
            return b"%b"
        name = component.prefix if component.field is None else mount_name(component, getattr(key, component.field))
        return escape_percent(self._text(name))

    def _width(self, component: Component, value: bytes) -> int:
        assert component.field is not None
        found = self._widths.get((component.field, value))
        if found is None:
            if len(self._widths) > _MOST_REMEMBERED:
                self._widths.clear()
            found = self._widths[component.field, value] = len(self._text(mount_name(component, value)))
        return found


class PathLines(Lines):
    """The paths of the files of each partition."""

    def __init__(self, layout: MountLayout, depth: int, files: Sequence[bytes], end: bytes) -> None:
        super().__init__(layout, depth, files, bytes)
        self._ends = [b"/" + file + end for file in files]

    def width(self, key: SeriesKey, ambiguous: bool) -> int:
        """Return how long the lines of a partition are."""
        return len(self._ends) * self.path_width(key) + sum(map(len, self._ends))

    def varying_width(self, rows: Sequence[Rows]) -> int:
        """Return nothing: paths of a series are equally long."""
        return 0

    def render(self, rows: Rows, broken: Collection[int]) -> list[bytes]:
        """Return the lines of rows, those of one partition together."""
        path = self.path_template(rows.key)
        template = b"".join([path + escape_percent(end) for end in self._ends])
        columns = self.date_columns(rows.columns.dates)
        if not columns:
            return [template % ()] * len(rows.columns)
        return list(map(template.__mod__, zip(*(columns * len(self._ends)), strict=True)))


class JsonLines(Lines):
    """A JSON object for each partition."""

    def __init__(self, layout: MountLayout, depth: int, files: Sequence[bytes]) -> None:
        super().__init__(layout, depth, files, json_content)
        # What a line of nothing has, but for what `width` and `varying_width` add.
        nothing = self._template(b"", SeriesKey(b"", b"", b""), b"")
        filled = nothing % (b"", render_date(1), b"", b"", b"", _UNKNOWN)
        self._frame_width = len(filled) - 2 * len(json_text(b""))

    def width(self, key: SeriesKey, ambiguous: bool) -> int:
        """Return how long a line of a series is without what differs between its rows."""
        source, customer_id, query_name = key
        return (
            self._frame_width
            + (1 + len(self.files)) * self.path_width(key)
            + len(self._source(source, ambiguous))
            + len(json_text(customer_id))
            + len(json_text(query_name))
        )

    def varying_width(self, rows: Sequence[Rows]) -> int:
        """Return how long run ids, counts, versions and times are."""
        counts, times_ns = array("q"), array("q")
        run_ids: list[bytes] = []
        versions = 0
        for _, columns, _ in rows:
            run_ids.extend(columns.run_ids)
            counts.extend(columns.record_counts)
            times_ns.extend(columns.updated_at_ns)
            versions += versions_width(columns.schema_versions, len(columns))
        return run_ids_width(run_ids) + counts_width(counts) + times_width(times_ns) + versions

    def render(self, rows: Rows, broken: Collection[int]) -> list[bytes]:
        """Return the lines of rows."""
        key, columns, ambiguous = rows
        template = self._template(self.path_template(key), key, self._source(key.source, ambiguous))
        dates, size = columns.dates, len(columns)
        names = self.date_columns(dates)
        marks: Iterable[bytes]
        if ambiguous:
            marks = repeat(_TRUE, size)
        elif broken:
            marks = [_TRUE if date in broken else _UNKNOWN for date in dates]
        else:
            marks = repeat(_UNKNOWN, size)
        filled = zip(
            *names,
            render_run_ids(columns.run_ids),
            map(render_date, dates),
            render_counts(columns.record_counts),
            render_versions(columns.schema_versions, size),
            render_moments(columns.updated_at_ns),
            *(names * len(self.files)),
            marks,
            strict=True,
        )
        return list(map(template.__mod__, filled))

    def _source(self, source: bytes, ambiguous: bool) -> bytes:
        """Return the source as JSON: null where rows of several sources may claim a path."""
        return NULL if ambiguous and not self.layout.shows_source else json_text(source)

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
    return text.replace(b"%", b"%%")
