"""V18 and V20, through real mounts: a view is held while a lease lasts, and its end is loud."""

from __future__ import annotations

import errno
import importlib
import json
import os
import pkgutil
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from functools import cache
from io import FileIO, TextIOWrapper
from pathlib import Path
from typing import Final

import pytest

import readyfs
from readyfs.cli.main import main
from readyfs.cli.pins_text import render_ended, render_pins
from readyfs.control.peer import ROOT
from readyfs.control.pin_requests import PinRequest
from readyfs.errors import ExitCode, HistoryError, NoAnswerError, NotRunningError, RefreshFailedError, UsageError
from tests.history.kept import change_fingerprint_version
from tests.mount.daemon import Daemon, Place, fails_with, mounted, partition, running, try_to_mount, wait_until
from tests.mount.forked import run_forked

ONE, TWO = partition(), partition(date="2024-06-02")
NO_HISTORY: Final = ("--history-count", "0")
NOBODY: Final = 65534
STUCK: Final = (sys.executable, str(Path(__file__).with_name("stuck_pins_daemon.py")))


@pytest.fixture
def place(place: Place) -> Place:
    """A place with one partition."""
    place.producer.write_and_publish(ONE, "r1", b"first\n")
    return place


def pin(daemon: Daemon, name: str | None = "job", *, refresh: bool = False) -> Path:
    """Pin, and return the view."""
    return daemon.public.view(str(daemon.public.pin(PinRequest(name, refresh=refresh))["fingerprint"]))


def content(view: Path) -> bytes:
    return (view / ONE.path / "payload.jsonl").read_bytes()


def switch(place: Place, daemon: Daemon, run: str = "r2") -> None:
    place.producer.write_and_publish(ONE, run, f"{run}\n".encode())
    daemon.refresh()


def ended(daemon: Daemon) -> list[str]:
    return [str(one["name"]) for one in daemon.public.pins(expired=True)]


def test_a_pinned_view_stays_whatever_is_refreshed_and_is_found_by_its_name(place: Place, engine: str) -> None:
    with mounted(place, *NO_HISTORY, engine=engine) as daemon:
        view = pin(daemon)
        for number in range(3):
            switch(place, daemon, f"s{number}")
        assert daemon.of(ONE).read_bytes() == b"s2\n"
        assert content(view) == b"first\n"
        by_name = daemon.path / ".readyfs/at/job"
        assert by_name.resolve() == view
        assert content(by_name) == b"first\n"
        assert (daemon.path / ".readyfs/socket").readlink().is_socket()
        [found] = daemon.public.pins()
        assert (found["name"], found["fingerprint"], found["behind_catalogs"]) == ("job", view.name, 3)
        assert isinstance(found["behind_seconds"], float)
        assert found["behind_seconds"] > 0
        attributes = {
            name: os.getxattr(view, f"user.readyfs.{name}").decode() for name in ("fingerprint", "expires_at")
        }
        assert attributes == {"fingerprint": view.name, "expires_at": found["expires_at"]}
        wait_until(lambda: daemon.public.pins()[0]["memory_bytes"] is not None, "its memory is measured")


def test_unpinning_lets_the_view_expire_and_everything_is_as_before(place: Place, engine: str) -> None:
    with mounted(place, *NO_HISTORY, engine=engine) as daemon:
        view, also = pin(daemon), pin(daemon, "also")
        assert view == also
        switch(place, daemon)
        daemon.public.unpin("job")
        assert content(view) == b"first\n"
        daemon.public.unpin("also")
        wait_until(lambda: os.getxattr(daemon.path, "user.readyfs.revision") == b"2", "the switch is in force")
        wait_until(lambda: is_refused(view), "the view has expired")
        assert daemon.public.pins() == []
        assert ended(daemon) == ["job", "also"]
        assert is_refused(daemon.path / ".readyfs/at/job")


def is_refused(view: Path) -> bool:
    """Whether a file of a view cannot be had, and its names can."""
    assert os.listdir(view / ONE.path) != []
    try:
        content(view)
    except OSError as error:
        assert error.errno == errno.EIO, error
        return True
    return False


