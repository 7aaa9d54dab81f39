"""Dagster's event log as its published schema has it, and what its storage does with it: a recording of 1.13.

Of the three tables only the columns that the views of docs/schedulers/dagster.md read, and those that must be filled.
`tests/clients/test_dagster.py` tells the same story with a real Dagster, and compares the columns.

- An event of an asset has the key as a JSON list, and its time in UTC without a zone.
- Of the tags of an event, the data version and the parts of the partition are kept.
- The end of a run is an event without an asset: `PIPELINE_SUCCESS`, `PIPELINE_FAILURE`, `PIPELINE_CANCELED`.
- Who wipes an asset on SQLite deletes its events. Their tags stay, and the numbers of the last ones are given again.
- On PostgreSQL the events stay. `asset_details` says when the wipe was; `wipe_timestamp` does so in the session's zone.
- Who deletes a run deletes its events, and the tags of its materializations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

ASSET: Final = json.dumps(["google_ads", "campaign_daily"])
COLUMNS: Final = {
    "event_logs": "id run_id event dagster_event_type timestamp asset_key partition",
    "asset_keys": "id asset_key asset_details wipe_timestamp",
    "asset_event_tags": "id event_id asset_key key value event_timestamp",
}
_SQLITE: Final = """
CREATE TABLE event_logs(id INTEGER NOT NULL PRIMARY KEY, run_id VARCHAR(255), event TEXT NOT NULL,
    dagster_event_type TEXT, timestamp TIMESTAMP, asset_key TEXT, partition TEXT);
CREATE TABLE asset_keys(id INTEGER NOT NULL PRIMARY KEY, asset_key TEXT UNIQUE, asset_details TEXT,
    wipe_timestamp TIMESTAMP);
CREATE TABLE asset_event_tags(id INTEGER NOT NULL PRIMARY KEY, event_id INTEGER, asset_key TEXT NOT NULL,
    key TEXT NOT NULL, value TEXT, event_timestamp TIMESTAMP);
"""
SCHEMAS: Final = {
    "sqlite": _SQLITE,
    "postgresql": _SQLITE.replace(" id INTEGER NOT NULL", " id BIGSERIAL NOT NULL")
    .replace("(id INTEGER NOT NULL", "(id BIGSERIAL NOT NULL")
    .replace("event_id INTEGER", "event_id BIGINT"),
}


@dataclass(slots=True)
class DagsterTables:
    """The tables in one database; `execute` runs one statement with `?` for values, committed, and returns its rows."""

    kind: str
    execute: Callable[..., list[tuple[Any, ...]]]
    runs: int = 0
    now: datetime = datetime(2024, 6, 10, 12, tzinfo=UTC)

    def __post_init__(self) -> None:
        for statement in SCHEMAS[self.kind].split(";"):
            if statement.strip():
                self.execute(statement)
        self.execute("INSERT INTO asset_keys(asset_key) VALUES (?)", ASSET)

    def materialize(self, partition: str, version: str | None) -> str:
        """Run the asset for a partition; return the id of the run."""
        return self.materialize_range([partition], version)

    def materialize_range(self, partitions: list[str], version: str | None) -> str:
        """Run the asset once for several partitions; return the id of the run."""
        run = self.plan(*partitions)
        for partition in partitions:
            self._materialize(run, partition, version)
        self._event(run, "PIPELINE_SUCCESS")
        return run

    def plan(self, *partitions: str) -> str:
        """Begin a run; return its id."""
        self.runs += 1
        run = f"run-{self.runs}"
        for partition in partitions:
            self._event(run, "ASSET_MATERIALIZATION_PLANNED", partition)
        return run

    def fail(self, partition: str, end: str = "PIPELINE_FAILURE") -> str:
        """Run the asset for a partition, in vain; return the id of the run."""
        run = self.plan(partition)
        self._event(run, end)
        return run

    def report(self, partition: str, version: str | None) -> None:
        """Report a materialization that no run of Dagster made."""
        self._materialize("", partition, version)

    def wipe(self) -> None:
        """Wipe the asset."""
        self.now += timedelta(seconds=1)
        here = self.now.replace(tzinfo=None)
        if self.kind == "sqlite":
            self.execute("DELETE FROM event_logs WHERE asset_key = ?", ASSET)
        else:
            here += timedelta(hours=5, minutes=45)
        details = json.dumps({"__class__": "AssetDetails", "last_wipe_timestamp": self.now.timestamp()})
        self.execute("UPDATE asset_keys SET asset_details = ?, wipe_timestamp = ?", details, here.isoformat(" "))

    def delete(self, run: str) -> None:
        """Delete a run."""
        self.execute("DELETE FROM asset_event_tags WHERE event_id IN (SELECT id FROM event_logs WHERE run_id = ?)", run)
        self.execute("DELETE FROM event_logs WHERE run_id = ?", run)

    def _materialize(self, run: str, partition: str, version: str | None) -> None:
        number = self._event(run, "ASSET_MATERIALIZATION", partition)
        if version is not None:
            self.execute(
                "INSERT INTO asset_event_tags(event_id, asset_key, key, value, event_timestamp) VALUES (?, ?, ?, ?, ?)",
                *(number, ASSET, "dagster/data_version", version, self._moment()),
            )

    def _event(self, run: str, kind: str, partition: str | None = None) -> int:
        self.now += timedelta(seconds=1)
        values = (run, "{}", kind, self._moment(), None if partition is None else ASSET, partition)
        rows = self.execute(
            "INSERT INTO event_logs(run_id, event, dagster_event_type, timestamp, asset_key, partition)"
            " VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
            *values,
        )
        return int(rows[0][0])

    def _moment(self) -> str:
        return f"{self.now:%Y-%m-%d %H:%M:%S.%f}"
