"""V1, V2: what can be seen is ready, and is the current run."""

from __future__ import annotations

import os

import pytest

from tests.mount.daemon import Place, files_below, in_each_layout, mounted, partition


def test_only_ready_partitions_exist(place: Place, engine: str) -> None:
    """V1: no row, pending and failed are ENOENT, and no listing shows them."""
    ready, failed, pending = partition(), partition(date="2024-06-02"), partition(query="q2")
    place.producer.write_and_publish(ready, "r1", b"ready\n")
    # Both rows keep a run id whose files are whole: the status alone keeps them out.
    place.producer.write_and_publish(failed, "r1", b"rejected\n")
    place.producer.fail(failed)
    place.producer.write_and_publish(pending, "r1", b"unseen\n")
    place.producer.requeue(pending)
    place.producer.write_run(partition(query="q3"), "r1", b"no row\n")
    with mounted(place, engine=engine) as daemon:
        assert files_below(daemon.path) == [f"{ready.path}/metadata.json", f"{ready.path}/payload.jsonl"]
        assert not daemon.directory(failed).exists()
        assert not (daemon.path / "c1/q2").exists()
        assert not (daemon.path / "c1/q3").exists()
        assert daemon.of(ready).read_bytes() == b"ready\n"


@in_each_layout
def test_partition_follows_its_row_through_its_life(place: Place, engine: str) -> None:
    """V1: pending, ready, failed (keeping the run id), ready again, requeued, ready, deleted."""
    part, stays = partition(), partition(query="q2")
    place.producer.expect(part)
    place.producer.write_and_publish(stays, "r1", b"stays\n")
    with mounted(place, engine=engine) as daemon:
        assert not daemon.directory(part).exists()

        run = place.producer.write_run(part, "r1", b"first\n")
        assert daemon.refresh()["changed"] is False
        assert not daemon.directory(part).exists()
        place.producer.publish(run)
        assert daemon.refresh()["appeared"] == 1
        assert daemon.of(part).read_bytes() == b"first\n"

        place.producer.fail(part)
        assert daemon.refresh()["retracted"] == 1
        assert not daemon.directory(part).exists()
        assert daemon.is_all(stays)

        place.producer.write_and_publish(part, "r2", b"second\n")
        daemon.refresh()
        assert daemon.of(part).read_bytes() == b"second\n"

        place.producer.requeue(part)
        daemon.refresh()
        assert not daemon.directory(part).exists()

        place.producer.write_and_publish(part, "r3", b"third\n")
        daemon.refresh()
        assert daemon.of(part).read_bytes() == b"third\n"

        place.producer.delete_row(part)
        daemon.refresh()
        assert not daemon.directory(part).exists()
        assert daemon.is_all(stays)


@pytest.mark.parametrize("run_id", [None, ""])
def test_success_without_run_id_is_withheld_and_counted(place: Place, engine: str, run_id: str | None) -> None:
    """V1: a ready row that names no run is not servable, and is worth reporting."""
    part, stays = partition(), partition(query="q2")
    place.producer.write_and_publish(stays, "r1", b"stays\n")
    place.producer.set_ready(part, run_id)
    with mounted(place, engine=engine) as daemon:
        assert os.listdir(daemon.path / "c1") == ["q2"]
        assert daemon.withheld() == {"no_run_id": 1}
        assert len(daemon.events("row is withheld")) == 1

        place.producer.write_and_publish(part, "r1", b"mended\n")
        daemon.refresh()
        assert daemon.of(part).read_bytes() == b"mended\n"
        assert daemon.withheld() == {}


def test_empty_parents_vanish_and_reappear(place: Place, engine: str) -> None:
    """V1: a customer or query directory exists only while something ready lies below it."""
    part = partition()
    run = place.producer.write_and_publish(part, "r1", b"x\n")
    with mounted(place, engine=engine) as daemon:
        assert files_below(daemon.path)
        for _ in range(2):
            place.producer.requeue(part)
            daemon.refresh()
            assert os.listdir(daemon.path) == []
            assert not (daemon.path / "c1").exists()
            assert not (daemon.path / "c1/q1").exists()

            place.producer.publish(run)
            daemon.refresh()
            assert os.listdir(daemon.path) == ["c1"]
            assert os.listdir(daemon.path / "c1") == ["q1"]
            assert daemon.of(part).read_bytes() == b"x\n"


