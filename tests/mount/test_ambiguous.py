"""V13: two ready rows that claim one path are never settled in silence."""

from __future__ import annotations

import os

from readyfs.errors import ExitCode
from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import Place, in_each_layout, mounted, partition, try_to_mount


def test_mount_refuses_ambiguous_rows_and_names_both(place: Place, engine: str) -> None:
    """V13: at the start it is an error with the remedy, and nothing is left mounted."""
    one, two = partition(), partition(source="s2")
    place.producer.write_and_publish(one, "r1", b"one\n")
    place.producer.write_and_publish(two, "r1", b"two\n")
    done = try_to_mount(place, engine=engine)
    assert done.returncode == ExitCode.AMBIGUOUS
    for word in ("s1/c1/q1/2024-06-01", "s2/c1/q1/2024-06-01", "--source", "--layout"):
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not mounts_at(place.mountpoint)


@in_each_layout
def test_ambiguity_while_mounted_is_broken_until_resolved(place: Place, engine: str) -> None:
    """V13: that path behaves as broken and is not counted; the rest is served; resolving it needs no restart."""
    one, two, other = partition(), partition(source="s2"), partition(date="2024-06-02")
    place.producer.write_and_publish(one, "r1", b"one\n")
    place.producer.write_and_publish(other, "r1", b"other\n")
    with mounted(place, "--name-timeout", "1h", engine=engine) as daemon:
        assert daemon.of(one).read_bytes() == b"one\n"
        with open(daemon.of(one), "rb", buffering=0) as held:
            place.producer.write_and_publish(two, "r1", b"two\n")
            daemon.refresh()
            assert os.pread(held.fileno(), 4, 0) == b"one\n"
        for _ in range(2):
            assert daemon.is_all(one, other)
            assert sorted(os.listdir(daemon.directory(one))) == ["metadata.json", "payload.jsonl"]
            assert daemon.of(one).stat().st_size > 0
            daemon.assert_refused(daemon.of(one))
        assert daemon.count("partitions") == 1
        assert daemon.withheld() == {"ambiguous_path": 1}
        assert daemon.of(other).read_bytes() == b"other\n"
        line = next(line for line in daemon.events("row is withheld") if line["reason"] == "ambiguous_path")
        assert "s1/" in str(line["detail"])
        assert "s2/" in str(line["detail"])

        place.producer.fail(one)
        daemon.refresh()
        assert daemon.of(two).read_bytes() == b"two\n"
        assert daemon.count("partitions") == 2
        assert daemon.withheld() == {}


def test_two_sources_are_shown_apart_or_one_of_them_is_chosen(place: Place, engine: str) -> None:
    """V13: both remedies that the message names work."""
    one, two = partition(), partition(source="s2")
    place.producer.write_and_publish(one, "r1", b"one\n")
    place.producer.write_and_publish(two, "r1", b"two\n")
    with mounted(place, "--source", "s2", engine=engine) as daemon:
        assert daemon.of(two).read_bytes() == b"two\n"
    with mounted(place, "--layout", "{source}/{customer_id}/{query_name}/{logical_date}", engine=engine) as daemon:
        assert (daemon.path / "s1" / one.path / "payload.jsonl").read_bytes() == b"one\n"
        assert (daemon.path / "s2" / two.path / "payload.jsonl").read_bytes() == b"two\n"


def test_two_spellings_of_one_date_are_ambiguous(place: Place, engine: str) -> None:
    """V13, V15: one logical date written in two ways claims one path twice."""
    place.producer.write_and_publish(partition(date="2024-06-02"), "r1", b"x\n")
    with mounted(place, engine=engine) as daemon:
        place.insert("s1", "c1", "q1", "2024-06-01", "r1")
        place.insert("s1", "c1", "q1", "20240601", "r2")
        daemon.refresh()
        assert os.listdir(daemon.path / "c1/q1") == ["2024-06-01", "2024-06-02"]
        daemon.assert_refused(daemon.of(partition()))
        assert daemon.withheld() == {"ambiguous_path": 1}
