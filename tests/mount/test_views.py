"""V16: a view holds still, whatever becomes of the live tree; its files are the live tree's."""

from __future__ import annotations

import errno
import os

import pytest

from tests.mount.daemon import Daemon, Place, fails_with, mounted, partition
from tests.mount.views import stats, tree, viewing

ONE, TWO, THREE = partition(), partition(date="2024-06-02"), partition("c2")


def publish_three(place: Place) -> None:
    for part in (ONE, TWO, THREE):
        run = place.producer.write_and_publish(part, "r1", f"{part.path} r1\n".encode() * 100).directory
        (run / "parts").mkdir()
        (run / "parts/1").write_bytes(b"part of r1\n")


def change_everything(place: Place, daemon: Daemon) -> None:
    """Reprocess one, retract one, touch one, and add one."""
    place.producer.write_and_publish(ONE, "r2", b"reprocessed\n" * 200)
    place.producer.fail(TWO)
    place.producer.set_ready(THREE, "r1", record_count=4711)
    place.producer.write_and_publish(partition("c3"), "r1", b"new\n")
    daemon.refresh()


@pytest.mark.parametrize("is_walked_before", [True, False])
def test_view_holds_still_while_everything_else_changes(place: Place, engine: str, is_walked_before: bool) -> None:
    publish_three(place)
    with viewing(place, engine=engine) as views:
        daemon = views.daemon
        names, live = sorted(os.listdir(daemon.path)), tree(daemon.path)
        view = views.taken()
        seen = stats(view) if is_walked_before else None
        change_everything(place, daemon)
        assert sorted(os.listdir(daemon.path)) == [*names, "c3"]
        assert tree(daemon.path) != live
        for _ in range(2):
            assert sorted(os.listdir(view)) == names
            assert tree(view) == live
            if seen is not None:
                assert stats(view) == seen
        now = views.taken()
        assert now != view
        assert tree(now) == tree(daemon.path)
        assert os.listdir(views.directory) == [now.name, view.name]
        assert not (view / ".readyfs").exists()
        assert ".readyfs" not in os.listdir(daemon.path)


def test_files_are_shared_between_trees_and_directories_are_not(place: Place, engine: str) -> None:
    publish_three(place)
    with viewing(place, engine=engine) as views:
        live, view = stats(views.daemon.path), stats(views.taken())
        assert live.keys() == view.keys()
        for path in live:
            is_directory = (views.daemon.path / path).is_dir()
            assert (live[path][0] == view[path][0]) is not is_directory, path
            assert live[path][1:3] == view[path][1:3], path
        paths = [top / ONE.path / "payload.jsonl" for top in (views.daemon.path, views.taken())]
        assert paths[0].samefile(paths[1])
        assert paths[0].read_bytes() == paths[1].read_bytes()
        before = views.daemon.requests("read")
        assert paths[1].read_bytes() == paths[0].read_bytes()
        if not views.daemon.traits.kernel_reads:
            assert views.daemon.requests("read") == before


def test_walk_of_a_view_that_was_walked_asks_for_nothing(place: Place, engine: str) -> None:
    publish_three(place)
    with viewing(place, engine=engine) as views:
        view = views.taken()
        stats(view)
        change_everything(place, views.daemon)
        before = {one: views.daemon.requests(one) for one in ("lookup", "getattr")}
        stats(view)
        after = {one: views.daemon.requests(one) for one in ("lookup", "getattr")}
        # No name is asked for; the attributes of the mount root are, for the refresh has changed them.
        assert after["lookup"] == before["lookup"]
        assert after["getattr"] <= before["getattr"] + 1


def test_view_of_nothing_that_is_held_is_absent(place: Place, engine: str) -> None:
    publish_three(place)
    with viewing(place, engine=engine) as views:
        for name in ("0" * 64, views.taken().name.upper(), "x", "~0", views.taken().name[:-1], "\udcff"):
            with fails_with(errno.ENOENT):
                os.lstat(views.directory / name)


def test_mount_that_keeps_nothing_has_the_view_of_what_is_in_force_alone(place: Place, engine: str) -> None:
    publish_three(place)
    with mounted(place, "--history-count", "0", engine=engine) as daemon:
        views = daemon.path / ".readyfs/views"
        first = daemon.status()["fingerprint"]
        assert os.listdir(views) == [first]
        place.producer.write_and_publish(partition("c9"), "r1", b"new\n")
        daemon.refresh()
        assert os.listdir(views) == [daemon.status()["fingerprint"]] != [first]
        assert os.listdir(daemon.path / ".readyfs/at") == []
        assert os.readlink(daemon.path / ".readyfs/at/~0") == f"../views/{daemon.status()['fingerprint']}"
        with fails_with(errno.ENOENT):
            os.lstat(daemon.path / ".readyfs/at/~1")
