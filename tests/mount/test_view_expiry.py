"""V18: the end of a view is loud: no new open of it succeeds, nothing in it is absent, and then its name is gone."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mount.daemon import Daemon, Place, fails_with, partition, wait_until
from tests.mount.views import Views, viewing

ONE, TWO = partition(), partition("c2")
BYTES = b"one\n" * 5000


def serve(place: Place) -> None:
    run = place.producer.write_and_publish(ONE, "r1", BYTES).directory
    (run / "parts").mkdir()
    (run / "parts/1").write_bytes(BYTES)
    place.producer.write_and_publish(TWO, "r1", b"two\n")


def leave_behind(place: Place, views: Views) -> Path:
    """Have the view of the catalog in force be that of one before."""
    view = views.taken()
    place.producer.write_and_publish(TWO, "r2", b"two again\n")
    views.daemon.refresh()
    return view


def assert_refused_at(daemon: Daemon, directory: int, name: str) -> None:
    """Check that a file cannot be had by its name in a directory that is held."""
    if not daemon.traits.kernel_opens:
        with fails_with(errno.EIO):
            os.open(name, os.O_RDONLY, dir_fd=directory)
        return
    file = os.open(name, os.O_RDONLY, dir_fd=directory)
    with fails_with(errno.EIO):
        os.read(file, 1)
    os.close(file)


def test_expired_view_answers_names_and_refuses_every_open(place: Place, engine: str) -> None:
    serve(place)
    with viewing(place, engine=engine) as views:
        daemon = views.daemon
        view = leave_behind(place, views)
        date = view / ONE.path
        held = {path: os.open(path, os.O_RDONLY) for path in (view, view / "c1", date, date / "parts")}
        opened = [os.open(path, os.O_RDONLY) for path in (date / "payload.jsonl", date / "parts/1", date / "parts/1")]
        assert os.read(opened[0], 4) == b"one\n"
        assert [os.read(one, 1 << 20) for one in opened[1:]] == [BYTES, BYTES]
        listed = {path: os.listdir(path) for path in held}
        before = os.getcwd()
        os.chdir(date)
        try:
            views.expire(view)
            for path, directory in held.items():
                assert os.listdir(path) == os.listdir(directory) == listed[path]
            for name in ("payload.jsonl", "metadata.json", "parts/1"):
                daemon.assert_refused(date / name)
                daemon.assert_refused(name)  # from the working directory
                assert_refused_at(daemon, held[date], name)
                assert_refused_at(daemon, held[view], f"{ONE.path}/{name}")
                assert os.path.exists(date / name)
            assert_refused_at(daemon, held[date / "parts"], "1")
            daemon.assert_refused(view / TWO.path / "payload.jsonl")
            assert view.name in os.listdir(views.directory)
            assert os.readlink(view / "c1/q1/latest") == "2024-06-01"
            # What is open goes on, and the same files of the live tree are as they were.
            assert os.pread(opened[0], 1 << 20, 0) == BYTES
            assert daemon.of(ONE).read_bytes() == daemon.of(ONE, "parts/1").read_bytes() == BYTES

            views.remove(view)
            assert os.pread(opened[0], 1 << 20, 0) == BYTES
            for path in (view, date, date / "payload.jsonl"):
                with fails_with(errno.ENOENT):
                    os.stat(path)
            assert view.name not in os.listdir(views.directory)
            for directory in held.values():
                with fails_with(errno.ESTALE):
                    os.listdir(directory)
            with fails_with(errno.ESTALE):
                os.listdir(".")
            for path, name in ((view, "c1"), (view / "c1", "q1"), (date, "payload.jsonl"), (date / "parts", "1")):
                with fails_with(errno.ESTALE):
                    os.stat(name, dir_fd=held[path])
        finally:
            os.chdir(before)
            for descriptor in (*held.values(), *opened):
                os.close(descriptor)
        assert daemon.of(ONE).read_bytes() == BYTES


def test_names_that_are_in_use_are_refused_before_anybody_lists_them(place: Place, engine: str) -> None:
    """With a view's root the kernel drops what lies below, but for names that somebody holds; a listing mends these."""
    serve(place)
    with viewing(place, engine=engine) as views:
        view = leave_behind(place, views)
        date = view / ONE.path
        directories = [os.open(directory, os.O_RDONLY) for directory in (date, date / "parts")]
        files = [os.open(file, os.O_RDONLY) for file in (date / "payload.jsonl", date / "parts/1")]
        os.stat("metadata.json", dir_fd=directories[0])
        views.expire(view)
        assert_refused_at(views.daemon, directories[0], "payload.jsonl")
        assert_refused_at(views.daemon, directories[0], "metadata.json")
        assert_refused_at(views.daemon, directories[1], "1")
        for descriptor in (*directories, *files):
            os.close(descriptor)


@pytest.mark.parametrize("ask", [os.stat, lambda path: list(os.scandir(path.parent))], ids=["lookup", "listing"])
def test_answer_of_before_the_expiry_brings_the_kernel_no_name(
    place: Place, engine: str, ask: Callable[[Path], object]
) -> None:
    serve(place)
    with viewing(place, engine=engine) as views:
        view = leave_behind(place, views)
        date = view / ONE.path
        os.stat(date)
        views.gate.touch()
        with ThreadPoolExecutor() as executor:
            asked = executor.submit(ask, date / "payload.jsonl")
            wait_until(views.gate.with_name("reached").exists, "an answer is under way")
            views.expire(view)
            views.gate.unlink()
            asked.result(10)
        views.daemon.assert_refused(date / "payload.jsonl")


def test_mapped_file_of_a_view_that_is_gone_stays(place: Place, engine: str) -> None:
    serve(place)
    with viewing(place, engine=engine) as views:
        view = leave_behind(place, views)
        path = view / ONE.path / "payload.jsonl"
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
            views.expire(view)
            views.remove(view)
            assert mapping[:] == file.read() == BYTES


@pytest.mark.parametrize("is_walked", [True, False])
def test_view_that_is_gone_leaves_nothing_behind(place: Place, engine: str, is_walked: bool) -> None:
    serve(place)
    with viewing(place, engine=engine) as views:
        view = leave_behind(place, views)
        os.listdir(views.directory)
        inodes = views.daemon.count("inodes")
        if is_walked:
            (view / ONE.path / "payload.jsonl").read_bytes()
        views.remove(view)
        with fails_with(errno.ENOENT):
            os.stat(view)
        assert views.daemon.count("inodes") <= inodes


def test_listing_of_the_views_outlives_those_that_come_and_go(place: Place, engine: str) -> None:
    """V7: a pass gives each name of its beginning once."""
    serve(place)
    with viewing(place, engine=engine) as views:
        for number in range(60):
            place.producer.set_ready(ONE, "r1", record_count=number)
            views.daemon.refresh()
        expected = os.listdir(views.directory)
        assert len(expected) == 61
        assert expected[0] == views.taken().name
        with os.scandir(views.directory) as entries:
            seen = [next(entries).name]
            views.remove(views.directory / expected[30])
            leave_behind(place, views)
            seen += [entry.name for entry in entries]
        assert seen == expected
