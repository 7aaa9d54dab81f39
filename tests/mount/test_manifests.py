"""V25: manifests in the mount are what the state table says, of one catalog from open to close."""

from __future__ import annotations

import errno
import json
import os
import random
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from readyfs.demo.producer import LogicalPartition
from tests.mount.daemon import Daemon, Place, fails_with, in_each_layout, mounted, partition, wait_until
from tests.mount.views import viewing

ONE, TWO, THREE = partition(), partition(date="2024-06-02"), partition("c2")
FORMS = ("jsonl", "paths", "paths0")
FILES = ("metadata.json", "payload.jsonl")


def lines(directory: Path) -> list[dict[str, object]]:
    """Return the objects of a directory's manifest, which must be as long as it says."""
    path = directory / ".manifest.jsonl"
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read()
    assert len(data) == size
    return [json.loads(line) for line in data.splitlines()]


def paths(directory: Path) -> list[str]:
    """Return the paths of a directory's manifest, the same in both forms."""
    found = (directory / ".manifest.paths").read_bytes()
    assert found.replace(b"\n", b"\0") == (directory / ".manifest.paths0").read_bytes()
    return found.decode().splitlines()


def said_of(daemon: Daemon, directory: Path, partitions: Iterable[LogicalPartition]) -> list[dict[str, object]]:
    """Return what the state table says of partitions, as a manifest of a directory must."""
    keys = ("source", "customer_id", "query_name", "logical_date")
    found = []
    for one in partitions:
        row = daemon.place.producer._state.execute(
            "SELECT current_run_id, record_count, schema_version, updated_at FROM partition_state"
            " WHERE source = ? AND customer_id = ? AND query_name = ? AND logical_date = ?",
            one,
        ).fetchone()
        run_id, record_count, schema_version, updated_at = row
        path = os.path.relpath(daemon.directory(one), directory)
        found.append(
            {
                "path": path,
                "run_id": run_id,
                **dict(zip(keys, one, strict=True)),
                "record_count": record_count,
                "schema_version": schema_version,
                "updated_at": updated_at,
                "files": [f"{path}/{name}" for name in FILES],
                "broken": None,
            }
        )
    return found


def directories_above(top: Path, dates: Iterable[Path]) -> set[Path]:
    """Return every directory between a tree's root and its partitions."""
    return {above for date in dates for above in date.parents if above == top or top in above.parents}


@in_each_layout
def test_manifests_are_what_the_state_says_in_every_directory_above(place: Place, engine: str) -> None:
    """Relative to each directory; no listing shows them, and nothing reads the raw store: there is none."""
    for one in (ONE, TWO, THREE):
        place.producer.set_ready(one, "r1", record_count=5, schema_version="2")
    place.producer.fail(partition("c3"))
    with mounted(place, "--name-timeout", "1h", engine=engine) as daemon:
        dates = {daemon.directory(one): one for one in (ONE, TWO, THREE)}
        above = directories_above(daemon.path, dates)
        assert daemon.path in above
        for directory in above:
            below = [one for date, one in dates.items() if directory in date.parents]
            expected = said_of(daemon, directory, below)
            assert sorted(lines(directory), key=str) == sorted(expected, key=str)
            assert sorted(paths(directory)) == sorted(str(file) for one in expected for file in one["files"])  # type: ignore[attr-defined]
            assert not [name for name in os.listdir(directory) if name.startswith(".")]
            found = [os.stat(directory / f".manifest.{form}") for form in FORMS]
            assert len({one.st_ino for one in found}) == len(FORMS)
            assert {one.st_mode for one in found} == {0o100444}
            assert os.getxattr(directory / ".manifest.paths", "user.readyfs.fingerprint") == os.getxattr(
                daemon.path, "user.readyfs.fingerprint"
            )
            with fails_with(errno.ENOENT):
                os.stat(directory / ".manifest.csv")
        with fails_with(errno.EROFS):
            os.open(daemon.path / ".manifest.paths", os.O_WRONLY)
        assert daemon.count("broken") == 0


