"""V20: `readyfs.pin`, from programs of every kind: threads, forks, trio, asyncio, and users without rights."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
import trio

import readyfs
from readyfs.errors import NotRunningError, UsageError
from tests.mount.daemon import Daemon, Place, mounted, partition, wait_until

ONE: Final = partition()
SOURCE: Final = Path(__file__).parents[2] / "src"
NOBODY: Final = 65534


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One mount for all, which others can walk down to."""
    with tempfile.TemporaryDirectory(prefix="readyfs-") as directory:
        Path(directory).chmod(0o755)
        place = Place(Path(directory))
        with closing(place.producer):
            place.producer.write_and_publish(ONE, "r1", b"first\n")
            with mounted(place, engine="opened") as found:
                yield found


def names(daemon: Daemon) -> set[str]:
    return {str(one["name"]) for one in daemon.public.pins()}


def read(path: Path) -> bytes:
    return (path / ONE.path / "payload.jsonl").read_bytes()


def test_a_view_is_held_for_the_body_and_no_longer(daemon: Daemon) -> None:
    with readyfs.pin(daemon.path, name="body", note="a test") as path:
        assert path.parent == daemon.path / ".readyfs/views"
        assert read(path) == b"first\n"
        [found] = [one for one in daemon.public.pins() if one["name"] == "body"]
        assert found["note"] == "a test"
    assert "body" not in names(daemon)


def test_an_exception_passes_and_the_view_is_let_go(daemon: Daemon) -> None:
    with pytest.raises(ZeroDivisionError) as caught, readyfs.pin(str(daemon.path), name="fails"):
        raise ZeroDivisionError
    assert not getattr(caught.value, "__notes__", [])
    assert "fails" not in names(daemon)


def expires(daemon: Daemon, name: str) -> str:
    return next(str(one["expires_at"]) for one in daemon.public.pins() if one["name"] == name)


@pytest.mark.parametrize("lease", ["1500ms", 1.5, timedelta(seconds=1.5)])
def test_the_lease_is_kept_alive_in_the_background(daemon: Daemon, lease: str | float | timedelta) -> None:
    with readyfs.pin(daemon.path, name="alive", lease=lease):
        before = expires(daemon, "alive")
        wait_until(lambda: expires(daemon, "alive") > before, "the lease is renewed")
        assert len([one for one in threading.enumerate() if one.name == "readyfs-lease"]) == 1
    wait_until(lambda: not [one for one in threading.enumerate() if one.name == "readyfs-lease"], "the thread ended")


def test_a_lost_lease_raises_at_the_end(daemon: Daemon) -> None:
    with pytest.raises(readyfs.LeaseLostError, match="was not held to the end"), readyfs.pin(daemon.path, name="lost"):
        daemon.public.unpin("lost")


def test_a_lost_lease_is_a_note_of_what_the_body_raised(daemon: Daemon) -> None:
    with pytest.raises(OSError, match="boom") as caught, readyfs.pin(daemon.path, name="lost"):
        daemon.public.unpin("lost")
        raise OSError("boom")
    [note] = caught.value.__notes__
    assert "was not held to the end" in note


def test_threads_hold_views_of_their_own(daemon: Daemon) -> None:
    together, failures = threading.Barrier(8), []

    def work(number: int) -> None:
        try:
            with readyfs.pin(daemon.path, name=f"thread{number}") as path:
                together.wait(20)
                assert f"thread{number}" in names(daemon)
                assert read(path) == b"first\n"
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []


def test_with_trio(daemon: Daemon) -> None:
    async def main() -> None:
        async with readyfs.pin(daemon.path, name="trio") as path:
            assert "trio" in await trio.to_thread.run_sync(names, daemon)
            assert read(path) == b"first\n"

    trio.run(main)
    assert "trio" not in names(daemon)


def test_with_trio_a_body_that_is_cancelled_lets_go(daemon: Daemon) -> None:
    async def main() -> None:
        with trio.move_on_after(0.01) as scope:
            async with readyfs.pin(daemon.path, name="cancelled"):
                await trio.sleep_forever()
        assert scope.cancelled_caught

    trio.run(main)
    assert "cancelled" not in names(daemon)


def test_with_asyncio(daemon: Daemon) -> None:
    async def main() -> None:
        async with readyfs.pin(daemon.path, name="asyncio") as path:
            assert "asyncio" in await asyncio.to_thread(names, daemon)
            assert read(path) == b"first\n"

    asyncio.run(main())
    assert "asyncio" not in names(daemon)


def test_with_asyncio_whoever_is_cancelled_while_it_pins_holds_nothing(daemon: Daemon) -> None:
    async def hold() -> None:
        async with readyfs.pin(daemon.path, name="cancelled"):
            await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.ensure_future(hold())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wait_until(lambda: "cancelled" not in names(daemon), "it is undone")
    wait_until(lambda: not [one for one in threading.enumerate() if one.name == "readyfs-lease"], "nobody renews it")


