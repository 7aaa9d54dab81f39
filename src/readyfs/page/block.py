"""The data of a page: one raw deflate stream of columns and vocabularies, which `assets/block.js` reads.

Its first eight bytes tell, in decimal, how long the JSON is that follows. That tells of each further part its name and
its length. The parts follow each other in that order.
"""

from __future__ import annotations

import datetime
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from readyfs.consumer.agreement import Verdict
from readyfs.consumer.cell_letters import letter_of, words_of
from readyfs.consumer.coverage import CELLS, SeriesCoverage
from readyfs.consumer.explanation import NO_TIME, REMEDIES
from readyfs.consumer.gaps import SeriesGaps
from readyfs.consumer.telling import COUNTED, MESSAGE, REASONS, Form
from readyfs.errors import UsageError
from readyfs.layout import hive_escape
from readyfs.page.columns import END, NULL, Sections, deflate
from readyfs.page.rows import DATE_PLACE, EPOCH_DATE, KnownRows, OtherRows, ReadyRows
from readyfs.page.texts import LONGEST, Texts, render_json
from readyfs.partition import NOT_SET, PartitionKey, render_date
from readyfs.text import escape_text

VERSION: Final = 1
MOST_CELLS: Final = 20_000_000
"""How many dates a page may hold: a browser has to hold them, too."""

_DESCRIPTION_SIZE: Final = 32_768
"""Room for what describes the parts of a block."""
_SHORTER: Final = (200, 40)
"""To how many characters texts are cut if the page would be too large."""
_LAST_DATE: Final = datetime.date.max.toordinal()