def test_manifest_is_of_one_catalog_from_open_to_close(place: Place, engine: str) -> None:
    """At any offset, though every partition of it switches and the kernel has kept nothing of it yet."""
    many = [partition(f"c{number}", date=f"2024-06-{day:02d}") for number in range(50) for day in range(1, 31)]
    with place.producer.one_transaction():
        for one in many:
            place.producer.set_ready(one, "first", record_count=1)
    with mounted(place, engine=engine) as daemon:
        expected = {form: (daemon.path / f".manifest.{form}").read_bytes() for form in FORMS}
        rows = said_of(daemon, daemon.path, many)
        assert sorted(map(json.loads, expected["jsonl"].splitlines()), key=str) == sorted(rows, key=str)
        held = {form: os.open(daemon.path / f".manifest.{form}", os.O_RDONLY) for form in FORMS}
        before = {form: os.fstat(fd).st_ino for form, fd in held.items()}
        for fd in held.values():
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        with place.producer.one_transaction():
            for one in many[::2]:
                place.producer.set_ready(one, "the second run", record_count=100_000)
            for one in many[1::2]:
                place.producer.fail(one)
        daemon.refresh()
        rng = random.Random(7)
        for form, fd in held.items():
            data = expected[form]
            for _ in range(60):
                offset, size = rng.randrange(len(data) + 5000), rng.choice((1, 4096, 70_000))
                assert os.pread(fd, size, offset) == data[offset : offset + size]
            assert os.fstat(fd).st_size == len(data)
            assert os.pread(fd, 1, len(data)) == b""
        now = lines(daemon.path)
        assert sorted(now, key=str) == sorted(said_of(daemon, daemon.path, many[::2]), key=str)
        for form, fd in held.items():
            assert os.stat(daemon.path / f".manifest.{form}").st_ino != before[form]
            os.close(fd)


def test_partition_that_is_known_to_be_broken_says_so(place: Place, engine: str) -> None:
    """In as many bytes as before, for whoever opens the manifest from then on."""
    run = place.producer.write_and_publish(ONE, "r1", b"one\n")
    place.producer.write_and_publish(TWO, "r1", b"two\n")
    with mounted(place, engine=engine) as daemon:
        manifest = daemon.path / "c1/.manifest.jsonl"
        with manifest.open("rb") as held:
            before = os.fstat(held.fileno())
            assert [line["broken"] for line in lines(daemon.path)] == [None, None]
            place.producer.delete_run(run)
            daemon.assert_refused(daemon.of(ONE))
            assert [(line["logical_date"], line["broken"]) for line in lines(manifest.parent)] == [
                (ONE.logical_date, True),
                (TWO.logical_date, None),
            ]
            after = os.stat(manifest)
            assert (after.st_size, after.st_ino == before.st_ino) == (before.st_size, False)
            assert b"true" not in held.read()
        place.producer.write_run(ONE, "r1", b"one\n")
        assert daemon.of(ONE).read_bytes() == b"one\n"
        assert [line["broken"] for line in lines(daemon.path)] == [None, None]
        assert os.stat(manifest).st_ino == before.st_ino


@in_each_layout
def test_path_that_two_rows_claim_is_listed_as_broken(place: Place, engine: str) -> None:
    """V13: whoever reads by the list meets the error, and does not miss it."""
    place.producer.set_ready(ONE, "r1")
    with mounted(place, engine=engine) as daemon:
        place.producer.set_ready(TWO, "r1")
        place.producer.set_ready(TWO._replace(source="s2"), "r1")
        daemon.refresh()
        found = {line["logical_date"]: line for line in lines(daemon.path)}
        assert (found[ONE.logical_date]["source"], found[ONE.logical_date]["broken"]) == ("s1", None)
        claimed = found[TWO.logical_date]
        assert [claimed[key] for key in ("run_id", "source", "customer_id", "broken")] == [None, None, "c1", True]
        assert len(paths(daemon.path)) == 4
        for name in paths(daemon.path):
            if TWO.logical_date[-2:] in name:
                daemon.assert_refused(daemon.path / name)


