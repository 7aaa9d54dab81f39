"""V13: several sources in one table, apart, chosen, or at odds: never one in place of another in silence."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from readyfs.demo.producer import LogicalPartition
from readyfs.errors import ExitCode
from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import Daemon, Place, files_below, mounted, partition, try_to_mount

APART = ("--layout", "{source}/{customer_id}/{query_name}/{logical_date}")

ONE, TWO = partition(), partition(source="s2")
OTHER = partition(date="2024-06-02")


def publish(place: Place, *parts: LogicalPartition) -> None:
    for part in parts:
        place.producer.write_and_publish(part, "r1", f"{part.source}\n".encode())


def assert_at_odds(daemon: Daemon, part: LogicalPartition = ONE) -> None:
    """Check that a path looks whole and gives nobody's bytes, however often it is asked for."""
    for _ in range(2):
        assert part.logical_date in os.listdir(daemon.directory(part).parent)
        assert files_below(daemon.directory(part)) == ["metadata.json", "payload.jsonl"]
        for name in ("payload.jsonl", "metadata.json"):
            assert daemon.of(part, name).stat().st_size > 0
            daemon.assert_refused(daemon.of(part, name))
        assert os.listxattr(daemon.directory(part)) == []


def withheld_lines(daemon: Daemon) -> list[dict[str, object]]:
    return [line for line in daemon.events("row is withheld") if line["reason"] == "ambiguous_path"]


def test_refusal_reads_as_one_line_with_both_rows_and_what_to_do(place: Place, engine: str) -> None:
    """V13: whoever starts it learns which path, which rows, and both remedies, as they can be typed."""
    publish(place, ONE, TWO, OTHER)
    done = try_to_mount(place, engine=engine)
    assert done.returncode == ExitCode.AMBIGUOUS
    said = next(line for line in done.stderr.splitlines() if "c1/q1/2024-06-01" in line)
    assert "path c1/q1/2024-06-01 is claimed by the ready rows of s1/c1/q1/2024-06-01, s2/c1/q1/2024-06-01" in said
    assert "--source NAME" in done.stderr
    assert "--layout '{source}/{customer_id}/{query_name}/{logical_date}'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not mounts_at(place.mountpoint)


@pytest.mark.parametrize("remedy", [("--source", "s1"), APART, ("--source", "s1", "--source", "s2", *APART)])
def test_each_remedy_of_the_refusal_mounts(place: Place, engine: str, remedy: tuple[str, ...]) -> None:
    """V13: what the message says is true."""
    publish(place, ONE, TWO)
    with mounted(place, *remedy, engine=engine) as daemon:
        assert daemon.withheld() == {}
        found = [name for name in files_below(daemon.path) if name.endswith("payload.jsonl")]
        for name in found:
            expected = name[: name.index("/")] if APART[0] in remedy else "s1"
            assert (daemon.path / name).read_bytes() == f"{expected}\n".encode()
        assert len(found) == daemon.count("partitions") == (2 if APART[0] in remedy else 1)


def test_filter_that_leaves_both_sources_is_refused_too(place: Place, engine: str) -> None:
    """V13: choosing two of three sources chooses nothing where these two are at odds."""
    publish(place, ONE, TWO, partition(source="s3", date="2024-06-03"))
    assert try_to_mount(place, "--source", "s1", "--source", "s2", engine=engine).returncode == ExitCode.AMBIGUOUS
    with mounted(place, "--source", "s2", "--source", "s3", engine=engine) as daemon:
        assert sorted(os.listdir(daemon.path / "c1/q1")) == ["2024-06-01", "2024-06-03"]
        assert daemon.of(TWO).read_bytes() == b"s2\n"


@pytest.mark.parametrize(
    ("leave", "stays"),
    [
        (lambda place: place.producer.fail(TWO), ONE),
        (lambda place: place.producer.fail(ONE), TWO),
        (lambda place: place.producer.delete_row(TWO), ONE),
        (lambda place: place.producer.delete_row(ONE), TWO),
    ],
    ids=["second-fails", "first-fails", "second-deleted", "first-deleted"],
)
def test_ambiguity_that_arises_is_of_its_path_alone_and_heals_either_way(
    place: Place, engine: str, leave: Callable[[Place], None], stays: LogicalPartition
) -> None:
    """V13, V10: EIO there, withheld, logged once however often it is refreshed, not counted; then whoever stays."""
    publish(place, ONE, OTHER)
    with mounted(place, "--name-timeout", "1h", engine=engine) as daemon:
        assert daemon.of(ONE).stat().st_size == 3
        for _ in range(2):
            publish_row(place, TWO)
            daemon.refresh()
            assert_at_odds(daemon)
            assert daemon.of(OTHER).read_bytes() == b"s1\n"
            assert daemon.count("partitions") == 1
            assert daemon.withheld() == {"ambiguous_path": 1}
            place.producer.expect(partition(date="2024-07-01"))  # a refresh that changes nothing here
        (line,) = withheld_lines(daemon)
        assert line["row"] == "c1/q1/2024-06-01"
        assert "s1/c1/q1/2024-06-01, s2/c1/q1/2024-06-01" in str(line["detail"])

        leave(place)
        daemon.refresh()
        assert daemon.of(ONE).read_bytes() == f"{stays.source}\n".encode()
        assert os.getxattr(daemon.of(ONE), "user.readyfs.source") == stays.source.encode()
        assert daemon.count("partitions") == 2
        assert daemon.withheld() == {}

        publish(place, partition(source=stays.source, date="2024-06-03"))
        for part in (ONE, TWO):
            place.producer.set_ready(part, "r1")
        daemon.refresh()
        assert_at_odds(daemon)
        assert len(withheld_lines(daemon)) == 2, "it is news again once it was over"


