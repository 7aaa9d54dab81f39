"""V16: tools walk a view as any directory, also while everything else changes, and after a restart."""

from __future__ import annotations

import itertools
import subprocess
import tarfile
import threading
from contextlib import closing
from pathlib import Path

from readyfs.demo.producer import Producer
from tests.mount.daemon import Daemon, Place, partition
from tests.mount.views import stats, tree, viewing

PARTS = [partition(customer, date=f"2024-06-{day:02}") for customer in ("c1", "c2") for day in range(1, 6)]


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout


def publish(place: Place, run_id: str) -> None:
    for number, part in enumerate(PARTS):
        place.producer.write_and_publish(part, run_id, f"{run_id} {number}\n".encode() * (number + 1))


def flip(place: Place, daemon: Daemon, over: threading.Event) -> None:
    with closing(Producer(place.state, place.raw)) as producer:  # whose connection is this thread's
        for number in itertools.count(2):
            producer.write_and_publish(PARTS[number % len(PARTS)], f"r{number}", b"flip\n" * number)
            producer.fail(PARTS[(number + 1) % len(PARTS)])
            daemon.refresh()
            if over.is_set():
                return


def test_tools_copy_a_view_while_the_live_tree_flips(place: Place, engine: str, tmp_path: Path) -> None:
    publish(place, "r1")
    with viewing(place, engine=engine) as views:
        view, expected = views.taken(), tree(views.daemon.path)
        over = threading.Event()

        thread = threading.Thread(target=flip, args=(place, views.daemon, over))
        thread.start()
        try:
            for _ in range(3):
                assert tree(view) == expected
            copy, archive = tmp_path / "copy", tmp_path / "view.tar"
            run("rsync", "-aH", f"{view}/", f"{copy}/")
            run("tar", "-C", view, "-cf", archive, ".")
            assert len(run("find", view, "-type", "f").splitlines()) == len(expected)
        finally:
            over.set()
            thread.join()
        assert tree(copy) == expected
        with tarfile.open(archive) as opened:
            assert not any(member.islnk() for member in opened)
        run("tar", "-C", tmp_path, "--one-top-level=unpacked", "-xf", archive)
        assert tree(tmp_path / "unpacked") == expected
        run("diff", "-r", view, copy)
        assert tree(views.daemon.path) != expected


def test_trees_beside_each_other_differ_by_what_the_refresh_did(place: Place, engine: str) -> None:
    publish(place, "r1")
    with viewing(place, engine=engine) as views:
        run("diff", "-r", views.at / "~0/", f"{views.daemon.path}/")
        place.producer.write_and_publish(PARTS[0], "r2", b"another\n")
        views.daemon.refresh()
        done = subprocess.run(
            ["diff", "-rq", f"{views.at}/~1/", f"{views.daemon.path}/"], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1, done.stderr
        lines = [line for line in done.stdout.splitlines() if "payload" in line]
        assert len(lines) == 1
        assert PARTS[0].path in lines[0]
        alone = int(run("du", "-s", "--apparent-size", "-B1", views.taken()).split()[0])
        both = run("du", "-s", "--apparent-size", "-B1", views.daemon.path, views.taken()).splitlines()
        assert [int(line.split()[0]) for line in both] == [alone, 0], "what is shared counts once"


def test_view_is_the_same_after_a_restart(place: Place, engine: str) -> None:
    publish(place, "r1")
    shown = []
    for _ in range(2):
        with viewing(place, engine=engine) as views:
            shown.append((views.taken().name, stats(views.taken()), tree(views.taken())))
    assert shown[0] == shown[1]