# ---- forks ---------------------------------------------------------------------------------------------------------


def in_child(work: str, daemon: Daemon) -> str:
    """Run a program of its own, and return what it printed."""
    program = f"import os, sys, time, threading\nsys.path.insert(0, {str(SOURCE)!r})\nimport readyfs\n{work}"
    done = subprocess.run(
        [sys.executable, "-c", program, str(daemon.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_child_reads_and_leaves_the_view_to_its_parent(daemon: Daemon) -> None:
    printed = in_child(
        """
with readyfs.pin(sys.argv[1], name="parent") as path:
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        os.listdir(path)
        with readyfs.pin(sys.argv[1], name="second"):
            pass
    else:
        assert [one.name for one in threading.enumerate()].count("readyfs-lease") == 1
        os.listdir(path)
if child:
    print("parent done")
""",
        daemon,
    )
    assert printed == "parent done\n"
    [reason] = [one["reason"] for one in daemon.public.pins(expired=True) if one["name"] == "parent"]
    assert reason == "unpinned"


def test_a_child_keeps_the_lease_alive_when_its_parent_is_gone(daemon: Daemon) -> None:
    """As a program does that goes into the background."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as told:
        program = (
            f"import os, sys\nsys.path.insert(0, {str(SOURCE)!r})\nimport readyfs\n"
            "with readyfs.pin(sys.argv[1], name='orphan', lease='1500ms'):\n"
            "    if os.fork():\n        os._exit(0)\n"
            "    os.write(int(sys.argv[2]), b'x')\n    sys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, str(daemon.path), str(writer)], stdin=subprocess.PIPE, pass_fds=[writer]
        ) as process:
            os.close(writer)
            assert told.read(1) == b"x"
            process.wait(20)
            before = expires(daemon, "orphan")
            wait_until(lambda: expires(daemon, "orphan") > before, "the child renews the lease")
            assert process.stdin is not None
            process.stdin.close()
        assert told.read() == b""  # ended
    assert "orphan" in names(daemon)
    daemon.public.unpin("orphan")


# ---- who, and what is imported ------------------------------------------------------------------------------------


def test_it_needs_no_rights_and_imports_neither_fuse_nor_a_database_nor_an_event_loop(daemon: Daemon) -> None:
    printed = in_child(
        f"""
readyfs.pin
import json, select, encodings.idna
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
with readyfs.pin(sys.argv[1]) as path:
    os.listdir(path)
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}})))
""",
        daemon,
    )
    heavy = {"trio", "sqlalchemy", "pyfuse3", "psycopg", "click", "structlog", "orjson", "prometheus_client", "asyncio"}
    assert heavy.isdisjoint(json.loads(printed))


def test_what_is_offered_is_named_and_there() -> None:
    assert {"pin", "PinnedView", "LeaseLostError", "UserError"} <= set(readyfs.__all__) <= set(dir(readyfs))
    assert all(hasattr(readyfs, name) for name in readyfs.__all__)
    assert issubclass(readyfs.LeaseLostError, readyfs.UserError)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        readyfs.nothing  # noqa: B018


def test_it_says_what_is_wrong_on_entering(daemon: Daemon, tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="nothing is mounted at"), readyfs.pin(tmp_path):
        pass
    with pytest.raises(UsageError, match="a pin cannot be named"), readyfs.pin(daemon.path, name="~1"):
        pass
    for lease in ("5", "1ms", 0.0, float("nan"), float("inf")):
        with pytest.raises(UsageError):
            readyfs.pin(daemon.path, lease=lease)
    with pytest.raises(UsageError, match="None is no lease"):
        readyfs.pin(daemon.path, lease=None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the mount point is empty"):
        readyfs.pin("")
    once = readyfs.pin(daemon.path)
    with once, pytest.raises(UsageError, match="entered already"):
        once.__enter__()


def test_the_socket_can_be_named(daemon: Daemon) -> None:
    """As it must be in a container, where it may be elsewhere."""
    elsewhere = daemon.place.base / "bound"
    elsewhere.mkdir()
    os.link((daemon.path / ".readyfs/socket").readlink(), elsewhere / "s")
    with readyfs.pin(daemon.path, name="named", socket=elsewhere / "s") as path:
        assert read(path) == b"first\n"


def test_a_pin_that_lasts_as_long_as_it_can_is_lost_afterwards(daemon: Daemon) -> None:
    daemon.place.change("UPDATE partition_state SET record_count = 4711")
    daemon.refresh()  # a view that nobody has used: one in use would not end with its lease
    pinned = readyfs.pin(daemon.path, name="limited", lease="1s")
    with pytest.raises(readyfs.LeaseLostError), pinned:
        assert pinned._keeper is not None
        pinned._keeper._latest_s = 0.0
        wait_until(lambda: "limited" not in names(daemon), "the lease has ended")
