"""A small state with a date of every kind, and with names that would do harm in a page that took them for markup."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from readyfs.demo.producer import Producer

HOSTILE: Final = (
    "</script><script>window.harm = 1</script>",
    "<img src=x onerror='window.harm = 1'>",
    '"><svg onload=window.harm=1>',
    "' autofocus onfocus=window.harm=1 x='",
    "<!--<script>",
    "javascript:window.harm=1",
    "${window.harm = 1}{{window.harm = 1}}",
    "&lt;b&gt;",
    "\u202egnp.exe",
    "a\nb\tc",
    "__proto__",
    "%3Cb%3E#?&=..",
)
"""As customers; each is a source, a query and a message of an error as well."""

AGREEMENT: Final = ("--warn", "20h", "--crit", "44h", "--reprocessing-crit", "60h")


class Row(NamedTuple):
    """A row of the state table."""

    source: str
    customer: str
    query: str
    date: str
    status: str
    run_id: str | None
    schema: str
    records: int | None
    updated_at: str
    message: str | None
    attempts: int


def fill(directory: Path) -> None:
    """Write the state, and the list of gaps that are known, for 2024-06-14 at nine in the morning."""
    state = directory / "state.db"
    Producer(state, directory / "raw").close()
    with closing(sqlite3.connect(state)) as connection, connection:
        connection.executemany(f"INSERT INTO partition_state VALUES ({', '.join('?' * 11)})", _rows())
    (directory / "known.csv").write_text(
        "source,customer_id,query_name,first_date,last_date,reason\nads,c1,q1,2024-06-03,2024-06-03,moved\n"
    )


def _rows() -> Iterator[Row]:
    for day in (1, 2, 5, 6, 8, 11):
        yield _row("c1", "q1", day)
    yield _row("c1", "q1", 4, "failed", message="quota exceeded")
    yield _row("c1", "q1", 7, run_id="../r1")
    yield _row("c1", "q1", 9, "pending", run_id="r1")
    yield _row("c1", "q1", 12, "pending")
    yield _row("c1", "q1", 13, "failed")
    # A day that has not ended.
    yield _row("c1", "q1", 14, "pending")
    for day in range(1, 14):
        yield _row("c1", "q2", day)
    for day in (3, 4, 5, 11, 12):
        yield _row("c2", "q1", day)
    for name in HOSTILE:
        yield _row(name, name, 12, source=name, run_id="<b>r1</b>")
        yield _row(name, name, 11, "failed", source=name, message=name)


def _row(
    customer: str,
    query: str,
    day: int,
    status: str = "success",
    *,
    source: str = "ads",
    run_id: str | None = None,
    message: str | None = None,
) -> Row:
    run_id = f"2024-06-{day + 1:02}T04:05:06.789Z" if run_id is None and status == "success" else run_id
    updated_at = f"2024-06-{day + 1:02} 05:00:00+00:00"
    return Row(source, customer, query, f"2024-06-{day:02}", status, run_id, "1", 1000 + day, updated_at, message, 2)
