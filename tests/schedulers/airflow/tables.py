"""Those tables of Airflow that the page's view reads, and what Airflow writes there.

The columns are those of Airflow 3.3.2 by name and type, as its migration makes them: what the view reads, the keys,
and whatever has to be given. The tests with the real one hold them, and the operations below, to what it does:

- A run is unique by its id, and by its logical date if it has one, in each DAG. A task's instance is unique by its run
  and the index in a mapped task, -1 where it is none. It goes with its run.
- A try is counted when the task is queued. Clearing keeps the number, forgets the state and counts for the run.
- Marking changes the state, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

RUN_COLUMNS: Final = {
    "id": "INTEGER NOT NULL PRIMARY KEY",
    "dag_id": "VARCHAR(250) NOT NULL",
    "logical_date": "TIMESTAMP",
    "state": "VARCHAR(50)",
    "run_id": "VARCHAR(250) NOT NULL",
    "run_type": "VARCHAR(50) NOT NULL",
    "run_after": "TIMESTAMP NOT NULL",
    "updated_at": "TIMESTAMP",
    "clear_number": "INTEGER DEFAULT '0' NOT NULL",
}
TASK_COLUMNS: Final = {
    "id": "CHAR(32) NOT NULL PRIMARY KEY",
    "task_id": "VARCHAR(250) NOT NULL",
    "dag_id": "VARCHAR(250) NOT NULL",
    "run_id": "VARCHAR(250) NOT NULL",
    "map_index": "INTEGER DEFAULT '-1' NOT NULL",
    "state": "VARCHAR(20)",
    "try_number": "INTEGER NOT NULL",
    "updated_at": "TIMESTAMP",
}
"""As SQLite has them; PostgreSQL's times have a time zone, and its keys are UUIDs."""

DAG: Final = "daily_c1"
TASK: Final = "publish"


def create_tables(time: str) -> list[str]:
    """Return the statements that make the tables, where times are of this type."""

    def columns(of: dict[str, str]) -> str:
        return ", ".join(f"{name} {kind}" for name, kind in of.items()).replace("TIMESTAMP", time)

    return [
        f"CREATE TABLE dag_run ({columns(RUN_COLUMNS)}, UNIQUE (dag_id, run_id), UNIQUE (dag_id, logical_date))",
        f"CREATE TABLE task_instance ({columns(TASK_COLUMNS)}, UNIQUE (dag_id, task_id, run_id, map_index),"
        " FOREIGN KEY (dag_id, run_id) REFERENCES dag_run (dag_id, run_id) ON DELETE CASCADE)",
    ]


class Database(Protocol):
    """Where the tables are."""

    url: str

    def execute(self, statement: str) -> None:
        """Execute one statement, committed at once."""

    def script(self, text: str) -> None:
        """Execute the page's statements."""


@dataclass
class Airflow:
    """A scheduler's part: what it and its users write. Times move on by a second each."""

    database: Database
    seconds: int = 0
    rows: int = 0

    def run(self, run_id: str, logical_date: str | None, *, dag: str = DAG) -> None:
        """Queue a run."""
        self.rows += 1
        date = "NULL" if logical_date is None else f"'{logical_date}'"
        self.database.execute(
            "INSERT INTO dag_run (id, dag_id, logical_date, state, run_id, run_type, run_after, updated_at)"
            f" VALUES ({self.rows}, '{dag}', {date}, 'queued', '{run_id}', 'scheduled', {self._now()}, {self._now()})"
        )

    def task(self, run_id: str, state: str | None, try_number: int, *, dag: str = DAG, map_index: int = -1) -> None:
        """Have an instance of the task that publishes be in a state."""
        self.rows += 1
        said = "NULL" if state is None else f"'{state}'"
        self.database.execute(
            "INSERT INTO task_instance (id, task_id, dag_id, run_id, map_index, state, try_number, updated_at) VALUES"
            f" ('{self.rows:032x}', '{TASK}', '{dag}', '{run_id}', {map_index}, {said}, {try_number}, {self._now()})"
            " ON CONFLICT (dag_id, task_id, run_id, map_index) DO UPDATE SET"
            " state = excluded.state, try_number = excluded.try_number, updated_at = excluded.updated_at"
        )

    def clear(self, run_id: str) -> None:
        """Clear a run and its tasks."""
        self.database.execute(
            f"UPDATE task_instance SET state = NULL, updated_at = {self._now()} WHERE run_id = '{run_id}'"
        )
        self.database.execute(
            "UPDATE dag_run SET state = 'queued', clear_number = clear_number + 1,"
            f" updated_at = {self._now()} WHERE run_id = '{run_id}'"
        )

    def set_run(self, run_id: str, state: str) -> None:
        """Have a run be in a state."""
        self.database.execute(
            f"UPDATE dag_run SET state = '{state}', updated_at = {self._now()} WHERE run_id = '{run_id}'"
        )

    def delete(self, run_id: str) -> None:
        """Delete a run."""
        self.database.execute(f"DELETE FROM dag_run WHERE run_id = '{run_id}'")

    def _now(self) -> str:
        self.seconds += 1
        return f"'2024-06-02 05:{self.seconds // 60:02}:{self.seconds % 60:02}.000000'"
