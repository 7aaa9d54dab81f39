"""Query engines over the mount: every ready record; `test_programs` has what they do where one cannot be had."""

from __future__ import annotations

import json

import duckdb
import polars
import pyarrow
import pyarrow.dataset
import pytest

from tests.clients.conftest import Mounted
from tests.clients.count_rows import READERS, dataset


@pytest.mark.parametrize("reader", READERS)
def test_query_engine_sees_every_ready_record_once(plain: Mounted, reader: str) -> None:
    """V1, V2: the rows are those of the ready runs; asked again it is the same."""
    assert READERS[reader](plain.path) == plain.truth.records
    assert READERS[reader](plain.path) == plain.truth.records


def test_one_file_lost_after_it_was_seen_is_never_less(broken: Mounted) -> None:
    """V10: also where the kernel knows the file's attributes; where it opens and has the bytes too, all are there."""
    producer, ready = broken.daemon.place.producer, broken.world.ready
    lost = sorted(ready)[2]
    directory = producer.run_directory(lost, ready[lost])
    directory.with_name("lost").rename(directory)
    kernel_opens = broken.daemon.traits.kernel_opens
    # Polars maps files: what the kernel opens and then cannot read would end the test.
    readers = [read for name, read in READERS.items() if not (kernel_opens and name == "polars")]
    for read in readers:
        assert read(broken.path) == broken.truth.records
    (directory / "payload.jsonl").unlink()
    for read in readers:
        if kernel_opens:
            assert read(broken.path) == broken.truth.records
        else:
            with pytest.raises((OSError, duckdb.Error, polars.exceptions.PolarsError)):
                read(broken.path)


def test_duckdb_recursive_glob_sees_no_control_directory(plain: Mounted) -> None:
    """V1: what answers lookup only is in no glob."""
    for pattern in ("**/payload.jsonl", "*/*/*/payload.jsonl", "**/*.json*"):
        found = duckdb.connect().execute(f"SELECT file FROM glob('{plain.glob(pattern)}')").fetchall()
        below = sorted(file.removeprefix(f"{plain.path}/") for (file,) in found)
        wanted = plain.truth.files if "json*" in pattern else [p for p in plain.truth.files if "payload" in p]
        assert below == sorted(wanted)


def test_python_globs_see_no_control_directory(plain: Mounted) -> None:
    for found in (plain.path.rglob("*"), plain.path.glob("**/*")):
        assert {str(path.relative_to(plain.path)) for path in found if path.is_file()} == plain.truth.files.keys()


def test_duckdb_sums_what_the_producer_wrote(plain: Mounted) -> None:
    """V2: values, and not only counts."""
    payloads = [data for path, data in plain.truth.files.items() if path.endswith("payload.jsonl")]
    clicks = sum(json.loads(line)["clicks"] for data in payloads for line in data.splitlines())
    query = f"SELECT sum(clicks) FROM read_json('{plain.glob()}')"
    assert duckdb.connect().execute(query).fetchone() == (clicks,)


def test_duckdb_reads_metadata_too(plain: Mounted) -> None:
    query = f"SELECT count(*), sum(record_count) FROM read_json('{plain.glob('*/*/*/metadata.json')}')"
    assert duckdb.connect().execute(query).fetchone() == (len(plain.truth.files) // 2, plain.truth.records)


HIVE_TYPES = "hive_partitioning=true, hive_types={'customer_id': VARCHAR, 'query_name': VARCHAR, 'logical_date': DATE}"


def test_duckdb_reads_the_hive_layout(hive: Mounted) -> None:
    """Leading zeros survive, and a filter on the path's columns gives that partition's rows."""
    table = f"read_json('{hive.glob()}', {HIVE_TYPES})"
    connection = duckdb.connect()
    customers = connection.execute(f"SELECT DISTINCT customer_id FROM {table} ORDER BY 1").fetchall()
    assert [customer for (customer,) in customers] == sorted({one.customer_id for one in hive.world.ready})
    one = hive.world.settled[0]
    query = f"SELECT count(*) FROM {table} WHERE customer_id = ? AND query_name = ? AND logical_date = ?"
    found = connection.execute(query, [one.customer_id, one.query_name, one.logical_date]).fetchone()
    path = f"customer_id={one.customer_id}/query_name={one.query_name}/logical_date={one.logical_date}/payload.jsonl"
    assert found == (hive.truth.files[path].count(b"\n"),)


def test_pyarrow_reads_the_hive_layout(hive: Mounted) -> None:
    names = ("customer_id", "query_name", "logical_date")
    schema = pyarrow.schema([(name, pyarrow.string()) for name in names])
    records = dataset(
        hive.path,
        partitioning=pyarrow.dataset.partitioning(schema, flavor="hive"),
        schema=pyarrow.schema([*schema, ("clicks", pyarrow.int64())]),
    )
    assert records.count_rows() == hive.truth.records
    one = hive.world.settled[0]
    chosen = records.to_table(filter=pyarrow.dataset.field("query_name") == one.query_name)
    assert set(chosen["query_name"].to_pylist()) == {one.query_name}
