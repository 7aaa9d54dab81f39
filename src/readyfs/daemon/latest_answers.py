"""A mount's answers to how far series have come, by the catalog in force and nothing else."""

from __future__ import annotations

import datetime
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

import trio

from readyfs.catalog.tree import Catalog
from readyfs.consumer.agreement import Judge
from readyfs.consumer.agreement_words import AgreementWords
from readyfs.consumer.latest import find_latest
from readyfs.consumer.series_fields import describe_criteria, describe_latest
from readyfs.control.latest_request import LatestRequest
from readyfs.control.peer import Peer
from readyfs.daemon.turns import Turns
from readyfs.duration import render_duration
from readyfs.errors import NoAnswerError, RefreshFailedError, UsageError
from readyfs.partition import NOT_SET, SeriesKey, parse_date
from readyfs.state.filters import Filters
from readyfs.vfs.freshness import Freshness

PAGE: Final = 1000
"""How many series one answer holds at most."""
DEADLINE_S: Final = 8.0
"""How long one answer may take; a client waits for ten seconds."""
_EARLIEST_DAYS: Final = 36_525
"""How far back dates are expected because somebody says so; a century of cron fields takes a while."""


@dataclass(slots=True)
class LatestAnswers:
    """Answers `latest`; called on the trio loop."""

    in_force: Callable[[], Catalog]
    freshness: Freshness
    turns: Turns = field(default_factory=lambda: Turns(2, 1))

    async def answer(self, request: LatestRequest, peer: Peer) -> dict[str, object]:
        """Tell how far series have come; raise `UsageError`, `RefreshFailedError`, `NoAnswerError`."""
        age_s = self.freshness.age_s()
        if self.freshness.stale and age_s is not None:
            raise RefreshFailedError(
                f"the catalog is {render_duration(round(age_s))} old, more than --max-staleness allows",
                "ask again when the state can be read; `readyfs status` says why it cannot",
            )
        catalog, now_ns = self.in_force(), time.time_ns()
        try:
            return await self.turns.run(peer.uid, lambda: describe_page(catalog, request, now_ns), DEADLINE_S)
        except trio.TooSlowError:
            raise NoAnswerError("the daemon has too much to look up", "try again, or for fewer customers") from None


def describe_page(catalog: Catalog, request: LatestRequest, now_ns: int) -> dict[str, object]:
    """Return how far the next series have come, and where to go on; raise `UsageError`."""
    filters = _read_filters(request)
    said = request.agreement
    words = AgreementWords(
        cadence=said.get("cadence"),
        day_tz=said.get("day_tz") or "UTC",
        warn=said.get("warn"),
        crit=said.get("crit"),
        deadline=said.get("deadline"),
        tz=said.get("tz"),
    )
    judge = Judge(words.agree(filters, now_ns), now_ns)
    criteria = describe_criteria(judge.agreement)
    keys = sorted(filter(filters.admits, catalog.by_key))
    begin = 0 if request.after is None else bisect_right(keys, _read_position(request.after))
    page = keys[begin : begin + PAGE]
    return {
        "fingerprint": catalog.fingerprint,
        "series": [_describe(catalog, key, judge, criteria, filters, now_ns) for key in page],
        "next": _render_position(page[-1]) if begin + PAGE < len(keys) else None,
    }


def _describe(
    catalog: Catalog, key: SeriesKey, judge: Judge, criteria: dict[str, object], filters: Filters, now_ns: int
) -> dict[str, object]:
    ready, newest_ns = _ready_dates(catalog, key, filters)
    return describe_latest(find_latest(key, ready, newest_ns, judge), now_ns, criteria)


def _ready_dates(catalog: Catalog, key: SeriesKey, filters: Filters) -> tuple[Sequence[int], int]:
    """Return the dates of a series that can be read, and the newest time at which one of them was updated."""
    series, group = catalog.by_key[key], catalog.tree.group(key)
    ambiguous = group.ambiguous if group is not None else frozenset()
    if not ambiguous and filters.since is None and filters.until is None:
        return series.dates, series.newest_ns
    first, last = filters.date_range
    pairs = zip(series.dates, series.updated_at_ns, strict=True)
    kept = [pair for pair in pairs if first <= pair[0] <= last and pair[0] not in ambiguous]
    return [date for date, _ in kept], max((time_ns for _, time_ns in kept), default=NOT_SET)


def _read_filters(request: LatestRequest) -> Filters:
    dates: dict[str, int | None] = {}
    for name, text in request.dates.items():
        dates[name] = None if text is None else parse_date(text.encode("utf-8", "surrogateescape"))
        if text is not None and dates[name] is None:
            raise UsageError(f"{name} is no date", "write it as 2024-06-01")
    since = dates.get("since")
    if since is not None:
        since = max(since, datetime.datetime.now(datetime.UTC).toordinal() - _EARLIEST_DAYS)
    lists = request.patterns
    return Filters(
        lists.get("sources", ()), lists.get("customers", ()), lists.get("queries", ()), since, dates.get("until")
    )


def _render_position(key: SeriesKey) -> str:
    return "/".join(quote_from_bytes(part, safe="") for part in key)


def _read_position(text: str) -> SeriesKey:
    parts = text.split("/")
    if len(parts) != len(SeriesKey._fields):
        raise UsageError("`after` is no position", "ask for what the answer before named as `next`")
    return SeriesKey(*map(unquote_to_bytes, parts))
