"""The gaps of series as lines for people, and as JSON objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from readyfs.cli.table import Column
from readyfs.consumer.agreement import Verdict
from readyfs.consumer.gap_tally import GapTally
from readyfs.consumer.gaps import Gap, SeriesGaps
from readyfs.consumer.series_fields import describe_cadence, describe_series, show_date
from readyfs.text import decode_text, escape_text

_COLOURS: Final[Mapping[str, str]] = {"crit": "red", "warn": "yellow", "guess": "cyan"}

COLUMNS: Final = (
    Column("LEVEL", colour=lambda word: _COLOURS.get(word, "")),
    Column("SOURCE"),
    Column("CUSTOMER"),
    Column("QUERY"),
    Column("IS"),
    Column("FROM"),
    Column("TO"),
    Column("DATES", is_number=True),
    Column("COMPLETE", is_number=True),
    Column("FIRST LATE"),
    Column("DETAIL"),
)


def list_rows(found: Iterable[SeriesGaps]) -> Iterator[tuple[str, ...]]:
    """Yield a line for each range of dates; what is of the whole series stands on its first."""
    for one in found:
        for place, gap in enumerate(one.gaps):
            whole = (show_share(one.complete), show_date(one.first_gap) or "") if place == 0 else ("", "")
            yield (
                _word(gap),
                *map(escape_text, one.series),
                str(gap.status),
                show_date(gap.first) or "",
                show_date(gap.last) or "",
                str(gap.dates),
                *whole,
                gap.detail
                if gap.known is None
                else escape_text(gap.known.reason.encode("utf-8", "surrogateescape")) or gap.detail,
            )


def sum_up(tally: GapTally) -> str:
    """Return one line on all series."""
    late = tally.warned + tally.alarmed
    parts = ["nothing is late"]
    if late:
        counts = f"{tally.alarmed} {Verdict.ERROR.word}, {tally.warned} {Verdict.WARN.word}"
        parts = [f"{_count(late, 'date')} of {tally.late_series} series late ({counts})"]
    if tally.waiting:
        are = "is" if tally.waiting == 1 else "are"
        parts.append(
            f"{_count(tally.waiting, 'date')} of {tally.waiting_series} series {are} not ready and not late yet"
        )
    if tally.expecting_series:
        parts.append(f"{tally.complete_series} of {tally.expecting_series} series complete")
    if tally.complete is not None:
        parts.append(f"{show_share(tally.complete)} of the expected dates ready")
    if tally.known:
        parts.append(f"{_count(tally.known, 'known date')} left aside")
    if tally.guessed:
        parts.append(f"{_count(tally.guessed, 'date')} missing by a guess")
    return "; ".join(parts)


def show_share(share: float | None) -> str:
    """Return a share in percent, in which only what is whole is shown as such."""
    if share is None:
        return "-"
    shown = int(share * 1000) / 10
    return f"{shown:.0f}%" if share == 1 else f"{shown:.1f}%"


def describe_gaps(one: SeriesGaps, now_ns: int, criteria: Mapping[str, object]) -> dict[str, object]:
    """Return a series with its gaps as a JSON object."""
    return {
        **describe_series(one.series, one.verdict, one.newest_ns, now_ns, criteria),
        **describe_cadence(one.cadence, one.guessed),
        "newest_date": show_date(one.newest),
        "first_late_date": show_date(one.first_gap),
        "expected_dates": one.expected,
        "ready_dates": one.ready,
        "waiting_dates": one.waiting,
        "complete": one.complete,
        "warn_dates": one.count(Verdict.WARN),
        "error_dates": one.count(Verdict.ERROR),
        "known_dates": one.known,
        "guessed_dates": one.guessed_dates,
        "gaps": [_describe_gap(gap) for gap in one.gaps],
    }


def _describe_gap(gap: Gap) -> dict[str, object]:
    return {
        "status": str(gap.verdict),
        "partition_status": str(gap.status),
        "first_date": show_date(gap.first),
        "last_date": show_date(gap.last),
        "dates": gap.dates,
        "known": gap.known is not None,
        "known_reason": None if gap.known is None else decode_text(gap.known.reason.encode("utf-8", "surrogateescape")),
        "guessed": gap.guessed,
        "detail": gap.detail,
    }


def _word(gap: Gap) -> str:
    if gap.known is not None:
        return "known"
    return "guess" if gap.guessed else gap.verdict.word


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number != 1 else "")