def test_the_end_of_a_lease_is_loud(place: Place, engine: str) -> None:
    """Names and listings answer, every new open is EIO, open files go on; the name goes with a tombstone."""
    with mounted(place, *NO_HISTORY, "--pin-max", "1s", "--pin-default", "1s", engine=engine) as daemon:
        view = pin(daemon)
        with open(view / ONE.path / "payload.jsonl", "rb", buffering=0) as reader:
            assert reader.read(2) == b"fi"
            switch(place, daemon)
            wait_until(lambda: ended(daemon) == ["job"], "the lease has ended")
            wait_until(lambda: is_refused(view), "the view has expired")
            assert sorted(os.listdir(view / ONE.path)) == ["metadata.json", "payload.jsonl"]
            daemon.assert_refused(view / ONE.path / "metadata.json")
            assert reader.read() == b"rst\n"
        assert (daemon.path / ".readyfs/at/job").resolve() == view
        [left] = daemon.public.pins(expired=True)
        assert (left["reason"], left["uid"], left["fingerprint"]) == ("lease ended", ROOT, view.name)
        [logged] = daemon.events("the lease of a pin has ended")
        assert (logged["name"], logged["fingerprint"]) == ("job", view.name)


def test_after_the_grace_time_the_name_is_gone(place: Place, engine: str) -> None:
    settings = (*NO_HISTORY, "--pin-max", "1s", "--pin-default", "1s", "--pin-grace", "500ms")
    with mounted(place, *settings, engine=engine) as daemon:
        view = pin(daemon)
        assert content(view) == b"first\n"
        switch(place, daemon)
        wait_until(lambda: not view.exists(), "the view is gone")
        with fails_with(errno.ENOENT):
            os.listdir(view)
        assert view.name not in os.listdir(view.parent)
        assert not os.path.lexists(daemon.path / ".readyfs/at/job")
        assert ended(daemon) == ["job"]


def test_a_view_that_the_bounds_of_the_history_drop_expires_in_the_same_way(place: Place, engine: str) -> None:
    with mounted(place, "--history-count", "1", engine=engine) as daemon:
        view = daemon.path / ".readyfs/views" / str(daemon.status()["fingerprint"])
        assert content(view) == b"first\n"
        switch(place, daemon, "r2")
        assert content(view) == b"first\n"
        switch(place, daemon, "r3")
        wait_until(lambda: is_refused(view), "the view has expired")


def test_a_lease_that_ends_while_the_history_keeps_the_catalog_harms_nobody(place: Place, engine: str) -> None:
    with mounted(place, "--pin-max", "1s", "--pin-default", "1s", engine=engine) as daemon:
        view = pin(daemon)
        switch(place, daemon)
        wait_until(lambda: ended(daemon) == ["job"], "the lease has ended")
        assert content(view) == b"first\n"


def test_a_catalog_that_comes_back_is_a_view_again(place: Place, engine: str) -> None:
    with mounted(place, *NO_HISTORY, engine=engine) as daemon:
        view = pin(daemon)
        assert content(view) == b"first\n"
        place.change("UPDATE partition_state SET status = 'pending'")
        daemon.refresh()
        daemon.public.unpin("job")
        wait_until(lambda: is_refused(view), "the view has expired")
        place.change("UPDATE partition_state SET status = 'success'")
        daemon.refresh()
        assert daemon.status()["fingerprint"] == view.name
        wait_until(lambda: not is_refused(view), "the view is back")
        assert content(view) == b"first\n"


# ---- durability ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_pins_survive(place: Place, engine: str, how: str) -> None:
    """A restart, and `kill -9` right after the answer."""
    with running(place, *NO_HISTORY, engine=engine) as daemon:
        answer = daemon.public.pin(PinRequest("job", 3600.0, "for the night"))
        daemon.kill() if how == "kill" else daemon.stop()
    place.producer.write_and_publish(ONE, "r2", b"second\n")
    with mounted(place, *NO_HISTORY, engine=engine) as daemon:
        assert daemon.of(ONE).read_bytes() == b"second\n"
        assert content(daemon.path / ".readyfs/at/job") == b"first\n"
        [found] = daemon.public.pins()
        kept = ("name", "fingerprint", "taken_at", "pinned_at", "uid", "note")
        assert {key: found[key] for key in kept} == {key: answer[key] for key in kept}
        assert isinstance(found["expires_in_seconds"], float)
        assert 3500 < found["expires_in_seconds"] < 3600
        daemon.public.renew("job", 7200.0)


