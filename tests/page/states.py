"""States of which pages are made: one with every kind of date, and one whose names and texts are hostile."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

Cells = tuple[object, ...]

FIRST: Final = "2024-05-20"
KNOWN: Final = (
    "source,customer_id,query_name,first_date,last_date,reason\n"
    "*,*,*,2024-06-06,2024-06-06,moved <b>house</b>\n"
    "*,*,*,2024-06-07,2024-06-07,\n"
)
"""Two days that are known to have gaps, one of them without a reason."""
AGREEMENT: Final = ("--warn", "24h", "--crit", "36h")

_COLUMNS: Final = (
    "source TEXT, customer_id TEXT, query_name TEXT, logical_date TEXT, status TEXT, current_run_id TEXT,"
    " schema_version TEXT, record_count INTEGER, updated_at TEXT, error_message TEXT, attempt_count INTEGER"
)
_READY: Final = [f"2024-05-{day}" for day in range(20, 32)]
_LATER: Final = ("2024-06-06", "2024-06-07", "2024-06-11", "2024-06-12", "2024-06-13", "2024-06-14")
"""As of the 14th at nine: two that are known, then late, worth a warning, not late yet, and not over."""
HOSTILE: Final = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "-->",
    "]]>",
    '"\' onload=alert(1) x="',
    "&lt;b&gt;&amp;",
    "{{asked}} {since}",
    "a\nb\tc",
    "right\u202eto left\u2066",
    "$& $1 $`",
    "line\u2028separator",
    "%2F*?[a]",
    "\x01date\x7f",
    "日本語 é e\u0301",
)


def write_state(path: Path, rows: Iterable[Cells]) -> Path:
    """Write a SQLite state, in whose table a key may stand twice."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE partition_state({_COLUMNS})")
        connection.executemany(f"INSERT INTO partition_state VALUES ({', '.join('?' * 11)})", rows)
    return path


def every_kind() -> list[Cells]:
    """Return rows with each status, each as known, late, nearly late, not late yet, and not judged."""
    rows: list[Cells] = []
    for query, word, run, message, attempts in (
        ("failed", "failed", None, "upstream answered <503>", 4),
        ("failed_silently", "failed", "r7", None, None),
        ("pending", "queued", None, None, 1),
        ("reprocessing", "pending", "2024-06-01T04:00:00.250Z", None, 2),
        ("withheld", "success", "../escape", None, 1),
        ("wordless", "", None, None, 1),
        ("no_run", "success", None, None, 1),
    ):
        rows += _ready("ads", "0012345678", query)
        for date in _LATER:
            rows.append(("ads", "0012345678", query, date, word, run, "v3", None, _morning(date), message, attempts))
    rows += _ready("ads", "0012345678", "missing")
    # Two sources claim one path, and so do two rows of one source.
    for source in ("ads", "web"):
        rows += _ready(source, "0012345678", f"of_{source}")
        rows.append((source, "0012345678", "claimed", "2024-06-10", "success", f"run-{source}", "v3", 7, None, None, 1))
    for run in ("run-1", "run-2"):
        rows.append(("ads", "0012345678", "twice", "2024-06-10", "success", run, "v3", 7, None, None, 1))
    for date, word, run, records, updated in (
        ("2024-06-08", "success", "r1", 1, "1999-12-31T00:00:00+00:00"),
        ("2024-06-09", "success", "r1", "many", None),
        ("2024-06-10", "success", "r1", 2**53 + 1, None),
        ("no date", "failed", "r1", 1, None),
        ("2024-06-14", "success", "r" * 200, 1, _morning("2024-06-14")),
    ):
        rows.append(("ads", "0012345678", "odd", date, word, run, "v3", records, updated, None, 1))
    return rows


def hostile(texts: Iterable[str] = HOSTILE) -> list[Cells]:
    """Return rows in which such texts are in every place that holds a text."""
    rows: list[Cells] = []
    for text in texts:
        for date, word, run, updated in (
            ("2024-06-09", "success", f"run {text}", _morning("2024-06-09")),
            ("2024-06-10", text, None, _morning("2024-06-10")),
            ("2024-06-11", "failed", text, text),
            ("2024-06-12", text, text, None),
        ):
            rows.append((text, text, text, date, word, run, text, 1, updated, text, 1))
    raw = b"latin \xe9\xff"
    rows.append((raw, raw, raw, "2024-06-10", "failed", raw, raw, 1, _morning("2024-06-10"), raw, 1))
    return rows


def _ready(source: str, customer: str, query: str) -> list[Cells]:
    rows: list[Cells] = []
    for place, date in enumerate(_READY):
        run = f"{date}T06:00:00.{place:03}Z"
        rows.append((source, customer, query, date, "success", run, "v3", place * 1000, _morning(date), None, 1))
    return rows


def _morning(date: str) -> str:
    return f"{date}T23:30:00.500000+00:00"