def test_manifest_of_a_view_holds_still_and_ends_with_it(place: Place, engine: str) -> None:
    """V16, V19: one inode wherever the catalog is shown; an expired view has the names, and none can be opened."""
    place.producer.set_ready(ONE, "r1", record_count=1)
    with viewing(place, engine=engine) as views:
        live, view = views.daemon.path, views.taken()
        for form in FORMS:
            name = f".manifest.{form}"
            assert os.stat(live / name).st_ino == os.stat(view / name).st_ino
            assert (live / name).read_bytes() == (view / name).read_bytes()
        first = lines(view)
        place.producer.set_ready(TWO, "r2", record_count=2)
        views.daemon.refresh()
        assert lines(view) == first
        assert len(lines(view / "c1/q1")) == 1
        assert len(lines(live)) == len(lines(views.taken())) == 2
        assert not [name for name in os.listdir(view) if name.startswith(".")]
        held = (view / ".manifest.jsonl").open("rb")
        size = os.stat(view / ".manifest.paths").st_size
        views.expire(view)
        assert os.stat(view / ".manifest.paths").st_size == size
        if not views.daemon.traits.kernel_opens:  # else what was read stays readable
            with fails_with(errno.EIO):
                os.open(view / ".manifest.paths", os.O_RDONLY)
        assert [json.loads(line) for line in held] == first
        held.close()
        views.remove(view)
        with fails_with(errno.ENOENT):
            os.stat(view / ".manifest.paths")


def test_real_name_wins_and_below_a_date_there_is_none(place: Place, engine: str) -> None:
    named = partition(".manifest.paths")
    place.producer.write_and_publish(ONE, "r1", b"one\n")
    place.producer.write_and_publish(named, "r1", b"two\n")
    with mounted(place, engine=engine) as daemon:
        assert os.listdir(daemon.path / ".manifest.paths") == ["q1"]
        assert len(lines(daemon.path)) == 2
        assert (daemon.path / ".manifest.paths0").read_bytes().count(b"\0") == 4
        assert len(paths(daemon.path / ".manifest.paths")) == 2
        for form in FORMS:
            with fails_with(errno.ENOENT):
                os.stat(daemon.directory(ONE) / f".manifest.{form}")


def test_directory_without_a_partition_has_no_manifest_until_there_is_one(place: Place, engine: str) -> None:
    place.producer.set_ready(ONE, "r1")
    with mounted(place, "--name-timeout", "1h", engine=engine) as daemon:
        held = os.open(daemon.path / "c1/q1", os.O_RDONLY)
        place.producer.fail(ONE)
        daemon.refresh()
        assert (daemon.path / ".manifest.jsonl").read_bytes() == b""
        with fails_with(errno.ENOENT):
            os.stat(".manifest.jsonl", dir_fd=held)
        place.producer.set_ready(ONE, "r2")
        daemon.refresh()
        assert os.stat(".manifest.jsonl", dir_fd=held).st_size > 0
        os.close(held)


@pytest.mark.parametrize("engine", ["pyfuse3", "opened"])
def test_newline_in_the_name_of_a_file_makes_one_form_fail(place: Place, engine: str) -> None:
    """Its paths would be read as others, so it is an error at open; the other forms hold any name."""
    place.producer.set_ready(ONE, "r1")
    with mounted(place, "--required-files", "a\nb", engine=engine) as daemon:
        for _ in range(2):
            with fails_with(errno.EIO):
                os.open(daemon.path / ".manifest.paths", os.O_RDONLY)
        assert (daemon.path / ".manifest.paths0").read_bytes() == f"{ONE.path}/a\nb\0".encode()
        assert lines(daemon.path)[0]["files"] == [f"{ONE.path}/a\nb"]
        said = "the name of a required file holds a newline, so no .manifest.paths can be read"
        wait_until(lambda: len(daemon.events(said)) == 1, "it is said once")


def test_every_reading_is_of_one_catalog_while_all_switches_all_the_time(place: Place, engine: str) -> None:
    """Each open succeeds, though the catalog that was looked up is replaced before it, and all lines are of one run."""
    many = [partition(f"c{number}", date=f"2024-06-{day:02d}") for number in range(20) for day in range(1, 31)]

    def switch(run: str) -> None:
        with place.producer.one_transaction():
            for one in many:
                place.producer.set_ready(one, run, record_count=1)

    def run_of_all(directory: Path, count: int) -> object:
        found = lines(directory)
        assert len(found) == count
        (run,) = {line["run_id"] for line in found}
        return run

    switch("r0")
    with mounted(place, engine=engine) as daemon, ThreadPoolExecutor(1) as pool:
        over = threading.Event()

        def refresh_on() -> None:
            while not over.is_set():
                daemon.refresh()

        refreshing = pool.submit(refresh_on)
        try:
            for number in range(1, 9):
                switch(f"r{number}")
                for directory, count in ((daemon.path, len(many)), (daemon.path / "c7", 30)):
                    run_of_all(directory, count)
        finally:
            over.set()
        refreshing.result()
        daemon.refresh()
        assert run_of_all(daemon.path, len(many)) == "r8"