def test_mount_of_an_empty_table_is_empty(place: Place, engine: str) -> None:
    """V1: nothing ready is an empty tree, which fills when something becomes ready."""
    with mounted(place, engine=engine) as daemon:
        assert os.listdir(daemon.path) == []
        place.producer.write_and_publish(partition(), "r1", b"x\n")
        daemon.refresh()
        assert os.listdir(daemon.path) == ["c1"]


def test_other_runs_and_strays_of_the_raw_store_are_invisible(place: Place, engine: str) -> None:
    """V2: the raw store is never listed to find partitions, and of the runs only the current one shows."""
    part = partition()
    current = place.producer.write_and_publish(part, "r2", b"current\n")
    place.producer.write_run(part, "r1", b"older\n")
    place.producer.begin_run(part, "r3", b"half-written\n")
    place.producer.write_run(partition(customer="nobody"), "r1", b"no row\n")
    for stray in (place.raw / "stray", current.directory.parent / "stray", current.directory.parent.parent / "stray"):
        stray.write_bytes(b"stray\n")
    (place.raw / "s1" / "customer_id=c1" / "query_name=q9").mkdir()
    with mounted(place, engine=engine) as daemon:
        assert files_below(daemon.path) == [f"{part.path}/metadata.json", f"{part.path}/payload.jsonl"]
        assert daemon.of(part).read_bytes() == b"current\n"
        assert daemon.of(part, "metadata.json").read_bytes() == (current.directory / "metadata.json").read_bytes()


def test_switch_shows_the_new_run_only(place: Place, engine: str) -> None:
    """V2: after a switch every file below the date is the new run's, also those that only one of them has."""
    part = partition()
    first = place.producer.write_and_publish(part, "2024-06-02T04:05:06.789Z", b"first\n")
    (first.directory / "only-first.txt").write_bytes(b"1")
    with mounted(place, engine=engine) as daemon:
        assert sorted(os.listdir(daemon.directory(part))) == ["metadata.json", "only-first.txt", "payload.jsonl"]
        assert daemon.of(part, "only-first.txt").read_bytes() == b"1"
        assert not daemon.of(part, "only-second.txt").exists()

        second = place.producer.write_run(part, "2024-06-03T04:05:06.789Z", b"second, longer\n")
        (second.directory / "only-second.txt").write_bytes(b"2")
        assert daemon.of(part).read_bytes() == b"first\n"
        place.producer.publish(second)
        assert daemon.refresh()["switched"] == 1
        assert sorted(os.listdir(daemon.directory(part))) == ["metadata.json", "only-second.txt", "payload.jsonl"]
        assert daemon.of(part).read_bytes() == b"second, longer\n"
        assert daemon.of(part, "metadata.json").read_bytes() == (second.directory / "metadata.json").read_bytes()
        assert daemon.of(part, "only-second.txt").read_bytes() == b"2"
        assert not daemon.of(part, "only-first.txt").exists()


def test_subdirectories_of_a_run_are_served(place: Place, engine: str) -> None:
    """V2: whatever a run holds is served as it is, byte for byte."""
    part = partition()
    run = place.producer.write_run(part, "r1", b"x\n")
    (run.directory / "parts/deep").mkdir(parents=True)
    (run.directory / "parts/deep/0.bin").write_bytes(bytes(range(256)) * 5000)
    (run.directory / "empty").write_bytes(b"")
    place.producer.publish(run)
    with mounted(place, engine=engine) as daemon:
        top = daemon.directory(part)
        assert files_below(top) == ["empty", "metadata.json", "parts/deep/0.bin", "payload.jsonl"]
        assert (top / "parts/deep/0.bin").read_bytes() == bytes(range(256)) * 5000
        assert (top / "empty").read_bytes() == b""
        assert not (top / "parts/none").exists()
