"""V17, V19: symbolic links to views, and to the newest date of a directory."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from tests.mount.daemon import Place, fails_with, mounted, partition, wait_until
from tests.mount.views import tree, viewing

ONE, TWO = partition(), partition(date="2024-06-02")


def test_link_leads_to_the_view_of_its_moment_and_moves_with_each_refresh(place: Place, engine: str) -> None:
    place.producer.write_and_publish(ONE, "r1", b"one\n")
    with viewing(place, "--name-timeout", "1h", engine=engine) as views:
        first = views.taken()
        for number in range(2, 5):
            before = views.taken()
            place.producer.write_and_publish(ONE, f"r{number}", b"again\n" * number)
            views.daemon.refresh()
            assert os.readlink(views.at / "~1") == f"../views/{before.name}"
            assert os.readlink(views.at / "~0") == f"../views/{views.taken().name}"
            assert (views.at / "~0" / ONE.path / "payload.jsonl").read_bytes() == b"again\n" * number
        assert (views.at / "~3").resolve() == first
        assert tree(views.at / "~3/c1") == tree(first / "c1")
        found = os.lstat(views.at / "~1")
        assert stat.S_IFMT(found.st_mode) == stat.S_IFLNK
        assert (found.st_mode & 0o777, found.st_size) == (0o777, len(os.readlink(views.at / "~1")))
        for name in ("~4", "~", "~-1", "~x", "tomorrow", "x" * 255):
            with fails_with(errno.ENOENT):
                os.lstat(views.at / name)
        with fails_with(errno.EINVAL):
            os.readlink(views.at)
        assert os.listdir(views.at) == []


def test_name_of_a_pin_is_a_link_that_follows_it_at_once(place: Place, engine: str) -> None:
    place.producer.write_and_publish(ONE, "r1", b"one\n")
    with viewing(place, "--name-timeout", "1h", engine=engine) as views:
        first = views.taken()
        place.producer.write_and_publish(ONE, "r2", b"two\n")
        views.daemon.refresh()
        with fails_with(errno.ENOENT):
            os.lstat(views.at / "job")
        for view in (first, views.taken(), first):
            views.pin("job", view)
            assert (views.at / "job").resolve() == view


def test_latest_is_the_newest_date_whatever_its_run_is_like(place: Place, engine: str) -> None:
    place.producer.write_and_publish(ONE, "r1", b"one\n")
    with mounted(place, "--name-timeout", "1h", engine=engine) as daemon:
        directory = daemon.path / "c1/q1"
        latest = directory / "latest"
        assert os.readlink(latest) == "2024-06-01"
        assert (latest / "payload.jsonl").read_bytes() == b"one\n"
        held = os.open(directory, os.O_RDONLY)
        assert os.listdir(directory) == ["2024-06-01"]

        place.producer.set_ready(TWO, "lost")
        daemon.refresh()
        assert os.readlink(latest) == "2024-06-02"
        daemon.assert_refused(latest / "payload.jsonl")
        assert os.listdir(directory) == ["2024-06-01", "2024-06-02"]

        place.producer.fail(TWO)
        daemon.refresh()
        assert (latest / "payload.jsonl").read_bytes() == b"one\n"

        place.producer.fail(ONE)
        daemon.refresh()
        for path, where in ((latest, None), (Path("latest"), held)):
            with fails_with(errno.ENOENT):
                os.readlink(path, dir_fd=where)
        place.producer.write_and_publish(ONE, "r9", b"nine\n")
        daemon.refresh()
        assert os.readlink("latest", dir_fd=held) == "2024-06-01"
        assert (latest / "payload.jsonl").read_bytes() == b"nine\n"
        os.close(held)
        for above in (daemon.path, daemon.path / "c1", daemon.directory(ONE)):
            with fails_with(errno.ENOENT):
                os.lstat(above / "latest")


def test_latest_of_a_path_that_two_rows_claim_is_that_path(place: Place, engine: str) -> None:
    place.producer.write_and_publish(ONE, "r1", b"one\n")
    with mounted(place, engine=engine) as daemon:
        for source in ("s1", "s2"):
            place.producer.write_and_publish(partition(source=source, date="2024-06-02"), "r1", b"x\n")
        daemon.refresh()
        assert os.readlink(daemon.path / "c1/q1/latest") == "2024-06-02"
        daemon.assert_refused(daemon.path / "c1/q1/latest/payload.jsonl")


def test_latest_leads_to_the_whole_name_and_a_real_name_wins(place: Place, engine: str) -> None:
    named = partition("latest")
    for part in (named, ONE):
        place.producer.write_and_publish(part, "r1", b"one\n")
    layout = "{customer_id}/q={query_name}/date={logical_date}"
    with mounted(place, "--layout", layout, engine=engine) as daemon:
        assert os.readlink(daemon.path / "c1/q=q1/latest") == "date=2024-06-01"
        assert os.listdir(daemon.path / "latest") == ["q=q1"]
        assert (daemon.path / "latest/q=q1/latest/payload.jsonl").read_bytes() == b"one\n"


def test_latest_in_a_view_is_that_of_the_view(place: Place, engine: str) -> None:
    place.producer.write_and_publish(ONE, "r1", b"one\n")
    with viewing(place, engine=engine) as views:
        view = views.taken()
        place.producer.write_and_publish(TWO, "r1", b"two\n")
        views.daemon.refresh()
        before = views.daemon.requests("readlink")
        for _ in range(2):
            assert os.readlink(view / "c1/q1/latest") == "2024-06-01"
        assert views.daemon.requests("readlink") == before + 2
        assert os.readlink(views.taken() / "c1/q1/latest") == "2024-06-02"
        assert "latest" not in os.listdir(view / "c1/q1")


def test_latest_and_now_are_refused_while_the_catalog_is_too_old(place: Place, engine: str) -> None:
    """V11: views stay readable, and so does every name in `at/` that says which one is meant."""
    place.producer.write_and_publish(ONE, "r1", b"one\n")
    with viewing(place, "--interval", "200ms", "--max-staleness", "1s", engine=engine) as views:
        view, directory = views.taken(), os.open(views.daemon.path / "c1/q1", os.O_RDONLY)
        views.pin("job", view)
        place.state.rename(place.base / "away")
        wait_until(lambda: bool(views.daemon.status()["stale"]), "the catalog is too old")
        for path, where in ((views.at / "~0", None), (Path("latest"), directory)):
            with fails_with(errno.EIO):
                os.readlink(path, dir_fd=where)
        os.close(directory)
        assert (views.at / "job/c1/q1/latest/payload.jsonl").read_bytes() == b"one\n"
        assert tree(view) == {f"{ONE.path}/metadata.json": (view / ONE.path / "metadata.json").read_bytes()} | {
            f"{ONE.path}/payload.jsonl": b"one\n"
        }
        (place.base / "away").rename(place.state)
        wait_until(lambda: not views.daemon.status()["stale"], "the catalog is fresh again")
        assert os.readlink(views.at / "~0") == f"../views/{view.name}"
