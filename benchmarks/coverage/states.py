"""States of which a page is made: customers and queries by dates up to yesterday, nearly all of them ready.

They differ in what deflates badly: which run ids there are, and whether every row has a time and a count of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID

QUERIES: Final = 10
DATES: Final = 500
KINDS: Final = ("shared", "own", "uuid", "failed")
_COLUMNS: Final = (
    "source TEXT, customer_id TEXT, query_name TEXT, logical_date TEXT, status TEXT, current_run_id TEXT,"
    " schema_version TEXT, record_count INTEGER, updated_at TEXT, error_message TEXT, attempt_count INTEGER,"
    " PRIMARY KEY (source, customer_id, query_name, logical_date)"
)


def make_state(path: Path, kind: str, rows: int) -> None:
    """Write a SQLite state of a kind.

    `shared` run ids are of all partitions of one morning, `own` ones of one partition each, both times of ISO 8601;
    `uuid` ones are random. In `failed` every row has failed at a time of its own, with one of some messages.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"CREATE TABLE partition_state({_COLUMNS})")
        connection.executemany(f"INSERT INTO partition_state VALUES ({', '.join('?' * 11)})", _rows(kind, rows))


def _rows(kind: str, rows: int) -> Iterator[tuple[object, ...]]:
    random = Random(1)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    mornings = [today - timedelta(days=back - 1) for back in range(DATES, 0, -1)]
    shared = [_render(morning + timedelta(seconds=random.randrange(4 * 3600, 6 * 3600))) for morning in mornings]
    dates = [(morning - timedelta(days=1)).date().isoformat() for morning in mornings]
    for number in range(-(-rows // DATES)):
        customer, query = 1_000_000_000 + 7919 * (number // QUERIES), f"query_{number % QUERIES:02}"
        size = 10 ** random.uniform(2, 5)
        for place in range(min(DATES, rows - number * DATES)):
            ended = mornings[place] + timedelta(milliseconds=random.randrange(4 * 3_600_000, 8 * 3_600_000))
            run_id = shared[place]
            if kind == "own":
                run_id = _render(ended - timedelta(milliseconds=random.randrange(10_000, 900_000)))
            elif kind == "uuid":
                run_id = str(UUID(int=random.getrandbits(128), version=4))
            status, message, attempts = "success", None, 1
            if kind == "failed" or random.random() < 0.01:
                status, attempts = "failed", random.randrange(1, 6)
                message = f"upstream answered {random.choice((429, 500, 502, 503))}"
            updated = ended if kind != "shared" else mornings[place] + timedelta(hours=7)
            count = int(size * random.uniform(0.8, 1.2))
            yield (
                *("google_ads", str(customer), query, dates[place], status, run_id),
                *("3", count, updated.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00"), message, attempts),
            )


def _render(time: datetime) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S')}.{time.microsecond // 1000:03}Z"
