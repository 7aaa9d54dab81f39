"""V16: what becomes of runs reaches every tree that shows them: damage, healing, and being written again."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from readyfs.demo.producer import LogicalPartition
from tests.mount.daemon import Place, fails_with, partition, wait_until
from tests.mount.views import tree, viewing

ONE, OTHER = partition(), partition("c2")
OLD = b"old old old\n" * 1000


def in_view(view: Path, name: str = "payload.jsonl", part: LogicalPartition = ONE) -> Path:
    return view / part.path / name


def serve(place: Place, part: LogicalPartition = ONE) -> Path:
    run = place.producer.write_and_publish(part, "r1", OLD).directory
    (run / "parts").mkdir()
    (run / "parts/1").write_bytes(OLD)
    return run


@pytest.mark.parametrize("is_found_in_view", [True, False])
def test_run_that_breaks_and_heals_does_so_in_every_tree(place: Place, engine: str, is_found_in_view: bool) -> None:
    """Whether the live tree shows it, too, or a view alone."""
    both, retracted, switched = (partition(name) for name in ("both", "retracted", "switched"))
    runs = {part: serve(place, part) for part in (both, retracted, switched)}
    place.producer.write_and_publish(OTHER, "r1", b"other\n")
    with viewing(place, engine=engine) as views:
        view, daemon = views.taken(), views.daemon
        before = tree(view)
        assert before == tree(daemon.path)
        place.producer.fail(retracted)
        place.producer.write_and_publish(switched, "r2", b"another\n")
        daemon.refresh()
        trees = {both: [view, daemon.path], retracted: [view], switched: [view]}
        for part, run in runs.items():
            os.rename(run, run.with_name("away"))
            for top in trees[part] if is_found_in_view else reversed(trees[part]):
                for name in ("parts/1", "payload.jsonl", "metadata.json"):
                    if not daemon.traits.kernel_opens:  # there, what was read stays readable
                        daemon.assert_refused(in_view(top, name, part))
                    assert os.path.exists(in_view(top, name, part))
        place.producer.set_ready(OTHER, "r1", record_count=9)
        daemon.refresh()  # forgets damage of what nobody shows
        if not daemon.traits.kernel_opens:
            daemon.assert_refused(in_view(view, "parts/1", retracted))
            assert daemon.count("broken") == 1
        for top in (view, daemon.path):
            assert in_view(top, part=OTHER).read_bytes() == b"other\n"
        for part, run in runs.items():
            os.rename(run.with_name("away"), run)
            for top in trees[part]:
                assert [in_view(top, name, part).read_bytes() for name in ("parts/1", "payload.jsonl")] == [OLD, OLD]
        # The kernel may have been told of damage late, and have opened by the names of before: then nobody has looked.
        wait_until(lambda: tree(view) == before and daemon.count("broken") == 0, "it is whole again")


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


WAYS: Final = (write_over, write_as_long_with_the_same_times, write_from_scratch)


def touch(place: Place, part: LogicalPartition) -> None:
    """Have the row say that something happened to the run."""
    place.producer.set_ready(part, "r1")


def requeue(place: Place, part: LogicalPartition) -> None:
    place.producer.requeue(part)


def test_run_that_is_written_again_shows_a_view_no_other_bytes(place: Place, engine: str) -> None:
    new = OLD.replace(b"old", b"new")
    cases = {
        partition(f"{write.__name__}-{sign.__name__}"): (write, sign)
        for write, sign in itertools.product(WAYS, (touch, requeue))
    }
    runs = {part: serve(place, part) for part in cases}
    place.producer.write_and_publish(OTHER, "r1", b"other\n")
    with viewing(place, engine=engine) as views:
        walked, daemon = views.taken(), views.daemon
        for part in cases:
            assert in_view(walked, part=part).read_bytes() == daemon.of(part).read_bytes() == OLD
        place.producer.set_ready(OTHER, "r1", record_count=9)
        daemon.refresh()
        unwalked = views.taken()
        for part, (write, sign) in cases.items():
            write(runs[part], new)
            sign(place, part)
        daemon.refresh()
        for part in cases:
            touch(place, part)
        daemon.refresh()
        for part in cases:
            assert daemon.of(part).read_bytes() == new
            for view in (walked, unwalked):
                try:
                    # What the kernel kept, where it opens by itself.
                    assert in_view(view, part=part).read_bytes() == OLD, part
                    assert daemon.traits.kernel_opens
                except OSError as error:
                    assert error.errno == errno.EIO
                assert sorted(os.listdir(view / part.path)) == ["metadata.json", "parts", "payload.jsonl"]
                assert in_view(view, part=OTHER).read_bytes() == b"other\n"
            assert in_view(views.taken(), part=part).read_bytes() == daemon.of(part).read_bytes() == new


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