def publish_row(place: Place, part: LogicalPartition) -> None:
    """Accept a partition's run, which is written the first time."""
    if not place.producer.run_directory(part, "r1").exists():
        place.producer.write_run(part, "r1", f"{part.source}\n".encode())
    place.producer.set_ready(part, "r1")


@pytest.mark.parametrize("arguments", [APART, ("--source", "s1")], ids=["layout", "filter"])
def test_second_source_is_no_ambiguity_where_it_is_apart_or_left_out(
    place: Place, engine: str, arguments: tuple[str, ...]
) -> None:
    """V13: with `{source}` in the path it has its own, and a filter leaves it out."""
    publish(place, ONE)
    with mounted(place, *arguments, engine=engine) as daemon:
        publish(place, TWO)
        daemon.refresh()
        apart = arguments == APART
        assert daemon.withheld() == {}
        assert daemon.count("partitions") == (2 if apart else 1)
        mine = daemon.path / ("s1" if apart else "")
        assert (mine / ONE.path / "payload.jsonl").read_bytes() == b"s1\n"
        if apart:
            assert sorted(os.listdir(daemon.path)) == ["s1", "s2"]
            assert (daemon.path / "s2" / TWO.path / "payload.jsonl").read_bytes() == b"s2\n"


COUNT = 1000


def test_whole_second_source_that_appears_at_once_is_withheld_and_goes_again(place: Place, engine: str) -> None:
    """V13: each path that both claim fails, each that one claims is served, and all are back when it is gone."""
    shared = [partition(query=f"q{number // 100:02}", date=f"20{number % 100:02}-01-01") for number in range(COUNT)]
    with place.producer.one_transaction():
        for part in shared:
            place.producer.set_ready(part, "r1")
    for part in (shared[0], shared[-1]):
        place.producer.write_run(part, "r1", b"s1\n")
    with mounted(place, "--name-timeout", "1h", engine=engine) as daemon:
        before = files_of(daemon)
        assert daemon.of(shared[0]).read_bytes() == b"s1\n"
        with place.producer.one_transaction():
            for part in shared:
                place.producer.set_ready(part._replace(source="s2"), "r1")
        only = partition(customer="c2", source="s2")
        publish(place, only)
        daemon.refresh()
        assert daemon.count("partitions") == 1
        assert daemon.withheld() == {"ambiguous_path": COUNT}
        assert files_of(daemon) == before | {only.path}
        for part in shared[:: COUNT // 10]:
            assert_at_odds(daemon, part)
        assert daemon.of(only).read_bytes() == b"s2\n"
        assert len(withheld_lines(daemon)) <= 100, "the first of them are named, and all are counted"

        place.change("DELETE FROM partition_state WHERE source = 's2'")
        daemon.refresh()
        assert daemon.count("partitions") == COUNT
        assert daemon.withheld() == {}
        assert files_of(daemon) == before
        for part in (shared[0], shared[-1]):
            assert daemon.of(part).read_bytes() == b"s1\n"


def files_of(daemon: Daemon) -> set[str]:
    """Return the path of every partition that is listed."""
    return {
        f"{customer}/{query}/{date}"
        for customer in os.listdir(daemon.path)
        for query in os.listdir(daemon.path / customer)
        for date in os.listdir(daemon.path / customer / query)
    }


ALIKE = {
    "case": (b"src", b"SRC"),
    "composition": ("\u00e9".encode(), "e\u0301".encode()),
    "not-utf-8": (b"s\xff", b"s\xfe"),
    "space": (b"s", b"s "),
}


@pytest.mark.parametrize("names", ALIKE.values(), ids=ALIKE)
def test_sources_that_look_alike_are_two(place: Place, engine: str, names: tuple[bytes, bytes]) -> None:
    """V13, V12: bytes decide; such rows are at odds without `{source}`, and apart with it."""
    for name in names:
        directory = os.path.join(
            os.fsencode(place.raw), name, b"customer_id=c1", b"query_name=q1", b"logical_date=2024-06-01", b"run_id=r1"
        )
        os.makedirs(directory)
        for file in (b"payload.jsonl", b"metadata.json"):
            with open(os.path.join(directory, file), "wb") as opened:
                opened.write(name)
        place.change(
            "INSERT INTO partition_state"
            "(source, customer_id, query_name, logical_date, current_run_id, updated_at, status)"
            " VALUES (CAST(? AS TEXT), 'c1', 'q1', '2024-06-01', 'r1', '2024-06-02T05:00:00+00:00', 'success')",
            name,
        )
    done = try_to_mount(place, engine=engine)
    assert done.returncode == ExitCode.AMBIGUOUS
    with mounted(place, *APART, engine=engine) as daemon:
        assert sorted(os.listdir(os.fsencode(daemon.path))) == sorted(names)
        for name in names:
            path = os.path.join(os.fsencode(daemon.path), name, b"c1/q1/2024-06-01/payload.jsonl")
            with open(path, "rb") as payload:
                assert payload.read() == name
    with mounted(place, "--source", os.fsdecode(names[1]), engine=engine) as daemon:
        assert daemon.of(ONE).read_bytes() == names[1]
