"""`readyfs manifest` on real mounts: the same as the mount gives, all of it, or one line that says why not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import duckdb
import pytest

from tests.mount.daemon import EACH_ENGINE_ONCE, ENGINES, Place, mounted, partition, running, wait_until
from tests.mount.forked import run_forked
from tests.mount.views import viewing

DATES: Final = ("2024-06-01", "2024-06-02", "2024-06-03")
CUSTOMERS: Final = ("0012", "a=b")


def manifest(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return run_forked(["manifest", *map(str, words)], 30)


def text_of(*words: str | Path) -> str:
    done = manifest(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def publish(place: Place, run: str, rows: int) -> None:
    for customer in CUSTOMERS:
        for date in DATES:
            place.producer.write_and_publish(partition(customer, "daily", date), run, b'{"n":1}\n' * rows)


@pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)
@pytest.mark.parametrize("layout", ["plain", "by-date"])
def test_command_prints_what_the_mount_gives(place: Place, engine: str, layout: str) -> None:
    publish(place, "r1", 2)
    with mounted(place, "--layout", layout, engine=engine) as daemon:
        view = daemon.public.view(str(daemon.status()["fingerprint"]))
        for directory in (daemon.path, view, view / next(os.walk(view))[1][0]):
            for form in ("jsonl", "paths", "paths0"):
                assert text_of(directory, "--format", form) == (directory / f".manifest.{form}").read_text()
        for prefix in next(os.walk(daemon.path))[1]:
            expected = [line for line in text_of(daemon.path).splitlines() if line.startswith(f'{{"path":"{prefix}/')]
            assert text_of(daemon.path, "--prefix", prefix).splitlines() == expected != []


@pytest.mark.parametrize("engine", ENGINES)
def test_sizes_are_those_of_the_raw_files_and_of_no_broken_run(place: Place, tmp_path: Path, engine: str) -> None:
    """V10: a broken run shows sizes that say nothing."""
    publish(place, "r1", 3)
    whole, broken = (partition(customer, "daily", DATES[0]) for customer in CUSTOMERS)
    (place.producer.run_directory(whole, "r1") / "more").mkdir()
    (place.producer.run_directory(whole, "r1") / "more" / "data").write_bytes(b"x" * 10_000)
    output = tmp_path / "list"
    with mounted(place, engine=engine) as daemon:
        shutil.rmtree(place.producer.run_directory(broken, "r1"))
        done = manifest(daemon.path, "--sizes", "--output", output)
        assert (done.returncode, done.stdout) == (12, "")
        assert done.stderr == "readyfs: broken partitions, of which no sizes are known: 1\n"
        rows = {row["path"]: row for row in map(json.loads, output.read_text().splitlines())}
        assert len(rows) == len(CUSTOMERS) * len(DATES)
        row = rows.pop(str(daemon.directory(broken).relative_to(daemon.path)))
        assert (row["broken"], row["sizes"]) == (True, None)
        for path, row in rows.items():
            raw = place.producer.run_directory(partition(row["customer_id"], "daily", row["logical_date"]), "r1")
            found = (Path(top) / name for top, _, names in os.walk(raw) for name in names)
            assert row["sizes"] == {f"{path}/{file.relative_to(raw)}": file.stat().st_size for file in found}
            assert set(row["files"]) <= set(row["sizes"])
        assert f"{whole.path}/more/data" in rows[str(whole.path)]["sizes"]
        assert daemon.public.pins() == []


@pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)
def test_views_of_duckdb_hold_what_was_pinned(place: Place, engine: str) -> None:
    publish(place, "r1", 2)
    with mounted(place, "--layout", "hive", engine=engine) as daemon:
        view = run_forked(["pin", str(daemon.path), "--name", "job"], 30).stdout.strip()
        script = text_of(view, "--format", "duckdb")
        publish(place, "r2", 5)
        daemon.refresh()
        assert text_of(daemon.path / ".readyfs/at/job", "--format", "duckdb") == script
        connection = duckdb.connect()
        connection.execute(script)
        found = connection.execute(
            "SELECT customer_id, logical_date, sum(n)::INTEGER FROM daily GROUP BY ALL"
        ).fetchall()
        assert sorted(found) == [(customer, date, 2) for customer in CUSTOMERS for date in DATES]
        connection.execute(text_of(view, "--format", "duckdb", "--prefix", "customer_id=0012"))
        assert connection.execute("SELECT DISTINCT customer_id FROM daily").fetchall() == [("0012",)]
        connection.close()


@pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)
def test_what_cannot_be_listed_is_said_in_one_line(place: Place, tmp_path: Path, engine: str) -> None:
    publish(place, "r1", 1)
    output = tmp_path / "list"
    output.write_text("before")
    with viewing(place, engine=engine) as views:
        top = views.daemon.path

        def fails(code: int, line: str, *words: str | Path) -> None:
            done = manifest(*words, "--output", output)
            assert (done.returncode, done.stdout) == (code, "")
            assert done.stderr.startswith(f"readyfs: {line}"), done.stderr
            assert output.read_text() == "before"

        date = f"0012/daily/{DATES[0]}"
        fails(13, f"nothing is ready at {top}/none; list what is above it", top, "--prefix", "none")
        fails(13, f"nothing is ready at {top}/none; ", top / "none")
        fails(13, f"nothing is ready at {top}/.readyfs/at/none; ", top / ".readyfs/at/none")
        fails(2, f"{top}/{date} has no manifest; name a directory above partitions", top, "--prefix", date)
        newest = f"{top}/0012/daily/{DATES[-1]}"
        fails(2, f"{newest} has no manifest; name a directory above partitions", top / "0012/daily/latest")
        fails(2, "--prefix '../x' is no path below it; leave out dots", top, "--prefix", "../x")
        fails(2, f"{top}/.readyfs has no manifest; name a directory above partitions", top / ".readyfs")
        fails(2, f"the live tree of {top} changes", top, "--format", "duckdb")
        place.producer.write_and_publish(partition(".manifest.paths"), "r1", b"")
        views.daemon.refresh()
        fails(2, f"{top}/.manifest.paths is a directory of that name", top, "--format", "paths")
        view = views.taken()
        publish(place, "r2", 1)
        views.daemon.refresh()
        views.expire(view)
        fails(9, f"{view}/.manifest.jsonl cannot be read: Input/output error; see", view)


@pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)
def test_dead_daemon_is_no_empty_list(place: Place, engine: str) -> None:
    publish(place, "r1", 1)
    with running(place, engine=engine) as daemon:
        text_of(daemon.path)
        daemon.kill()
        done = manifest(daemon.path)
        assert (done.returncode, done.stdout) == (8, "")
        assert done.stderr == f"readyfs: no daemon serves {daemon.path}; mount it again\n"


def test_catalog_that_is_too_old_is_no_list(place: Place) -> None:
    """V11: neither of the root nor of a directory that is named; a view has one."""
    publish(place, "r1", 1)
    with mounted(place, "--interval", "100ms", "--max-staleness", "1s") as daemon:
        wait_until(lambda: daemon.status()["stale"] is False, "the catalog is fresh")
        view = daemon.public.view(str(daemon.status()["fingerprint"]))
        place.state.rename(place.state.with_name("away.db"))
        wait_until(lambda: daemon.status()["stale"] is True, "the catalog is too old")
        for path, named in ((daemon.path, "/.manifest.jsonl"), (daemon.path / "0012", "")):
            done = manifest(path)
            assert (done.returncode, done.stdout) == (9, "")
            assert done.stderr.startswith(f"readyfs: {path}{named} cannot be read: Input/output error; see")
        assert len(text_of(view).splitlines()) == len(CUSTOMERS) * len(DATES)
        place.state.with_name("away.db").rename(place.state)
