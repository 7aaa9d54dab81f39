"""V16: what becomes of runs reaches every tree that shows them: damage, healing, and being written again."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from readyfs.demo.producer import LogicalPartition
from tests.mount.daemon import Place, fails_with, partition
from tests.mount.views import Views, tree, viewing

ONE, OTHER = partition(), partition("c2")
OLD = b"old old old\n" * 1000


def in_view(view: Path, name: str = "payload.jsonl", part: LogicalPartition = ONE) -> Path:
    return view / part.path / name


def serve(place: Place) -> Path:
    run = place.producer.write_and_publish(ONE, "r1", OLD).directory
    (run / "parts").mkdir()
    (run / "parts/1").write_bytes(OLD)
    place.producer.write_and_publish(OTHER, "r1", b"other\n")
    return run


def retract(place: Place, views: Views) -> None:
    place.producer.fail(ONE)
    views.daemon.refresh()


def switch(place: Place, views: Views) -> None:
    place.producer.write_and_publish(ONE, "r2", b"another\n")
    views.daemon.refresh()


def stay(place: Place, views: Views) -> None:
    """Leave the run current in both trees."""


@pytest.mark.parametrize("before", [stay, retract, switch])
@pytest.mark.parametrize("is_found_in_view", [True, False])
def test_run_that_breaks_and_heals_does_so_in_every_tree(
    place: Place, engine: str, before: Callable[[Place, Views], None], is_found_in_view: bool
) -> None:
    run = serve(place)
    if before is not stay and not is_found_in_view:
        pytest.skip("only the view shows the run")
    with viewing(place, engine=engine) as views:
        view = views.taken()
        tops = [view, views.daemon.path]
        for top in tops:
            assert tree(top)[f"{ONE.path}/parts/1"] == OLD
            os.stat(in_view(top))
        before(place, views)
        showing = tops if before is stay else [view]
        os.rename(run, run.with_name("away"))
        for top in showing if is_found_in_view else reversed(showing):
            for name in ("parts/1", "payload.jsonl", "metadata.json"):
                if not views.daemon.traits.kernel_opens:  # there, what was read stays readable
                    views.daemon.assert_refused(in_view(top, name))
                assert os.path.exists(in_view(top, name))
        others = f"{OTHER.path}/payload.jsonl"
        assert (view / others).read_bytes() == (views.daemon.path / others).read_bytes() == b"other\n"
        os.rename(run.with_name("away"), run)
        for top in showing:
            assert [in_view(top, name).read_bytes() for name in ("parts/1", "payload.jsonl")] == [OLD, OLD]
        assert views.daemon.count("broken") == 0


def test_path_that_was_ambiguous_is_broken_in_its_view_for_ever(place: Place, engine: str) -> None:
    serve(place)
    with viewing(place, engine=engine) as views:
        place.producer.write_and_publish(partition(source="s2"), "r1", b"of s2\n")
        views.daemon.refresh()
        view = views.taken()
        views.daemon.assert_refused(in_view(view))
        place.producer.fail(partition(source="s2"))
        views.daemon.refresh()
        assert views.daemon.of(ONE).read_bytes() == OLD
        views.daemon.assert_refused(in_view(view))
        with fails_with(errno.EIO):
            os.lstat(in_view(view, "parts"))


def write_over(run: Path, new: bytes) -> None:
    (run / "payload.jsonl").write_bytes(new)


def write_as_long_with_the_same_times(run: Path, new: bytes) -> None:
    path = run / "payload.jsonl"
    before, fresh = path.stat(), path.with_name("fresh")
    fresh.write_bytes(new)
    os.utime(fresh, ns=(before.st_mtime_ns, before.st_mtime_ns))
    fresh.rename(path)


def write_from_scratch(run: Path, new: bytes) -> None:
    shutil.rmtree(run)
    run.mkdir()
    (run / "metadata.json").write_bytes(b"{}")
    (run / "payload.jsonl").write_bytes(new)


def touch(place: Place, views: Views) -> None:
    place.producer.set_ready(ONE, "r1")
    views.daemon.refresh()


def requeue(place: Place, views: Views) -> None:
    place.producer.requeue(ONE)
    views.daemon.refresh()
    touch(place, views)


@pytest.mark.parametrize("sign", [touch, requeue])
@pytest.mark.parametrize("write", [write_over, write_as_long_with_the_same_times, write_from_scratch])
def test_run_that_is_written_again_shows_the_view_no_other_bytes(
    place: Place, engine: str, write: Callable[[Path, bytes], None], sign: Callable[[Place, Views], None]
) -> None:
    new = OLD.replace(b"old", b"new")
    run = serve(place)
    with viewing(place, engine=engine) as views:
        walked, live = views.taken(), views.daemon.of(ONE)
        assert in_view(walked).read_bytes() == live.read_bytes() == OLD
        place.producer.write_and_publish(partition("c3"), "r1", b"c3\n")
        views.daemon.refresh()
        unwalked = views.taken()
        write(run, new)
        sign(place, views)
        assert live.read_bytes() == new
        for view in (walked, unwalked):
            try:
                assert in_view(view).read_bytes() == OLD  # what the kernel kept, where it opens by itself
            except OSError as error:
                assert error.errno == errno.EIO
            assert in_view(view, part=OTHER).read_bytes() == b"other\n"
            assert sorted(os.listdir(view / ONE.path)) == ["metadata.json", "parts", "payload.jsonl"]
        now = views.taken()
        assert in_view(now).read_bytes() == live.read_bytes() == new


def test_run_that_was_only_touched_is_served_in_every_view(place: Place, engine: str) -> None:
    run = serve(place)
    with viewing(place, engine=engine) as views:
        first = views.taken()
        assert tree(first)[f"{ONE.path}/parts/1"] == OLD
        place.producer.set_ready(ONE, "r1", record_count=5)
        views.daemon.refresh()
        (run / "late").write_bytes(b"more\n")  # before anybody looked again
        place.producer.set_ready(ONE, "r1", record_count=6)
        views.daemon.refresh()
        assert os.listdir(views.daemon.directory(ONE)) == ["late", "metadata.json", "parts", "payload.jsonl"]
        assert os.listdir(first / ONE.path) == ["metadata.json", "parts", "payload.jsonl"]
        with fails_with(errno.ENOENT):
            os.lstat(in_view(first, "late"))
        for top in (first, views.taken(), views.daemon.path):
            assert in_view(top).read_bytes() == in_view(top, "parts/1").read_bytes() == OLD
        counts = [os.getxattr(one / ONE.path, "user.readyfs.record_count") for one in (first, views.taken())]
        assert counts[1] == b"6" != counts[0]
        assert "user.readyfs.record_count" not in os.listxattr(in_view(first))
