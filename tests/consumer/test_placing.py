"""What a mount cannot show of the ready rows, said without a catalog just as a catalog says it."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.catalog.build import CatalogBuilder, CatalogShape
from readyfs.catalog.tree import AMBIGUOUS
from readyfs.consumer.placing import PlacedReader
from readyfs.layout import MountLayout, RawLayout
from readyfs.partition import PartitionKey, PartitionStatus, WithheldReason
from readyfs.state.filters import Filters
from readyfs.state.open import open_reader, open_state
from readyfs.state.store import StateTable
from tests.state.state_files import contract_row, create_table, insert

LONG = "x" * 300


def make(path: Path, seed: int, sources: list[str]) -> None:
    chance = random.Random(seed)
    create_table(path)
    rows = []
    for _ in range(150):
        rows.append(
            contract_row(
                source=chance.choice(sources),
                customer_id=chance.choice(["001", "b", "a/b", "", LONG, "..", ".readyfs"]),
                query_name=chance.choice(["daily", "q"]),
                logical_date=f"2024-06-{chance.randrange(1, 12):02}",
                status=chance.choice(["success", "success", "success", "pending"]),
                current_run_id=chance.choice(["r1", "r2", "a/b", ".", LONG, ""]),
            )
        )
    insert(path, *rows)


@pytest.mark.parametrize("layout", ["plain", "by-date", "{source}/{customer_id}/{query_name}/{logical_date}"])
@pytest.mark.parametrize("sources", [["s"], ["s", "t", "u"], ["s", "a/b"]], ids=["one", "three", "unusable"])
@pytest.mark.parametrize("seed", [1, 2])
def test_rows_are_withheld_as_a_catalog_withholds_them(
    tmp_path: Path, layout: str, sources: list[str], seed: int
) -> None:
    path = tmp_path / "state.db"
    make(path, seed, sources)
    shape = CatalogShape(MountLayout.parse(layout), RawLayout.parse())
    with closing(open_state(str(path), StateTable(), Filters(), 5)) as store:
        load = store.load()
        catalog, report = CatalogBuilder(shape).build(load.series, None, 1)
    reader = PlacedReader(open_reader(str(path), StateTable(), Filters(), 5), shape.layout, shape.raw_layout, "success")
    rows = list(reader.rows())
    shown = {}
    paths = set()
    for group in catalog.tree.series_groups():
        for date, meaning in group.meanings():
            if meaning is AMBIGUOUS:
                paths.add((group.series[0].key[1:], date))
            else:
                shown[meaning.key] = meaning.run_id
    ready = {
        PartitionKey(row.series, row.date): row.run_id
        for row in rows
        if row.status is PartitionStatus.READY and row.date
    }
    assert ready == shown
    found = Counter(row.withheld for row in rows if row.withheld is not None)
    claimed = {(row.series[1:], row.date) for row in rows if row.withheld is WithheldReason.AMBIGUOUS_PATH}
    if not shape.layout.shows_source:
        assert claimed == paths
    for reason in (WithheldReason.UNUSABLE_NAME, WithheldReason.UNUSABLE_RAW_PATH):
        assert found[reason] == report.withheld.counts.get(reason, 0), reason
    details = {row.detail for row in rows if row.withheld is WithheldReason.AMBIGUOUS_PATH}
    told = {one.detail for one in report.withheld.examples if one.reason is WithheldReason.AMBIGUOUS_PATH}
    assert details == told
    days = list(reader.series())
    assert [(one.series, date) for one in days for date in one.ready] == [
        (row.series, row.date) for row in rows if row.status is PartitionStatus.READY
    ]
    for status in PartitionStatus:
        assert list(reader.rows(frozenset({status}))) == [row for row in rows if row.status is status]
    for row in rows[::5]:
        if row.date is not None:
            expected = [one for one in rows if (one.series, one.date) == (row.series, row.date)]
            found = reader.find(PartitionKey(row.series, row.date))
            assert sorted(map(repr, found)) == sorted(map(repr, expected))
