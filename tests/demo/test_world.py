"""The sample world holds what the contract says a pipeline leaves behind, the same for the same seed."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import orjson
import pytest

from readyfs.demo.producer import LogicalPartition
from readyfs.demo.world import SETTLED_DAYS, TOUR_DAYS, Fate, World, WorldSpec, make_world
from readyfs.errors import UsageError

SMALL = WorldSpec(customers=4, queries=5, days=20, records=6, large_bytes=20_000)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), SMALL)


def rows(world: World) -> dict[LogicalPartition, tuple[str, str | None, int | None]]:
    with closing(sqlite3.connect(world.state_file)) as state:
        found = state.execute(
            "SELECT source, customer_id, query_name, logical_date, status, current_run_id, record_count"
            " FROM partition_state"
        ).fetchall()
    return {LogicalPartition(*row[:4]): row[4:] for row in found}


def runs(world: World, partition: LogicalPartition) -> dict[str, set[str]]:
    """Return the file names of each run of a partition."""
    with world.producer() as producer:
        parent = producer.run_directory(partition, "").parent
    if not parent.exists():
        return {}
    return {path.name.removeprefix("run_id="): {file.name for file in path.iterdir()} for path in parent.iterdir()}


def digest(world: World) -> str:
    """Return a hash of every row and of every raw path with its bytes."""
    state = hashlib.sha256()
    with closing(sqlite3.connect(world.state_file)) as connection:
        for line in connection.iterdump():
            state.update(line.encode())
    for path in sorted(world.raw_root.rglob("*")):
        state.update(str(path.relative_to(world.raw_root)).encode())
        if path.is_file():
            state.update(path.read_bytes())
    return state.hexdigest()


def test_same_seed_makes_the_same_world(world: World, tmp_path: Path) -> None:
    assert digest(make_world(tmp_path, SMALL)) == digest(world)


def test_another_seed_makes_another_world(world: World, tmp_path: Path) -> None:
    assert digest(make_world(tmp_path, replace(SMALL, seed=8))) != digest(world)


def test_ready_names_exactly_the_success_rows_and_their_runs(world: World) -> None:
    success = {partition: run_id for partition, (status, run_id, _) in rows(world).items() if status == "success"}
    assert success == world.ready


def test_every_ready_run_is_sealed_and_counts_its_records(world: World) -> None:
    found = rows(world)
    with world.producer() as producer:
        for partition, run_id in world.ready.items():
            directory = producer.run_directory(partition, run_id)
            metadata = orjson.loads((directory / "metadata.json").read_bytes())
            lines = (directory / "payload.jsonl").read_bytes().count(b"\n")
            assert metadata["record_count"] == found[partition][2] == lines


def test_world_holds_every_fate(world: World) -> None:
    assert set(world.fates) == set(Fate)
    assert sum(world.fates.values()) == 4 * 5 * 20


def test_some_failed_and_pending_rows_keep_a_run_id(world: World) -> None:
    kept = {(status, run_id is not None) for status, run_id, _ in rows(world).values()}
    assert {("failed", True), ("failed", False), ("pending", True), ("pending", False)} <= kept


def test_some_partitions_have_no_row(world: World) -> None:
    assert len(rows(world)) == 4 * 5 * 20 - world.fates[Fate.MISSING] - world.fates[Fate.UNFINISHED]


def test_some_ready_partitions_have_other_runs_half_written_ones_among_them(world: World) -> None:
    others = [
        "metadata.json" in files
        for partition, current in world.ready.items()
        for run_id, files in runs(world, partition).items()
        if run_id != current
    ]
    assert True in others
    assert False in others


def test_ids_have_leading_zeros_and_run_ids_colons(world: World) -> None:
    assert any(partition.customer_id.startswith("00") for partition in world.ready)
    assert len({partition.customer_id for partition in world.ready}) == 4
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", run_id) for run_id in world.ready.values())


def test_sizes_go_from_empty_to_the_large_ones(world: World) -> None:
    sizes = [path.stat().st_size for path in world.raw_root.rglob("payload.jsonl")]
    assert min(sizes) == 0
    assert max(sizes) >= SMALL.large_bytes * 0.9


def test_settled_partitions_are_ready_with_one_run(world: World) -> None:
    assert len(world.settled) == SETTLED_DAYS
    for partition in world.settled:
        assert runs(world, partition) == {world.ready[partition]: {"payload.jsonl", "metadata.json"}}


@pytest.mark.parametrize("seed", range(5))
def test_world_as_small_as_the_tour_allows_has_a_superseded_run(tmp_path: Path, seed: int) -> None:
    world = make_world(tmp_path, WorldSpec(customers=1, queries=1, days=TOUR_DAYS, seed=seed))
    assert world.fates == {Fate.READY: SETTLED_DAYS, Fate.REPROCESSED: 1}
    assert world.other_runs == ("superseded",)
    assert len(list(world.raw_root.rglob("payload.jsonl"))) == len(world.ready) + 1


def test_world_knows_the_kinds_of_run_that_are_not_shown(world: World) -> None:
    assert world.other_runs == ("half-written", "rejected", "requeued", "superseded")


def test_even_world_is_ready_throughout_with_one_run_each(tmp_path: Path) -> None:
    world = make_world(tmp_path, WorldSpec(customers=3, queries=7, days=4, records=2, uneven=False))
    assert len(world.ready) == 3 * 7 * 4
    assert all(len(runs(world, partition)) == 1 for partition in world.ready)


def test_payload_lines_are_json_that_names_customer_and_date(world: World) -> None:
    partition = world.settled[0]
    with world.producer() as producer:
        payload = producer.run_directory(partition, world.ready[partition]) / "payload.jsonl"
    for line in payload.read_bytes().splitlines():
        record = orjson.loads(line)
        assert (record["customer_id"], record["logical_date"]) == (partition.customer_id, partition.logical_date)


def test_earlier_world_is_replaced(tmp_path: Path) -> None:
    spec = WorldSpec(customers=1, queries=1, days=2, last_day=date(2024, 1, 31))
    make_world(tmp_path, WorldSpec(customers=2, queries=1, days=2))
    world = make_world(tmp_path, spec)
    assert set(rows(world)) == set(world.settled)
    assert len(list(world.raw_root.rglob("payload.jsonl"))) == 2


def test_directory_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("precious", encoding="utf-8")
    with pytest.raises(UsageError, match="not empty"):
        make_world(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["state.db"]
    assert (tmp_path / "state.db").read_text(encoding="utf-8") == "precious"


def test_file_in_the_place_of_the_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious", encoding="utf-8")
    with pytest.raises(UsageError, match="file is not a directory"):
        make_world(tmp_path / "file", SMALL)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("spec", [WorldSpec(customers=0), WorldSpec(queries=0), WorldSpec(days=-1)])
def test_world_of_nothing_is_refused(tmp_path: Path, spec: WorldSpec) -> None:
    with pytest.raises(UsageError, match="is empty"):
        make_world(tmp_path / "new", spec)
    assert not (tmp_path / "new").exists()