def test_a_lease_that_ended_while_nobody_served_is_loud_after_the_restart(place: Place, engine: str) -> None:
    settings = (*NO_HISTORY, "--pin-max", "1s", "--pin-default", "1s")
    with running(place, *settings, engine=engine) as daemon:
        view = pin(daemon)
        daemon.kill()
    place.producer.write_and_publish(ONE, "r2", b"second\n")
    with mounted(place, *settings, engine=engine) as daemon:
        wait_until(lambda: ended(daemon) == ["job"], "the lease has ended")
        with fails_with(errno.EIO):
            os.stat(view)
        with fails_with(errno.EIO):
            os.listdir(view)


def test_a_pin_that_cannot_be_written_is_refused_and_nothing_is_half_made(place: Place, engine: str) -> None:
    with mounted(place, engine=engine) as daemon:
        (place.base / "var/pins").write_bytes(b"in the way of a directory")
        with pytest.raises(HistoryError, match="the pins cannot be written"):
            pin(daemon)
        assert daemon.public.pins() == []
        assert not os.path.lexists(daemon.path / ".readyfs/at/job")
        (place.base / "var/pins").unlink()
        assert content(pin(daemon)) == b"first\n"
        assert daemon.log_text().count("pins cannot be written") <= 1


def test_a_pin_whose_end_cannot_be_written_is_still_there(place: Place, engine: str) -> None:
    with mounted(place, *NO_HISTORY, engine=engine) as daemon:
        view = pin(daemon)
        switch(place, daemon)
        pins = place.base / "var/pins"
        pins.rename(pins.with_name("away"))
        pins.write_bytes(b"in the way of a directory")
        with pytest.raises(HistoryError, match="the pins cannot be written"):
            daemon.public.unpin("job")
        assert [one["name"] for one in daemon.public.pins()] == ["job"]
        assert content(view) == b"first\n"
        pins.unlink()
        daemon.public.unpin("job")
        wait_until(lambda: is_refused(view), "the view has expired")


def test_pins_of_a_later_version_are_not_thrown_away(place: Place) -> None:
    """The mount is refused in one line, and everything is there for the version that can read it."""
    with running(place, *NO_HISTORY) as daemon:
        view = pin(daemon)
        daemon.stop()
    [path] = (place.base / "var/pins").iterdir()
    written = path.read_bytes()
    path.write_bytes(b'{"version":2}\n')
    place.producer.write_and_publish(ONE, "r2", b"second\n")
    refused = try_to_mount(place, *NO_HISTORY)
    assert refused.returncode == ExitCode.NOT_KEPT
    assert refused.stderr.startswith("readyfs: the pins in ")
    assert refused.stderr.count("\n") == 1
    assert "later version" in refused.stderr
    path.write_bytes(written)
    with mounted(place, *NO_HISTORY) as daemon:
        assert content(view) == b"first\n"


def test_a_disk_that_hangs_while_one_pins_does_not_keep_the_daemon(place: Place) -> None:
    with running(place, wrapper=STUCK) as daemon:
        with pytest.raises(NoAnswerError):
            daemon.public.pin(PinRequest("job"), 0.5)
        assert daemon.stop() == ExitCode.OK
        assert not daemon.path.is_mount()


def test_pins_of_other_settings_are_void_and_said_to_be(place: Place) -> None:
    with running(place, *NO_HISTORY) as daemon:
        pin(daemon)
        daemon.stop()
    with mounted(place, *NO_HISTORY, "--layout", "{query_name}/{customer_id}/{logical_date}") as daemon:
        assert daemon.public.pins() == []
        [left] = daemon.public.pins(expired=True)
        assert (left["name"], left["reason"]) == ("job", "its catalog is not kept any more")
        assert len(daemon.events("the catalog of a pin is not kept any more")) == 1


