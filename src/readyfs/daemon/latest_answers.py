"""A mount's answers to how far series have come, by the catalog in force and nothing else."""

from __future__ import annotations

import datetime
import re
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Final, NamedTuple

import trio

from readyfs.catalog.tree import Catalog
from readyfs.consumer.agreement import Judge
from readyfs.consumer.agreement_words import AgreementWords
from readyfs.consumer.latest import Latest, find_latest
from readyfs.consumer.series_fields import describe_criteria, describe_latest
from readyfs.control.broken_request import parse_parts, render_parts
from readyfs.control.latest_request import LatestRequest
from readyfs.control.peer import Peer
from readyfs.daemon.turns import Turns
from readyfs.duration import render_duration
from readyfs.errors import NoAnswerError, RefreshFailedError, UsageError
from readyfs.partition import NOT_SET, SeriesKey, parse_date, render_time
from readyfs.refresh.refresher import Outage, Refresher
from readyfs.state.filters import Filters
from readyfs.vfs.freshness import Freshness

PAGE: Final = 1000
"""How many series one answer holds at most."""
DEADLINE_S: Final = 8.0
"""How long one answer may take; a client waits for ten seconds."""
_EARLIEST_DAYS: Final = 36_525
"""How far back dates are expected because somebody says so; a century of cron fields takes a while."""
_PATTERN: Final = frozenset("*?[")
_MOST_PATTERN_CHARS: Final = 2048
"""Compiled, a character takes some 15 bytes, and 512 patterns are kept."""


@dataclass(slots=True)
class LatestAnswers:
    """Answers `latest`; called on the trio loop."""

    in_force: Callable[[], Catalog]
    freshness: Freshness
    refresher: Refresher
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
        seen_ns, interruption = self.freshness.refreshed_at_ns, self.refresher.interruption
        moment = Moment(now_ns, now_ns if seen_ns is None else seen_ns)
        try:
            page = await self.turns.run(peer.uid, lambda: describe_page(catalog, request, moment), DEADLINE_S)
        except trio.TooSlowError:
            raise NoAnswerError("the daemon has too much to look up", "try again, or for fewer customers") from None
        return page | {"outdated": None if interruption is None else _describe(interruption, moment)}


class Moment(NamedTuple):
    """The present, which says what is expected, and when the state was seen as the catalog in force has it."""

    now_ns: int
    seen_ns: int


def describe_page(catalog: Catalog, request: LatestRequest, moment: Moment) -> dict[str, object]:
    """Return how far the next series have come, and where to go on; raise `UsageError`."""
    filters = _read_filters(request)
    said = request.agreement
    words = AgreementWords(
        cadence=said.get("cadence"),
        day_tz=said.get("day_tz") or "UTC",
        warn=said.get("warn"),
        crit=said.get("crit"),
        sla=said.get("sla"),
        deadline=said.get("deadline"),
        tz=said.get("tz"),
    )
    judge = Judge(words.agree(filters, moment.now_ns), moment.now_ns)
    criteria = describe_criteria(judge.agreement)
    keys = sorted(filter(_admit(filters), catalog.by_key))
    begin = 0 if request.after is None else bisect_right(keys, _parse_position(request.after))
    page = keys[begin : begin + PAGE]
    return {
        "fingerprint": catalog.fingerprint,
        "series": [describe_latest(_find(catalog, key, judge, filters), moment.seen_ns, criteria) for key in page],
        "next": render_parts(*page[-1]) if begin + PAGE < len(keys) else None,
    }


def _find(catalog: Catalog, key: SeriesKey, judge: Judge, filters: Filters) -> Latest:
    """Return how far a series has come, by those of its dates that can be read; it begins with the first of all."""
    series, group = catalog.by_key[key], catalog.tree.group(key)
    ambiguous = group.ambiguous if group is not None else frozenset()
    if not ambiguous and filters.since is None and filters.until is None:
        return find_latest(key, series.dates, series.newest_ns, judge, next(iter(series.dates), None))
    first, last = filters.date_range
    pairs = zip(series.dates, series.updated_at_ns, strict=True)
    inside = [pair for pair in pairs if first <= pair[0] <= last]
    kept = [pair for pair in inside if pair[0] not in ambiguous]
    newest_ns = max((time_ns for _, time_ns in kept), default=NOT_SET)
    return find_latest(key, [date for date, _ in kept], newest_ns, judge, inside[0][0] if inside else None)


def _describe(interruption: Outage, moment: Moment) -> str:
    seen = render_time(moment.seen_ns).decode()
    return f"the mount shows the state as it was at {seen}: {interruption.cause}"


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


def _admit(filters: Filters) -> Callable[[SeriesKey], bool]:
    """Return what tells whether the filters let a series pass; raise `UsageError` for too many patterns.

    `Filters.admits` would have each pattern kept that anybody ever sent.
    """
    lists = (filters.sources, filters.customers, filters.queries)
    globs = [[text for text in texts if not _PATTERN.isdisjoint(text)] for texts in lists]
    if sum(len(glob) for texts in globs for glob in texts) > _MOST_PATTERN_CHARS:
        raise UsageError(
            f"a mount reads at most {_MOST_PATTERN_CHARS} characters of patterns", "ask with fewer, or with exact names"
        )
    compiled = [[re.compile(translate(glob)) for glob in texts] for texts in globs]
    exact = [frozenset(texts) for texts in lists]

    def admits(series: SeriesKey) -> bool:
        for part, names, patterns in zip(series, exact, compiled, strict=True):
            text = part.decode("utf-8", "surrogateescape")
            if names and text not in names and not any(pattern.match(text) for pattern in patterns):
                return False
        return True

    return admits


def _parse_position(text: str) -> SeriesKey:
    parts = parse_parts(text)
    if len(parts) != len(SeriesKey._fields):
        raise UsageError("`after` is no position", "ask for what the answer before named as `next`")
    return SeriesKey(*parts)
