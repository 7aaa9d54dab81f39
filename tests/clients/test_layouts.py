"""V12: the partition discovery of DuckDB and pyarrow gives back every id, in the layouts that they understand.

`test_spark` has the same of Spark. What does not come back, and what to do about it, is in docs/clients.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.dataset
import pytest

from tests.clients.hostile_ids import IDS, NULL, OF_HIVE, TRUTH, fill
from tests.mount.daemon import Daemon, Place, mounted

KEYS = pyarrow.schema([(name, pyarrow.string()) for name in ("customer_id", "query_name", "logical_date")])
RECORDS = pyarrow.schema([*KEYS, ("number", pyarrow.int64())])
BY_DAY = "year={year}/month={month}/day={day}/customer_id=c-{customer_id}/query_name={query_name}"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        fill(found)
        yield found


@pytest.fixture(params=["pyfuse3", "passthrough"])
def hive(place: Place, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    with mounted(place, *OF_HIVE, engine=request.param) as daemon:
        yield daemon


def test_duckdb_gives_back_every_id(hive: Daemon) -> None:
    """With types given, with none guessed, and guessed from ids that are not all numbers; a filter finds each."""
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    table = f"read_json('{hive.path}/*/*/*/payload.jsonl', columns = {{number: 'BIGINT'}}, hive_partitioning = true"
    for types in (", hive_types = {'customer_id': VARCHAR}", ", hive_types_autocast = false", ""):
        found = connection.execute(f"SELECT number, customer_id FROM {table}{types})").fetchall()
        assert dict(found) == TRUTH, types
    query = f"SELECT number FROM {table}, hive_types = {{'customer_id': VARCHAR}}) WHERE customer_id = ?"
    for value in ("0012", "a=b", "x\ny"):
        assert connection.execute(query, [value]).fetchall() == [(IDS.index(value),)]


def test_pyarrow_gives_back_every_id(hive: Daemon) -> None:
    """In the Hive layout no name begins with a dot or an underscore, so none is skipped."""
    records = pyarrow.dataset.dataset(
        hive.path,
        format="json",
        partitioning=pyarrow.dataset.HivePartitioning(KEYS),
        schema=RECORDS,
        ignore_prefixes=[".", "_", "metadata"],
    )
    table = records.to_table()
    assert dict(zip(table["number"].to_pylist(), table["customer_id"].to_pylist(), strict=True)) == TRUTH
    for value in ("0012", "a=b", "%2F", "a/b", "x\ny"):
        chosen = records.to_table(filter=pyarrow.dataset.field("customer_id") == value)
        assert chosen["number"].to_pylist() == [IDS.index(value)]


def test_pyarrow_gives_back_every_id_by_date_where_no_name_is_skipped(place: Place) -> None:
    """Without keys in the names, what begins with a dot or an underscore needs other prefixes to ignore."""
    with mounted(place, "--layout", "by-date", *OF_HIVE[2:], engine="passthrough") as daemon:
        order = pyarrow.schema([KEYS.field("logical_date"), KEYS.field("customer_id"), KEYS.field("query_name")])
        records = pyarrow.dataset.dataset(
            daemon.path,
            format="json",
            partitioning=pyarrow.dataset.DirectoryPartitioning(order),
            schema=RECORDS,
            ignore_prefixes=["metadata"],
        )
        table = records.to_table()
        found = dict(zip(table["number"].to_pylist(), table["customer_id"].to_pylist(), strict=True))
        assert found == dict(enumerate(IDS))  # Hive's word for NULL included
        path = "split_part(filename, '/', -3)"
        rows = duckdb.connect().execute(
            f"SELECT number, url_decode({path}) FROM "
            f"read_json('{daemon.path}/2024-06-01/*/*/payload.jsonl', filename = true, columns = {{number: 'BIGINT'}})"
        )
        assert dict(rows.fetchall()) == dict(enumerate(IDS))


def test_text_before_a_value_keeps_it_from_being_read_as_null_or_a_number(place: Place) -> None:
    """What docs/clients.md tells to do about values that a client takes for something else."""
    with mounted(place, "--layout", BY_DAY, *OF_HIVE[2:], engine="passthrough") as daemon:
        rows = duckdb.connect().execute(
            f"SELECT number, customer_id[3:], year, month, day FROM read_json('{daemon.path}/*/*/*/*/*/payload.jsonl', "
            "hive_partitioning = true, columns = {number: 'BIGINT'}) WHERE year = 2024 AND month = 6"
        )
        found = rows.fetchall()
        assert {number: value for number, value, *_ in found} == {**TRUTH, IDS.index(NULL): NULL}
        assert {tuple(map(int, date)) for _, _, *date in found} == {(2024, 6, 1)}
