"""Databases other than a SQLite file, as far as no server is needed, over SQLAlchemy's own way to SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from readyfs.errors import StateError
from readyfs.partition import NOT_SET, WithheldReason
from readyfs.state.database.store import DatabaseStore
from readyfs.state.filters import Filters
from readyfs.state.store import StateTable
from tests.state.rows.test_values import JUNE_1
from tests.state.state_files import CONTRACT_COLUMNS, KEY, RUN, UPDATED_NS, contract_row, create_table, insert


def store_of(path: Path, table: StateTable | None = None, filters: Filters | None = None) -> DatabaseStore:
    return DatabaseStore(sa.make_url(f"sqlite:///{path}"), table or StateTable(), filters or Filters(), 5)


def test_load_gives_the_ready_rows(state_file: Path) -> None:
    """V1, V15: the same rows as from a file, bad ones withheld."""
    insert(
        state_file,
        contract_row(logical_date="2024-06-02", status="failed"),
        contract_row(logical_date="2024-06-03", status="SUCCESS"),
        contract_row(logical_date="someday"),
        contract_row(logical_date="2024-06-04", current_run_id=None),
    )
    with closing(store_of(state_file)) as store:
        load = store.load()
        assert load.token is store.probe() is None
    rows = load.series[KEY]
    assert (list(rows.dates), rows.run_ids, rows.schema_versions) == ([JUNE_1], (RUN.encode(),), (b"v1",))
    assert list(rows.updated_at_ns) == [UPDATED_NS]
    assert load.withheld.counts == {WithheldReason.BAD_ROW: 1, WithheldReason.NO_RUN_ID: 1}
    assert load.rows == 3
    assert load.lock_ms > 0


def test_names_are_settings_and_optional_columns_may_be_absent(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    columns = [column.replace("source", '"the source"') for column in CONTRACT_COLUMNS[:6]]
    create_table(path, columns=columns, table='"the table"')
    row = {f'"the {name}"' if name == "source" else name: value for name, value in list(contract_row().items())[:6]}
    insert(path, row, table='"the table"')
    with closing(store_of(path, StateTable("main.the table", source="the source"))) as store:
        assert list(store.load().series[KEY].record_counts) == [NOT_SET]


def test_missing_table_and_column_list_what_is_there(state_file: Path) -> None:
    with pytest.raises(StateError, match=r"no table other \(tables there: partition_state\)"):
        store_of(state_file, StateTable("other"))
    with pytest.raises(StateError, match=r"no column client \(columns there: attempt_count, "):
        store_of(state_file, StateTable(customer_id="client"))


def test_times_that_are_no_column_of_time_make_every_load_whole(state_file: Path) -> None:
    """V3: nothing is missed where no watermark can be trusted."""
    with closing(DatabaseStore(sa.make_url(f"sqlite:///{state_file}"), StateTable(), Filters(), 5, 600)) as store:
        assert [store.load().changed for _ in range(2)] == [None, None]


def test_full_comparison_comes_after_its_interval_and_not_before(tmp_path: Path) -> None:
    """V3: the interval is what bounds what a watermark misses."""
    path = tmp_path / "state.db"
    columns = [column.replace("TIMESTAMPTZ", "DATETIME") for column in CONTRACT_COLUMNS]
    create_table(path, columns=columns, keyed=True)
    insert(path, contract_row())
    now_s = 1000.0
    url = sa.make_url(f"sqlite:///{path}")
    with closing(DatabaseStore(url, StateTable(), Filters(), 5, 600, lambda: now_s)) as store:
        assert store.load().changed is None
        now_s += 599
        assert store.load().changed == {}
        now_s += 1
        assert store.load().changed is None, "counted from the load before that read everything"
        assert store.load().changed == {}
        insert(path, contract_row(logical_date="2024-06-02"), contract_row(logical_date="2024-06-03"))
        load = store.load()
        assert (set(load.changed or ()), list(load.series[KEY].dates)) == ({KEY}, [JUNE_1, JUNE_1 + 1, JUNE_1 + 2])
    with closing(DatabaseStore(url, StateTable(), Filters(), 5)) as store:
        assert [store.load().changed for _ in range(2)] == [None, None], "0 is each load"


def test_partition_that_stands_twice_makes_every_load_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_table(path, columns=[column.replace("TIMESTAMPTZ", "DATETIME") for column in CONTRACT_COLUMNS])
    insert(path, contract_row())
    with closing(DatabaseStore(sa.make_url(f"sqlite:///{path}"), StateTable(), Filters(), 5, 600)) as store:
        store.load()
        assert store.load().changed == {}
        insert(path, contract_row(current_run_id="r2"))
        for _ in range(2):
            load = store.load()
            assert (load.changed, load.rows) == (None, 2)


def test_error_while_fetching_is_an_outage(state_file: Path) -> None:
    """V11: the driver's own errors, too."""
    with closing(store_of(state_file)) as store:
        store.load()
        with closing(sqlite3.connect(state_file, isolation_level=None)) as writer:
            writer.execute("ALTER TABLE partition_state RENAME TO away")
            with pytest.raises(StateError, match="no table partition_state"):
                store.load()
            writer.execute("CREATE VIEW partition_state AS SELECT *, abs(-9223372036854775808) AS broken FROM away")
            with pytest.raises(StateError, match="integer overflow"):
                url = sa.make_url(f"sqlite:///{state_file}")
                DatabaseStore(url, StateTable(schema_version="broken"), Filters(), 5).load()
            writer.execute("DROP VIEW partition_state")
            writer.execute("ALTER TABLE away RENAME TO partition_state")
        assert store.load().rows == 1


def test_blanks_that_fill_a_column_of_fixed_width_are_no_part_of_a_value(tmp_path: Path) -> None:
    """As servers that pad CHAR(n) hand it over; a view of it says the same, and so do filters."""
    path = tmp_path / "state.db"
    create_table(path, columns=[column.replace("TEXT", "CHAR(12)") for column in CONTRACT_COLUMNS])
    padded = {name: f"{value!s:12}" for name, value in contract_row().items() if name in ("source", "customer_id")}
    insert(path, contract_row(**padded, status="success     ", current_run_id="r1          "))
    insert(path, contract_row(customer_id="other"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE VIEW seen AS SELECT * FROM partition_state")
    for name in ("partition_state", "seen"):
        with closing(store_of(path, StateTable(name, ready="success     "))) as store:
            assert {key: rows.run_ids for key, rows in store.load().series.items()} == {KEY: (b"r1",)}
