"""While a catalog is held back, a store remembers what is not in force; the next catalog must be right all the same.

A loader that is kept, over a real store, is compared after each change with one that has never read before.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from readyfs.catalog.build import BuildReport, CatalogBuilder
from readyfs.catalog.tree import Catalog
from readyfs.partition import WithheldTally
from readyfs.refresh.loader import CatalogLoader
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.store import StateTable
from tests.catalog.rows import NOW_NS, shape
from tests.postgres.database import StateDatabase
from tests.state.state_files import create_table

UPSERT: Final = (
    "INSERT INTO partition_state(source, customer_id, query_name, logical_date, status, current_run_id, updated_at)"
    " VALUES ('{source}', 'c{customer}', 'q', '2024-06-{day:02}', 'success', '{run}', '2024-06-30T00:00:00+00:00')"
    " ON CONFLICT (source, customer_id, query_name, logical_date) DO UPDATE SET"
    " status = excluded.status, current_run_id = excluded.current_run_id"
)


def some_change(chance: random.Random) -> str:
    """Return one statement: mostly a row, now and then most of the table, or all that was put aside of it."""
    source = "s2" if chance.random() < 0.1 else "s1"
    customer, day = chance.randrange(8), chance.randrange(1, 11)
    match chance.choices(("row", "delete", "customer", "empty", "refill"), (4, 1, 1, 2, 4))[0]:
        case "row":
            run = chance.choice(("r1", "r2", "a/b"))
            return UPSERT.format(source=source, customer=customer, day=day, run=run)
        case "delete":
            return (
                f"DELETE FROM partition_state WHERE customer_id = 'c{customer}' AND logical_date = '2024-06-{day:02}'"
            )
        case "customer":
            return f"UPDATE partition_state SET status = 'pending' WHERE customer_id = 'c{customer}'"
        case "empty":
            return f"UPDATE partition_state SET status = 'pending' WHERE customer_id <> 'c{customer}'"
        case _:
            return "UPDATE partition_state SET status = 'success'"


def fill(execute: Callable[[str], object]) -> None:
    for customer in range(8):
        for day in range(1, 11):
            execute(UPSERT.format(source="s1", customer=customer, day=day, run="r1"))


def load_afresh(url: str) -> tuple[Catalog, BuildReport, WithheldTally]:
    with closing(open_state(url, StateTable(), Filters(), 10)) as store:
        load = store.load()
        catalog, report = CatalogBuilder(shape()).build(load.series, None, NOW_NS)
        return catalog, report, load.withheld


def follow(url: str, execute: Callable[[str], object], chance: random.Random, steps: int) -> None:
    """Change, load, and put into force or hold back what was loaded, at random."""
    held_back = came_back = 0
    with closing(open_state(url, StateTable(), Filters(), 10)) as store:
        loader = CatalogLoader(store, shape(), lambda: NOW_NS)
        in_force = loader.load_first().catalog
        latest = in_force.fingerprint
        for _ in range(steps):
            execute(some_change(chance))
            loaded = loader.load_if_changed(in_force, force=chance.random() < 0.1)
            catalog, report, withheld = load_afresh(url)
            if loaded is None:
                assert catalog.fingerprint == latest
                continue
            was_held, latest = latest != in_force.fingerprint, loaded.catalog.fingerprint
            assert (latest, loaded.catalog.partitions) == (catalog.fingerprint, catalog.partitions)
            withheld.merge(report.withheld)
            assert loaded.report.withheld.counts == withheld.counts
            is_same = latest == in_force.fingerprint
            assert is_same is (loaded.catalog is in_force), "or the times of its directories moved"
            came_back += was_held and is_same
            if chance.random() < 0.7:
                held_back += 1
            else:
                in_force = loaded.catalog
    assert held_back > steps // 3 and came_back, "or nothing was tried"


@pytest.mark.parametrize("seed", (1, 2))
def test_catalog_after_any_that_was_held_back_is_that_of_the_sqlite_file(tmp_path: Path, seed: int) -> None:
    """V4."""
    path = tmp_path / "state.db"
    create_table(path, keyed=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as state:
        state.execute("PRAGMA synchronous = OFF")
        fill(state.execute)
        follow(str(path), state.execute, random.Random(seed), steps=100)


def test_catalog_after_any_that_was_held_back_is_that_of_the_postgresql_table(postgres: StateDatabase) -> None:
    """V4."""
    with postgres.connect() as state:

        def execute(statement: str) -> None:
            state.execute(statement.encode())

        fill(execute)
        follow(postgres.url(), execute, random.Random(2), steps=25)
