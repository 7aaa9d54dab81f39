"""What of a run is shown, and where runs are looked for: file filters, subdirectories, layouts, row filters."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.mount.daemon import EACH_ENGINE_ONCE, Daemon, Place, mounted, partition, start


def shown(daemon: Daemon, top: Path | None = None) -> list[str]:
    """Return the paths of all files below the mount point."""
    return sorted(
        os.path.relpath(os.path.join(where, name), daemon.path)
        for where, _, names in os.walk(top or daemon.path)
        for name in names
    )


def test_subdirectories_of_a_run_are_served_as_they_are(place: Place, engine: str) -> None:
    """V2: every file of the current run, at any depth, byte for byte."""
    ready = partition()
    run = place.producer.write_and_publish(ready, "r1", b"bytes\n")
    (run.directory / "parts/a").mkdir(parents=True)
    (run.directory / "parts/a/p1.parquet").write_bytes(b"first")
    (run.directory / "parts/p0.parquet").write_bytes(b"zeroth")
    (run.directory / "parts/link").symlink_to("p0.parquet")
    with mounted(place, engine=engine) as daemon:
        below = daemon.path / ready.path
        assert shown(daemon, below / "parts") == [f"{ready.path}/parts/a/p1.parquet", f"{ready.path}/parts/p0.parquet"]
        assert (below / "parts/a/p1.parquet").read_bytes() == b"first"
        assert (below / "parts/a/../p0.parquet").read_bytes() == b"zeroth"
        assert (below / "parts/a").stat().st_ino == (below / "parts/a/.").stat().st_ino
        assert (below / "parts").stat().st_ino == (below / "parts/a/..").stat().st_ino
        assert (below).stat().st_ino == (below / "parts/..").stat().st_ino


def test_file_globs_limit_what_of_a_run_is_shown(place: Place, engine: str) -> None:
    ready = partition()
    run = place.producer.write_and_publish(ready, "r1", b"bytes\n")
    (run.directory / "notes.txt").write_bytes(b"internal")
    (run.directory / "parts").mkdir()
    (run.directory / "parts/p0.jsonl").write_bytes(b"{}\n")
    (run.directory / "parts/p0.tmp").write_bytes(b"{}\n")
    with mounted(place, "--files", "payload.jsonl", "--files", "parts/*.jsonl", engine=engine) as daemon:
        assert shown(daemon) == [f"{ready.path}/parts/p0.jsonl", f"{ready.path}/payload.jsonl"]
        assert not (daemon.path / ready.path / "metadata.json").exists()
        with pytest.raises(FileNotFoundError):
            (daemon.path / ready.path / "notes.txt").read_bytes()


def test_required_files_seal_a_run_although_they_are_not_shown(place: Place, engine: str) -> None:
    """V10: a hidden required file counts all the same."""
    sealed, unsealed = partition(), partition(date="2024-06-02")
    place.producer.write_and_publish(sealed, "r1", b"bytes\n")
    place.producer.publish(place.producer.begin_run(unsealed, "r1", b"half\n"))
    with mounted(place, "--files", "payload.jsonl", engine=engine) as daemon:
        assert daemon.of(sealed).read_bytes() == b"bytes\n"
        assert os.listdir(daemon.path / unsealed.path) == ["payload.jsonl"]
        with pytest.raises(OSError, match="Input/output error"):
            daemon.of(unsealed).read_bytes()


def test_a_filter_that_hides_every_required_file_is_refused(place: Place, engine: str) -> None:
    """V10: a broken run must list something that fails."""
    with pytest.raises(AssertionError, match="--files hides every file of --required-files"):
        start(place, "--files", "*.parquet", engine=engine)


def test_other_required_files_can_be_named(place: Place, engine: str) -> None:
    ready = partition()
    run = place.producer.write_and_publish(ready, "r1", b"bytes\n")
    (run.directory / "metadata.json").unlink()
    with mounted(place, "--required-files", "payload.jsonl", engine=engine) as daemon:
        assert os.listdir(daemon.path / ready.path) == ["payload.jsonl"]
        assert daemon.of(ready).read_bytes() == b"bytes\n"


def test_layout_with_source_shows_two_sources_apart(place: Place, engine: str) -> None:
    """V13: what would be ambiguous without the source in the path is not with it."""
    one, two = partition(source="ads"), partition(source="web")
    place.producer.write_and_publish(one, "r1", b"ads\n")
    place.producer.write_and_publish(two, "r1", b"web\n")
    layout = "source={source}/{customer_id}/{query_name}/date={logical_date}"
    with mounted(place, "--layout", layout, engine=engine) as daemon:
        assert (daemon.path / "source=ads/c1/q1/date=2024-06-01/payload.jsonl").read_bytes() == b"ads\n"
        assert (daemon.path / "source=web/c1/q1/date=2024-06-01/payload.jsonl").read_bytes() == b"web\n"
        assert not (daemon.path / "source=web/c1/q1/2024-06-01").exists()


def test_raw_layout_says_where_runs_lie(place: Place, engine: str) -> None:
    ready = partition()
    run = place.producer.write_and_publish(ready, "r1", b"bytes\n")
    moved = place.base / "third/c1/q1/2024-06-01/r1"
    moved.parent.mkdir(parents=True)
    run.directory.rename(moved)
    template = "{customer_id}/{query_name}/{logical_date}/{run_id}"
    with mounted(place, "--raw", str(place.base / "third"), "--raw-layout", template, engine=engine) as daemon:
        assert daemon.of(ready).read_bytes() == b"bytes\n"


@pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--source", "ads"), {"c1/q1/2024-06-01", "c1/q1/2024-06-03"}),
        (("--source", "w*", "--source", "other"), {"c2/q2/2024-06-02"}),
        (("--customer", "c2"), {"c2/q2/2024-06-02"}),
        (("--query", "q[12]"), {"c1/q1/2024-06-01", "c1/q1/2024-06-03", "c2/q2/2024-06-02"}),
        (("--since", "2024-06-02"), {"c1/q1/2024-06-03", "c2/q2/2024-06-02"}),
        (("--since", "2024-06-02", "--until", "2024-06-02"), {"c2/q2/2024-06-02"}),
        (("--customer", "nobody"), set()),
    ],
)
def test_filters_limit_the_rows(place: Place, engine: str, arguments: tuple[str, ...], expected: set[str]) -> None:
    place.producer.write_and_publish(partition("c1", "q1", "2024-06-01", "ads"), "r1", b"x\n")
    place.producer.write_and_publish(partition("c1", "q1", "2024-06-03", "ads"), "r1", b"x\n")
    place.producer.write_and_publish(partition("c2", "q2", "2024-06-02", "web"), "r1", b"x\n")
    with mounted(place, *arguments, engine=engine) as daemon:
        assert {str(Path(path).parent) for path in shown(daemon)} == expected
        assert daemon.status()["partitions"] == len(expected)