class Names:
    """The names of sources, customers and queries: each stored once, as it is, as it is shown, and as keys hold it."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def number(self, name: bytes) -> int:
        """Return the number of a name."""
        return self._numbers.setdefault(name, len(self._numbers))

    def ranks(self) -> list[int]:
        """Return of each name its place in the order of bytes, by number."""
        names = list(self._numbers)
        ranks = [0] * len(names)
        for rank, number in enumerate(sorted(range(len(names)), key=names.__getitem__)):
            ranks[number] = rank
        return ranks

    def describe(self) -> list[object]:
        """Return all names as JSON, those as one text that are the same in all ways."""
        return list(map(_describe_name, self._numbers))


class BlockMaker:
    """Takes series as they come in, and makes a block of them."""

    def __init__(self) -> None:
        self._names = (Names(), Names(), Names())
        self._cadences: dict[str | None, int] = {}
        self._texts = Texts()
        self._ready = ReadyRows()
        self._others = OtherRows(self._texts)
        self._known = KnownRows(self._texts)
        self._cells = bytearray()
        self._series: dict[str, array[int]] = {name: array("q") for name in _SERIES}

    def taking(self, series: Iterable[SeriesCoverage]) -> Iterator[SeriesGaps]:
        """Yield the gaps of each series, taken before."""
        for one in series:
            self._add(one)
            yield one.gaps

    @property
    def cells(self) -> int:
        """How many cells there are so far."""
        return len(self._cells)

    def make(self, head: Mapping[str, object], most: int) -> bytes:
        """Return the block, if that can be in at most so many bytes, and say what had to be left out for it."""
        sections = Sections()
        sections.add("names", render_json([names.describe() for names in self._names]))
        sections.add("cells", bytes(self._cells))
        for name, column in self._series.items():
            sections.add_integers(f"series.{name}", column)
        sections.add_integers("series.place", self._find_places())
        self._ready.write(sections)
        self._others.write(sections)
        self._known.write(sections)
        left_out = []
        longest = self._write_texts(sections, most - _DESCRIPTION_SIZE)
        if longest < LONGEST:
            left_out.append(f"messages are cut to {longest} characters")
        first = self._ready.write_runs(sections, most - _DESCRIPTION_SIZE - sections.size)
        if first is not None:
            since = f" before {render_date(first).decode()}" if first <= _LAST_DATE else ""
            left_out.append(f"runs of ready dates{since} are left out")
        description = {
            "version": VERSION,
            "head": {**head, "leftOut": left_out},
            "cells": _describe_cells(),
            "cadences": list(self._cadences),
            "words": _describe_words(),
            "count": len(self._series["source"]),
            "columns": sections.columns,
            "sections": sections.lengths,
        }
        text = render_json(description)
        return b"".join([deflate(b"%08d" % len(text) + text), *sections.deflated, END])

    def _find_places(self) -> array[int]:
        """Return of each series its place in the order of names: those without a row come in last."""
        ranks = [names.ranks() for names in self._names]
        parts = [map(one.__getitem__, self._series[name]) for one, name in zip(ranks, _NAMES, strict=True)]
        keys = list(zip(*parts, strict=True))
        places = array("q", bytes(8 * len(keys)))
        for place, number in enumerate(sorted(range(len(keys)), key=keys.__getitem__)):
            places[number] = place
        return places

    def _write_texts(self, sections: Sections, most: int) -> int:
        """Add the texts to a block, cut where it would be too large; return how long they are at most."""
        texts, longest = Sections(), LONGEST
        self._texts.write("texts", texts)
        for shorter in _SHORTER:
            if sections.size + texts.size > most:
                texts, longest = Sections(), shorter
                self._texts.write("texts", texts, longest)
        sections.extend(texts)
        return longest

    def _add(self, one: SeriesCoverage) -> None:
        gaps = one.gaps
        if len(self._cells) + len(one.cells) > MOST_CELLS:
            raise _too_many(one)
        values = (
            *(names.number(name) for names, name in zip(self._names, gaps.series, strict=True)),
            one.first - EPOCH_DATE,
            len(one.cells),
            gaps.expected,
            gaps.ready,
            gaps.waiting,
            gaps.count(Verdict.WARN),
            gaps.count(Verdict.ERROR),
            gaps.known,
            gaps.guessed_dates,
            _day(gaps.newest),
            _day(gaps.first_gap),
            NULL if gaps.newest_ns == NOT_SET else gaps.newest_ns // 10**6,
            self._cadences.setdefault(None if gaps.cadence is None else gaps.cadence.text, len(self._cadences)),
            int(gaps.guessed),
        )
        for column, value in zip(self._series.values(), values, strict=True):
            column.append(value)
        self._cells += one.cells
        if one.state is not None:
            self._ready.extend(one.state)
            self._others.extend(one.state)
        self._known.extend(one)


_NAMES: Final = ("source", "customer", "query")
_SERIES: Final = (
    *_NAMES,
    "first",
    "cells",
    "expected",
    "ready",
    "waiting",
    "warn",
    "error",
    "known",
    "guessed",
    "newest",
    "firstLate",
    "newestUpdate",
    "cadence",
    "guessedCadence",
)
"""The columns of series; a date is in days since 1970."""


def _too_many(one: SeriesCoverage) -> UsageError:
    key = PartitionKey(one.gaps.series, one.first)
    return UsageError(
        f"a page holds at most {MOST_CELLS:,} dates; the {len(one.cells):,} from {key} on are too many for this one",
        "narrow it with --since, --until, --customer, --query or --source",
    )


def _day(date: int | None) -> int:
    return NULL if date is None else date - EPOCH_DATE


def _describe_name(name: bytes) -> object:
    raw = name.decode("utf-8", "surrogateescape")
    shown = escape_text(name)
    key = escape_text(hive_escape(name))
    return raw if raw == shown == key else [raw, shown, key]


def _describe_words() -> dict[str, object]:
    return {
        "forms": list(Form),
        "remedies": [REMEDIES[REASONS[form]] for form in Form],
        "counted": COUNTED,
        "message": MESSAGE,
        "noTime": NO_TIME,
        "noRun": "(left out of this page)",
        "datePlace": DATE_PLACE,
        "missing": list(Form).index(Form.MISSING),
        "readyForm": list(Form).index(Form.READY),
    }


def _describe_cells() -> list[dict[str, object]]:
    return [
        {
            "status": cell.status,
            "level": cell.level,
            "expected": cell.is_expected,
            "letter": "" if cell.level is None else letter_of(cell),
            "words": words_of(cell),
        }
        for cell in CELLS
    ]