@pytest.mark.parametrize("version", [None, "2"])
def test_pins_of_other_fingerprints_are_void_and_said_to_be(place: Place, version: str | None) -> None:
    """What a release pinned that hashes in another way, or one of before there were versions, is told of."""
    with running(place, *NO_HISTORY) as daemon:
        pin(daemon)
        daemon.stop()
    (segment,) = (place.base / "var/history").glob("*/*.history")
    change_fingerprint_version(segment, version)
    place.producer.write_and_publish(ONE, "r2", b"second\n")
    with mounted(place, *NO_HISTORY) as daemon:
        assert daemon.public.pins() == []
        [left] = daemon.public.pins(expired=True)
        assert (left["name"], left["reason"]) == ("job", "its catalog is not kept any more")
        [begun] = daemon.events("the history is of other settings and begins anew")
        assert begun["settings"] == ["fingerprint-version"]
        assert content(pin(daemon, "again")) == b"second\n"


# ---- what is not pinned -------------------------------------------------------------------------------------------


def test_pin_with_a_refresh_sees_what_has_just_become_ready(place: Place, engine: str) -> None:
    with mounted(place, engine=engine) as daemon:
        place.producer.write_and_publish(TWO, "r1", b"new\n")
        assert not (pin(daemon, "before") / TWO.path).exists()
        assert (pin(daemon, "after", refresh=True) / TWO.path / "payload.jsonl").read_bytes() == b"new\n"


def test_what_is_held_back_is_not_pinned_and_what_is_in_force_is(place: Place, engine: str) -> None:
    with mounted(place, "--max-retract", "50%", "--retract-floor", "1", engine=engine) as daemon:
        place.change("UPDATE partition_state SET status = 'pending'")
        with pytest.raises(RefreshFailedError, match="held back"):
            pin(daemon, refresh=True)
        assert daemon.public.pins() == []
        assert content(pin(daemon)) == b"first\n"


def test_a_state_that_cannot_be_read_fails_a_pin_with_a_refresh_and_no_other(place: Place, engine: str) -> None:
    with mounted(place, engine=engine) as daemon:
        place.state.rename(place.state.with_name("away.db"))
        with pytest.raises(RefreshFailedError, match="the state cannot be read"):
            pin(daemon, refresh=True)
        assert content(pin(daemon)) == b"first\n"
        place.state.with_name("away.db").rename(place.state)


def test_a_catalog_that_is_too_old_is_not_pinned_and_pinned_views_stay_readable(place: Place, engine: str) -> None:
    with mounted(place, "--interval", "100ms", "--max-staleness", "1s", engine=engine) as daemon:
        view = pin(daemon)
        place.state.rename(place.state.with_name("away.db"))
        wait_until(lambda: daemon.status()["stale"] is True, "the catalog is too old")
        with pytest.raises(RefreshFailedError, match=r"the catalog is \ds old"):
            pin(daemon, "late")
        assert content(view) == b"first\n"
        assert [one["name"] for one in daemon.public.pins()] == ["job"]
        place.state.with_name("away.db").rename(place.state)
        wait_until(lambda: daemon.status()["stale"] is False, "the catalog is fresh again")
        pin(daemon, "late")


def test_a_pin_that_is_taken_while_refreshes_flip_is_whole_and_held(place: Place, engine: str) -> None:
    with mounted(place, *NO_HISTORY, engine=engine) as daemon:
        over = threading.Event()

        def flip() -> None:
            while not over.is_set():
                place.change("UPDATE partition_state SET record_count = coalesce(record_count, 0) + 1")
                daemon.refresh()

        flipping = threading.Thread(target=flip)
        flipping.start()
        try:
            views = [pin(daemon, f"job{number}") for number in range(20)]
        finally:
            over.set()
            flipping.join(30)
        assert [content(view) for view in views] == [b"first\n"] * 20
        pins = daemon.public.pins()
        assert {one["fingerprint"] for one in pins} == {view.name for view in views}
        assert {view.name for view in views} <= set(os.listdir(views[0].parent))


def test_a_name_is_refused_that_cannot_be_one(place: Place) -> None:
    with mounted(place) as daemon:
        pin(daemon)
        for name in ("job", "2024-06-01", "~1", "a/b", "ab" * 16):
            with pytest.raises(UsageError):
                pin(daemon, name)
        assert len(daemon.public.pins()) == 1


# ---- other users --------------------------------------------------------------------------------------------------


