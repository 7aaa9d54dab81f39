"""V3, V4: what a listing says of names reaches the kernel's cache late, and is never taken for what is so by then.

The kernel keeps what a listing says of each name (READDIRPLUS), in the midst of a call that may be held up for as long
as its caller's memory is. Whatever it keeps then takes the place of what others looked up meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from readyfs.demo.producer import LogicalPartition
from readyfs.fuse.notifications import EXPIRE_ALL_FROM
from tests.fuse.direct.test_bursts import DATES, make_ready
from tests.mount import stalled_listing
from tests.mount.daemon import EACH_ENGINE_ONCE, Daemon, Place, mounted, partition, wait_until
from tests.mount.sharing import pin, view

ONE, TWO = partition("c1"), partition("c2")


@contextmanager
def stalled(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """List a directory, and stand still before the kernel keeps any name of what it was told."""
    arguments = [sys.executable, stalled_listing.__file__, str(directory)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"stalled\n"
            yield process
        finally:
            release(process)


def release(process: subprocess.Popen[bytes]) -> None:
    """Let a listing go on, and wait for its end."""
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 0


@contextmanager
def refreshing(daemon: Daemon) -> Iterator[threading.Thread]:
    """Refresh meanwhile, once that is over or has to wait for a listing that is held up."""
    thread = threading.Thread(target=daemon.refresh)
    thread.start()
    try:
        wait_until(lambda: not thread.is_alive() or waits_for_a_directory(daemon), "the refresh ends, or has to wait")
        yield thread
    finally:
        thread.join(20)


def waits_for_a_directory(daemon: Daemon) -> bool:
    """Tell whether a thread of the daemon waits in the kernel for others to be done with a directory."""
    threads = Path(f"/proc/{daemon.pid}/task").iterdir()
    return any((thread / "wchan").read_text() == "fuse_reverse_inval_entry" for thread in threads)


def run_of(daemon: Daemon, part: LogicalPartition) -> bytes:
    return os.getxattr(daemon.directory(part), "user.readyfs.run_id")


@pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)
def test_no_path_goes_back_while_others_are_told(place: Place, engine: str) -> None:
    """A refresh waits at one directory; a listing of before that ends late changes nothing in another one."""
    for part in (ONE, TWO):
        place.producer.write_and_publish(part, "r1", b"1\n")
    seen = []
    with mounted(place, engine=engine) as daemon:
        first, second = (daemon.directory(part).parent for part in (ONE, TWO))
        with stalled(first) as held, stalled(second) as late:
            for part in (ONE, TWO):
                place.producer.write_and_publish(part, "r2", b"2\n")
            with refreshing(daemon):
                seen.append(run_of(daemon, TWO))
                release(late)
                seen.append(run_of(daemon, TWO))
                release(held)
        seen.append(run_of(daemon, TWO))
    assert seen == sorted(seen)
    assert seen[-1] == b"r2"


@pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)
@pytest.mark.parametrize("count", [2, EXPIRE_ALL_FROM])
def test_no_old_name_is_seen_after_the_refresh(place: Place, engine: str, count: int) -> None:
    """However many names change, and so whatever the kernel is told of them."""
    parts = [partition(date=date) for date in DATES[:count]]
    make_ready(place, parts, "r1")
    with mounted(place, engine=engine) as daemon:
        directory = daemon.directory(parts[0]).parent
        with stalled(directory) as late:
            make_ready(place, parts, "r2")
            with refreshing(daemon):
                os.stat(directory)  # or the kernel, asking for the way there anew, would drop all that lies below
                release(late)
        assert {run_of(daemon, part) for part in parts} == {b"r2"}


@pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)
def test_end_of_a_view_that_a_reader_holds_up_holds_up_no_refresh(place: Place, engine: str) -> None:
    """V3: who stands still in a view of the past keeps nobody from what is new."""
    place.producer.write_and_publish(ONE, "r1", b"1\n")
    with mounted(place, "--history-count", "0", engine=engine) as daemon:
        root = view(daemon, pin(daemon))
        place.producer.write_and_publish(ONE, "r2", b"2\n")
        daemon.refresh()
        assert run_of(daemon, ONE) == b"r2"
        with stalled(root / "c1"):
            daemon.public.unpin("job")
            wait_until(lambda: waits_for_a_directory(daemon), "the end of the view waits")
            place.producer.write_and_publish(ONE, "r3", b"3\n")
            daemon.refresh()
            assert run_of(daemon, ONE) == b"r3"
            assert waits_for_a_directory(daemon)
