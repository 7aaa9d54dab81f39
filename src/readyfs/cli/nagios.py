"""The form of monitoring plugins (Nagios, Icinga, Checkmk): one line, performance data and the exit codes 0 to 3.

There everything that went wrong is UNKNOWN, a typing error as much as a store that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from typing import Final

from readyfs.cli.plugin import PluginState
from readyfs.consumer.agreement import Verdict
from readyfs.consumer.gap_tally import GapTally
from readyfs.consumer.gaps import Gap, SeriesGaps
from readyfs.partition import SeriesKey, render_date
from readyfs.text import escape_text

_EXAMPLES: Final = 3
_LONGEST_LINE: Final = 2000
"""Plugins are cut off at 4 KiB by some servers."""


_STATES: Final = {
    Verdict.PASS: PluginState.OK,
    Verdict.WARN: PluginState.WARNING,
    Verdict.ERROR: PluginState.CRITICAL,
}


def render_unknown(reason: str) -> str:
    """Return the line that says why nothing is known."""
    return f"READYFS UNKNOWN - {_plain(reason)}"


def render_gaps(found: Iterable[SeriesGaps], tally: GapTally) -> tuple[str, PluginState]:
    """Return the line on what is late, and the exit code; the worst ranges are named."""
    late = ((one.series, gap) for one in tally.counting(found) for gap in one.gaps if gap.verdict is not Verdict.PASS)
    worst = nsmallest(_EXAMPLES, late, key=lambda pair: (-pair[1].verdict.rank, pair[1].first))
    if not tally.series:
        # A filter with a typing error would be OK for ever.
        return render_unknown("no series is in the table or expected, or the filters pass none"), PluginState.UNKNOWN
    state = _STATES[tally.verdict]
    count = tally.warned + tally.alarmed
    text = f"{count} {'date' if count == 1 else 'dates'} late in {tally.late_series} of {tally.series} series"
    if worst:
        more = tally.late_series > len({series for series, _ in worst}) or count > sum(gap.dates for _, gap in worst)
        text += ": " + ", ".join(_name(*pair) for pair in worst) + (", ..." if more else "")
    return f"READYFS {state.name} - {_plain(text)} | {_performance(tally)}", state


def _name(series: SeriesKey, gap: Gap) -> str:
    span = "..".join(dict.fromkeys(render_date(date).decode() for date in (gap.first, gap.last)))
    return f"{'/'.join(map(escape_text, series))} {span} {gap.status}"


def _performance(tally: GapTally) -> str:
    values = [
        f"error_dates={tally.alarmed};;0;0",
        f"warn_dates={tally.warned};0;;0",
        f"known_dates={tally.known};;;0",
        f"waiting_dates={tally.waiting};;;0",
        f"series={tally.series};;;0",
        f"late_series={tally.late_series};;;0;{tally.series}",
    ]
    if tally.complete is not None:
        values.append(f"complete={int(tally.complete * 100_000) / 1000:g}%;;;0;100")
    return " ".join(values)


def _plain(text: str) -> str:
    """Return text in which nothing begins performance data or another line, and that is not too long."""
    line = escape_text(text).replace("|", "\\x7c")
    return line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + "..."