def as_nobody(daemon: Daemon, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that names the mount point as a user who has no rights at all."""
    return run_as_nobody(words[0], str(daemon.path), *words[1:])


@cache
def import_all() -> None:
    """Import the whole program, whose commands are imported when they are called for otherwise."""
    for module in pkgutil.walk_packages(readyfs.__path__, "readyfs."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def run_as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as that user: in a fork, as it could not read what it would import."""
    import_all()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        child = os.fork()
        if not child:
            code = 70
            try:
                os.dup2(output.fileno(), 1)
                os.dup2(errors.fileno(), 2)
                sys.stdout, sys.stderr = (TextIOWrapper(FileIO(number, "w", closefd=False)) for number in (1, 2))
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                code = int(main(list(arguments)))
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(list(arguments), code, *texts)


def test_another_user_pins_and_is_bounded_by_what_is_its_own(open_place: Place) -> None:
    with mounted(open_place, "--pin-count", "1") as daemon:
        made = as_nobody(daemon, "pin", "--name", "theirs", "--for", "1h", "--note", "why", "--json")
        assert (made.returncode, made.stderr) == (0, "")
        answer = json.loads(made.stdout)
        assert answer["path"] == f"{daemon.path}/.readyfs/views/{answer['fingerprint']}"
        assert (answer["uid"], answer["note"]) == (NOBODY, "why")
        assert as_nobody(daemon, "pin").returncode == ExitCode.LIMIT
        pin(daemon, "roots")
        refused = as_nobody(daemon, "unpin", "roots")
        assert (refused.returncode, refused.stderr.count("\n")) == (ExitCode.NOT_PERMITTED, 1)
        assert as_nobody(daemon, "renew", "theirs", "--for", "2h").returncode == 0
        assert as_nobody(daemon, "unpin", "theirs").returncode == 0
        made = as_nobody(daemon, "pin", "--name", "again")
        assert content(Path(made.stdout.strip())) == b"first\n"
        daemon.public.unpin("again")
        found = daemon.public.pins(expired=True)
        told = [(left["name"], left["reason"], left["ended_by_uid"]) for left in found]
        assert told == [("theirs", "unpinned", NOBODY), ("again", "removed by the operator", ROOT)]
        # A view's memory is measured in the background: the list is as it was before the command, or after it.
        before = render_pins(daemon.public.pins())
        listed = as_nobody(daemon, "pins").stdout
        assert listed in (f"{before}\n", f"{render_pins(daemon.public.pins())}\n")
        assert as_nobody(daemon, "pins", "--expired").stdout == render_ended(found) + "\n"


@pytest.mark.parametrize("closed", [("--dir-mode", "0550"), ("--no-allow-other",)])
def test_whoever_the_mount_does_not_let_in_learns_nothing(open_place: Place, closed: tuple[str, ...]) -> None:
    with mounted(open_place, *closed) as daemon:
        pin(daemon)
        socket = str((daemon.path / ".readyfs/socket").readlink())
        for words in (("pins",), ("pin",), ("unpin", "job"), ("pins", "--socket", socket), ("pin", "--socket", socket)):
            refused = as_nobody(daemon, *words)
            assert (refused.returncode, refused.stdout) == (ExitCode.NOT_PERMITTED, ""), words
            assert "may not enter" in refused.stderr
            assert "job" not in refused.stderr


def test_lists_of_pins_fit_a_terminal() -> None:
    fingerprint, time = "c3fd3cb2" + "0" * 24, "2024-06-01T05:00:07.123456+00:00"
    both = {"name": "pin-0123456789ab", "fingerprint": fingerprint, "taken_at": time, "uid": 1, "user": "etl"}
    held = both | {"expires_at": time, "behind_catalogs": 1000, "behind_seconds": 2592000.0, "memory_bytes": 4096}
    assert render_pins([held | {"note": "nightly report"}, held | {"note": "", "memory_bytes": None}]).split("\n") == [
        "NAME              VIEW      TAKEN                 BEHIND      EXPIRES",
        "pin-0123456789ab  c3fd3cb2  2024-06-01 05:00:07Z  1000 (30d)  2024-06-01 05:00:07Z",
        "  etl, adds 4KiB of memory: nightly report",
        "pin-0123456789ab  c3fd3cb2  2024-06-01 05:00:07Z  1000 (30d)  2024-06-01 05:00:07Z",
        "  etl, memory not measured yet",
    ]
    consumers = [held | {"note": "", "acknowledged": cursor} for cursor in ("beginning", "f" * 32, fingerprint)]
    assert render_pins(consumers).split("\n")[2::2] == [
        "  etl, a consumer of changes that has not acknowledged its batch, adds 4KiB of memory",
        "  etl, a consumer of changes that has not acknowledged its batch, adds 4KiB of memory",
        "  etl, a consumer of changes that has acknowledged all, adds 4KiB of memory",
    ]
    assert render_ended([both | {"ended_at": time, "reason": "lease ended", "note": "nightly"}]).split("\n") == [
        "NAME              VIEW      TAKEN                 ENDED",
        "pin-0123456789ab  c3fd3cb2  2024-06-01 05:00:07Z  2024-06-01 05:00:07Z",
        "  etl, lease ended: nightly",
    ]


# ---- a mount that was named wrongly ------------------------------------------------------------------------------


def test_the_daemon_of_another_mount_does_nothing_and_that_is_said(place: Place, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other_place = Place(tmp_path / "other")
    with closing(other_place.producer), mounted(place) as daemon, mounted(other_place) as other:
        other.public.pin(PinRequest("theirs"))
        socket = str((other.path / ".readyfs/socket").readlink())
        at = (str(daemon.path), "--socket", socket)
        for words in (("pin",), ("pins",), ("renew", "theirs"), ("unpin", "theirs")):
            done = run_forked((words[0], *at, *words[1:]), 30)
            assert (done.returncode, done.stdout) == (ExitCode.NOT_RUNNING, ""), words
            assert f"the socket {socket} is of another mount than {daemon.path}" in done.stderr
        with pytest.raises(NotRunningError, match="is of another mount"), readyfs.pin(daemon.path, socket=socket):
            pass
        assert [one["name"] for one in other.public.pins()] == ["theirs"]


def test_messages_say_what_is_wrong_with_a_mount_point_or_a_socket(place: Place, tmp_path: Path) -> None:
    with mounted(place) as daemon:
        inside = daemon.path / ONE.customer_id
        for words, said in (
            ((str(inside),), f"{inside} lies inside the readyfs mount at {daemon.path}"),
            ((str(tmp_path),), f"nothing is mounted at {tmp_path}"),
            ((f"{tmp_path}/none",), f"there is no {tmp_path}/none"),
            (("/proc",), "/proc is no readyfs mount"),
            ((str(daemon.path), "--socket", "/proc"), "nobody listens at the public socket /proc"),
            ((str(daemon.path), "--socket", "/" + "x" * 200), "cannot use the public socket /xxx"),
        ):
            done = run_forked(("pin", *words), 30)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (ExitCode.NOT_RUNNING, "", 1), words
            assert said in done.stderr


def test_json_says_why_it_failed_as_a_refresh_does(place: Place) -> None:
    with mounted(place, "--pin-max", "10m", "--pin-default", "1m") as daemon:
        for words, code in (
            (("pin", "--for", "400d"), ExitCode.USAGE),
            (("pin", "--for", "10ms"), ExitCode.USAGE),
            (("renew", "none"), ExitCode.NO_PIN),
            (("unpin", "none"), ExitCode.NO_PIN),
            (("pins", "--socket", "/proc"), ExitCode.NOT_RUNNING),
        ):
            done = run_forked((words[0], str(daemon.path), "--json", *words[1:]), 30)
            told = json.loads(done.stdout)
            assert (done.returncode, told["exit_code"], told["mountpoint"]) == (code, code, str(daemon.path)), words
            assert done.stderr == f"readyfs: {told['error']}\n"
            if "--for" in words:
                assert "from 1s to 10m (--pin-max)" in told["error"]


def test_clearing_a_dead_mount_takes_its_public_socket_away(place: Place) -> None:
    with running(place) as daemon:
        socket = (daemon.path / ".readyfs/socket").readlink()
        daemon.kill()
        assert socket.is_socket()
        done = run_forked(("umount", str(daemon.path), "--runtime-dir", str(place.runtime_dir)), 30)
        assert done.returncode == 0, done.stderr
        assert not os.path.lexists(socket)


def test_a_public_socket_that_cannot_be_reached_is_named(open_place: Place) -> None:
    with mounted(open_place) as daemon:
        socket = (daemon.path / ".readyfs/socket").readlink()
        socket.parent.chmod(0o700)
        refused = as_nobody(daemon, "pin")
        assert (refused.returncode, refused.stderr.count("\n")) == (ExitCode.NOT_RUNNING, 1)
        assert f"directories above its public socket {socket}" in refused.stderr


# ---- the runs of a view -------------------------------------------------------------------------------------------


def test_a_check_of_a_view_names_the_runs_that_are_gone_and_needs_no_state(place: Place, engine: str) -> None:
    place.producer.write_and_publish(TWO, "r1", b"two\n")
    with mounted(place, engine=engine) as daemon:
        view = pin(daemon)
        switch(place, daemon)
        words = ("check", "--view", str(view), "--raw", str(place.raw), "--format", "json")
        done = run_forked(words, 30)
        assert (done.returncode, json.loads(done.stdout)["checked"]) == (0, 2), done.stderr
        [run] = [path for path in place.raw.rglob("run_id=r1") if "2024-06-01" in str(path)]
        shutil.rmtree(run)
        done = run_forked(words, 30)
        assert done.returncode == 12
        assert "r1" in done.stdout
        assert "run_missing" in done.stdout
        for other, why in (
            (place.base, ""),
            (daemon.path, ": it is the live tree"),
            (place.base / "none", ": No such"),
        ):
            done = run_forked(("check", "--view", str(other), "--raw", str(place.raw)), 30)
            assert (done.returncode, done.stderr.count("\n")) == (ExitCode.USAGE, 1)
            assert f"{other} is no view that can be read{why}" in done.stderr


def test_a_check_of_a_view_counts_an_ambiguous_path_once(place: Place) -> None:
    place.producer.write_and_publish(partition(date="2024-06-02"), "r1", b"two\n")
    with mounted(place) as daemon:
        place.producer.write_and_publish(partition(source="s2"), "r1", b"another's\n")
        daemon.refresh()
        done = run_forked(("check", "--view", str(pin(daemon)), "--raw", str(place.raw), "--json"), 30)
        findings = json.loads(done.stdout)["findings"]
        assert [(one["kind"], one["count"]) for one in findings] == [("ambiguous_path", 1)]
        assert "/c1/q1/2024-06-01" in done.stdout


def test_a_check_of_a_view_stays_with_the_view_that_a_link_leads_to(place: Place) -> None:
    """It says which that is, asks for no more than it compares, and tells partitions of two sources apart."""
    place.producer.write_and_publish(partition(source="s2", query="q2"), "r1", b"two\n")
    place.producer.write_and_publish(partition(source="s2", date="2024-06-02"), "r1", b"two\n")
    with mounted(place, "--layout", "{source}/{query_name}/{customer_id}/{logical_date}", engine="opened") as daemon:
        place.producer.write_and_publish(partition(source="s2"), "r1", b"on the same date as that of s1\n")
        daemon.refresh()
        view = pin(daemon)
        before = [daemon.requests(name) for name in ("readlink", "listxattr", "getxattr")]
        words = ("--view", f"{daemon.path}/.readyfs/at/job", "--raw", str(place.raw), "--format", "json")
        done = run_forked(("check", *words), 30)
        found = json.loads(done.stdout)
        assert (done.returncode, found["state"], found["checked"]) == (0, str(view), 4), done.stderr
        links, lists, gets = (
            daemon.requests(name) - one for name, one in zip(("readlink", "listxattr", "getxattr"), before, strict=True)
        )
        assert found["indistinguishable"] is None
        assert links <= 3  # and not one for each partition
        assert lists == 0
        assert gets <= 4 * 7 + 10
        refused = run_forked(("check", *words, "--customer", "c1", "--state", "x.db", "--layout", "hive"), 30)
        assert (refused.returncode, refused.stderr.count("\n")) == (ExitCode.USAGE, 1)
        assert "--state, --customer, --layout have no effect with --view" in refused.stderr
        (place.base / "mount.toml").write_text(f'state = "{place.state}"\ncustomer = ["c9"]\n')
        assert run_forked(("check", *words, "--config", str(place.base / "mount.toml")), 30).returncode == 0
