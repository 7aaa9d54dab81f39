"""The producer writes by the contract: order, names, and what a row keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from readyfs.demo.producer import LogicalPartition, Producer

PARTITION = LogicalPartition("google_ads", "0012345678", "campaign_daily", "2024-06-02")
FIRST = "2024-06-03T04:05:06.789Z"
SECOND = "2024-06-03T09:05:06.789Z"


@pytest.fixture
def producer(tmp_path: Path) -> Iterator[Producer]:
    with Producer(tmp_path / "state.db", tmp_path / "raw") as producer:
        yield producer


def row(producer: Producer) -> tuple[object, ...] | None:
    with closing(sqlite3.connect(producer.state_file)) as state:
        found: tuple[object, ...] | None = state.execute(
            "SELECT status, current_run_id, record_count, schema_version, updated_at, error_message, attempt_count"
            " FROM partition_state"
        ).fetchone()
        return found


def test_new_state_file_has_the_table_of_the_contract_in_rollback_mode(producer: Producer) -> None:
    with closing(sqlite3.connect(producer.state_file)) as state:
        columns = state.execute(
            "SELECT name, type, \"notnull\", pk FROM pragma_table_info('partition_state')"
        ).fetchall()
        assert state.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert columns == [
        ("source", "TEXT", 1, 1),
        ("customer_id", "TEXT", 1, 2),
        ("query_name", "TEXT", 1, 3),
        ("logical_date", "DATE", 1, 4),
        ("status", "TEXT", 1, 0),
        ("current_run_id", "TEXT", 0, 0),
        ("schema_version", "TEXT", 0, 0),
        ("record_count", "BIGINT", 0, 0),
        ("updated_at", "TIMESTAMPTZ", 1, 0),
        ("error_message", "TEXT", 0, 0),
        ("attempt_count", "INTEGER", 0, 0),
    ]


def test_begun_run_has_a_payload_and_neither_metadata_nor_a_row(producer: Producer) -> None:
    run = producer.begin_run(PARTITION, FIRST, b'{"n":1}\n{"n":')
    assert [path.name for path in run.directory.iterdir()] == ["payload.jsonl"]
    assert (run.directory / "payload.jsonl").read_bytes() == b'{"n":1}\n{"n":'
    assert row(producer) is None


def test_run_directory_is_where_the_contract_puts_it(producer: Producer) -> None:
    run = producer.write_run(PARTITION, FIRST, b"")
    below = run.directory.relative_to(producer.raw_root)
    assert below == Path(
        "google_ads/customer_id=0012345678/query_name=campaign_daily/logical_date=2024-06-02/run_id=" + FIRST
    )


def test_sealed_run_has_every_metadata_key_of_the_contract(producer: Producer) -> None:
    run = producer.write_run(PARTITION, FIRST, b'{"n":1}\n{"n":2}\n')
    metadata = orjson.loads((run.directory / "metadata.json").read_bytes())
    assert metadata["run_id"] == FIRST
    assert metadata["record_count"] == 2
    assert {metadata[name] for name in PARTITION._fields} == set(PARTITION)
    assert {"extracted_at", "schema_version", "api_version", "query_hash"} <= metadata.keys()
    assert row(producer) is None


def test_writing_a_run_again_is_refused(producer: Producer) -> None:
    run = producer.write_run(PARTITION, FIRST, b"old\n")
    with pytest.raises(FileExistsError):
        producer.write_run(PARTITION, FIRST, b"new\n")
    assert (run.directory / "payload.jsonl").read_bytes() == b"old\n"


def test_published_run_is_success_with_iso_time_in_microseconds(producer: Producer) -> None:
    producer.write_and_publish(PARTITION, FIRST, b"{}\n", at=datetime(2024, 6, 3, 5, 0, 0, 123456, UTC))
    assert row(producer) == ("success", FIRST, 1, "1", "2024-06-03T05:00:00.123456+00:00", None, 1)


def test_failed_run_keeps_the_run_before_and_its_count(producer: Producer) -> None:
    producer.write_and_publish(PARTITION, FIRST, b"{}\n")
    producer.write_run(PARTITION, SECOND, b"{}\n{}\n")
    producer.fail(PARTITION, "too many records", at=datetime(2024, 6, 4, tzinfo=UTC))
    assert row(producer) == ("failed", FIRST, 1, "1", "2024-06-04T00:00:00.000000+00:00", "too many records", 2)


def test_first_run_that_fails_leaves_a_row_without_a_run(producer: Producer) -> None:
    producer.fail(PARTITION)
    found = row(producer)
    assert found is not None
    assert found[:3] == ("failed", None, None)


def test_requeued_row_keeps_its_run_and_its_time(producer: Producer) -> None:
    producer.write_and_publish(PARTITION, FIRST, b"{}\n", at=datetime(2024, 6, 3, tzinfo=UTC))
    producer.requeue(PARTITION)
    assert row(producer) == ("pending", FIRST, 1, "1", "2024-06-03T00:00:00.000000+00:00", None, 1)


def test_reprocessed_partition_names_the_new_run_and_keeps_the_old_files(producer: Producer) -> None:
    old = producer.write_and_publish(PARTITION, FIRST, b"old\n")
    producer.write_and_publish(PARTITION, SECOND, b"new\nnew\n")
    found = row(producer)
    assert found is not None
    assert found[:3] == ("success", SECOND, 2)
    assert (old.directory / "payload.jsonl").read_bytes() == b"old\n"


def test_deleted_row_is_gone_and_its_runs_stay(producer: Producer) -> None:
    run = producer.write_and_publish(PARTITION, FIRST, b"{}\n")
    producer.delete_row(PARTITION)
    assert row(producer) is None
    assert run.directory.is_dir()


def test_deleted_run_is_gone_and_its_row_stays(producer: Producer) -> None:
    run = producer.write_and_publish(PARTITION, FIRST, b"{}\n")
    producer.delete_run(run)
    found = row(producer)
    assert not run.directory.exists()
    assert found is not None
    assert found[:2] == ("success", FIRST)


def test_rows_of_one_transaction_are_seen_only_at_its_end(producer: Producer) -> None:
    with producer.one_transaction():
        producer.set_ready(PARTITION, FIRST)
        assert row(producer) is None
    assert row(producer) is not None


def test_transaction_that_is_broken_off_leaves_nothing(producer: Producer) -> None:
    with pytest.raises(KeyError), producer.one_transaction():
        producer.set_ready(PARTITION, FIRST)
        raise KeyError
    assert row(producer) is None


def test_each_row_is_committed_when_the_call_returns(producer: Producer) -> None:
    producer.expect(PARTITION)
    found = row(producer)
    assert found is not None
    assert found[0] == "pending"
