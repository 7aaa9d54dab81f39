"""An outage of a SQLite state throws nothing away: what is read after it is compared with what was read before."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.errors import StateError
from readyfs.partition import SeriesKey
from readyfs.refresh.loader import CatalogLoader
from readyfs.state.filters import Filters
from readyfs.state.sqlite.store import SqliteStore
from readyfs.state.store import StateLoad, StateTable
from tests.catalog.rows import shape
from tests.state.state_files import CONTRACT_COLUMNS, contract_row, create_table, insert, run_sql


class WatchedStore(SqliteStore):
    """Notes which series each load names."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, StateTable(), Filters(), 0.1)
        self.changed: list[object] = []

    def load(self) -> StateLoad:
        load = super().load()
        self.changed.append(None if load.changed is None else set(load.changed))
        return load


def take_away(state: Path) -> None:
    state.rename(state.with_name("away.db"))


def bring_back(state: Path) -> None:
    state.with_name("away.db").rename(state)


def drop_column(state: Path) -> None:
    run_sql(state, "ALTER TABLE partition_state RENAME COLUMN status TO gone")


def restore_column(state: Path) -> None:
    run_sql(state, "ALTER TABLE partition_state RENAME COLUMN gone TO status")


def cut(state: Path) -> None:
    """Cut the file within its last page: the load finds it only once its transaction is open."""
    state.with_name("whole.db").write_bytes(state.read_bytes())
    os.truncate(state, state.stat().st_size - 100)


def mend(state: Path) -> None:
    state.with_name("whole.db").rename(state)


@pytest.mark.parametrize("force", [False, True], ids=["timer", "asked"])
@pytest.mark.parametrize(
    ("damage", "repair"),
    [(take_away, bring_back), (drop_column, restore_column), (cut, mend)],
    ids=["away", "altered", "cut"],
)
def test_only_what_changed_is_made_anew_after_an_outage(
    tmp_path: Path, damage: object, repair: object, force: bool
) -> None:
    state = tmp_path / "state.db"
    create_table(state, columns=CONTRACT_COLUMNS, keyed=True)
    insert(state, *[contract_row(customer_id=f"{number:03}") for number in range(300)])
    store = WatchedStore(state)
    loader = CatalogLoader(store, shape())
    catalog = loader.load_first().catalog
    assert callable(damage) and callable(repair)
    damage(state)
    for _ in range(2):
        with pytest.raises(StateError):
            loader.load_if_changed(catalog, force=force)
    repair(state)
    with closing(sqlite3.connect(state)) as producer:
        producer.execute("UPDATE partition_state SET current_run_id = 'new' WHERE customer_id = '007'")
        producer.commit()
    loaded = loader.load_if_changed(catalog, force=False)
    assert loaded is not None
    assert loaded.catalog.fingerprint != catalog.fingerprint
    assert store.changed == [None, {SeriesKey(b"ads", b"007", b"daily")}]
