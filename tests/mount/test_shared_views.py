"""V24, through real mounts: a view that is pinned on one mount is found on another, and is the same or is not there."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from readyfs.errors import ExitCode, PinStoreError
from tests.mount.bindfs import bound_in_place
from tests.mount.daemon import (
    EACH_ENGINE_ONCE,
    WITHOUT_DAC,
    Daemon,
    Place,
    fails_with,
    files_below,
    mounted,
    partition,
    running,
    try_to_mount,
    wait_until,
)
from tests.mount.forked import run_forked
from tests.mount.sharing import Neighbour, payload, pin, view

ONE, TWO = partition(), partition(date="2024-06-02")
SECRET = partition(customer="c2")
NO_HISTORY = ("--history-count", "0")
SOON_S = 5.0

on_both_engines = pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)


@pytest.fixture
def place(place: Place) -> Place:
    """A place with one partition, and an empty pin store."""
    place.producer.write_and_publish(ONE, "r1", b"first\n")
    (place.base / "pins").mkdir()
    return place


@pytest.fixture
def other(place: Place) -> Place:
    return Neighbour(place, "other")


def store(place: Place) -> tuple[str, ...]:
    return ("--pin-store", str(place.base / "pins"), *NO_HISTORY)


def content(daemon: Daemon, fingerprint: str) -> bytes:
    return payload(daemon, view(daemon, fingerprint), ONE).read_bytes()


def switch(place: Place, run: str = "r2") -> None:
    place.producer.write_and_publish(ONE, run, f"{run}\n".encode())


def is_refused(daemon: Daemon, fingerprint: str) -> bool:
    """Whether a file of a view cannot be had, though its name can."""
    try:
        content(daemon, fingerprint)
    except OSError as error:
        assert error.errno == errno.EIO, error
        return True
    return False


def why(daemon: Daemon, path: Path) -> dict[str, object]:
    done = run_forked(("why", str(path), "--json"), 30)
    return dict(json.loads(done.stdout))


def test_view_of_another_mount_is_found_at_the_first_lookup_and_is_the_same(
    place: Place, other: Place, engine: str
) -> None:
    """Of a mount that never had the catalog in force: it looked later, or earlier."""
    with mounted(other, *store(place), engine=engine) as b:
        switch(place)
        with mounted(place, *store(place), engine=engine) as a:
            newer = pin(a, "newer")
            switch(place, "r3")
            place.producer.write_and_publish(TWO, "r3", b"r3\n")
            a.refresh()
            assert os.listdir(b.directory(ONE).parent) == ["2024-06-01"]
            found = view(b, newer)
            assert payload(b, found, ONE).read_bytes() == b"r2\n"
            assert files_below(found) == files_below(view(a, newer))
            assert (b.path / ".readyfs/at/newer").resolve() == found
            assert newer in os.listdir(found.parent)
            assert b.of(ONE).read_bytes() == b"first\n"
            older = pin(b, "older")
            assert content(a, older) == b"first\n"
            inode = os.stat(payload(a, view(a, older), ONE)).st_ino
            assert inode == os.stat(payload(b, view(b, older), ONE)).st_ino
            assert [(one["name"], one["in_store"]) for one in a.public.pins()] == [("newer", True)]
            assert (a.status()["pin_store_pins"], b.status()["pin_store_views"]) == (1, 1)
            with fails_with(errno.ENOENT):
                os.stat(view(b, "01" + "0" * 30))
            with fails_with(errno.ENOENT):
                os.stat(b.path / ".readyfs/at/nobody")


@on_both_engines
def test_attributes_and_commands_know_a_found_view(place: Place, other: Place, engine: str) -> None:
    with mounted(place, *store(place), engine=engine) as a, mounted(other, *store(place), engine=engine) as b:
        fingerprint = pin(a)
        switch(place)
        for one in (a, b):
            one.refresh()
        [told] = a.public.pins()
        found = view(b, fingerprint)
        assert os.getxattr(found, "user.readyfs.fingerprint").decode() == fingerprint
        assert os.getxattr(found, "user.readyfs.taken_at").decode() == told["taken_at"]
        # By the clock of the store, which need not be this one to the millisecond.
        assert os.getxattr(found, "user.readyfs.expires_at").decode()[:16] in _around(str(told["expires_at"]))
        done = run_forked(("check", "--view", str(found), "--raw", str(place.raw), "--json"), 30)
        assert done.returncode == ExitCode.OK, done.stderr
        assert why(b, payload(b, found, ONE))["reason"] == "ready"
        done = run_forked(("pins", str(a.path)), 30)
        assert "in the pin store" in done.stdout


def _around(moment: str) -> set[str]:
    """Return the minute of a moment, and the one after it."""
    import datetime

    at = datetime.datetime.fromisoformat(moment)
    return {f"{at + datetime.timedelta(seconds=s):%Y-%m-%dT%H:%M}" for s in (-5, 0, 5)}


@on_both_engines
def test_view_ends_loudly_on_each_mount_when_the_last_lease_has_ended(place: Place, other: Place, engine: str) -> None:
    settings = (*store(place), "--pin-max", "4s", "--pin-default", "4s")
    with mounted(place, *settings, engine=engine) as a, mounted(other, *settings, engine=engine) as b:
        fingerprint = pin(a)
        assert content(b, fingerprint) == b"first\n"
        switch(place)
        for one in (a, b):
            one.refresh()
        for one in (a, b):
            wait_until(partial(is_refused, one, fingerprint), "the view has expired")
            assert os.listdir(view(one, fingerprint)) == ["c1"]
        with mounted(Neighbour(place, "third"), *settings, engine=engine) as c, fails_with(errno.EIO):
            os.stat(view(c, fingerprint))  # which has seen nothing of it
        with mounted(Neighbour(place, "fourth"), *settings, "--pin-grace", "0s", engine=engine) as c:
            assert not os.path.lexists(view(c, fingerprint))


@on_both_engines
def test_mount_that_reads_a_view_holds_it_though_its_pin_is_removed(place: Place, other: Place, engine: str) -> None:
    with mounted(place, *store(place), engine=engine) as a, mounted(other, *store(place), engine=engine) as b:
        fingerprint = pin(a)
        assert content(b, fingerprint) == b"first\n"
        switch(place)
        for one in (a, b):
            one.refresh()
        wait_until(lambda: len(leases(place, fingerprint)) == 2, "the store knows that the view is in use")
        a.public.unpin("job")
        assert [content(one, fingerprint) for one in (b, a)] == [b"first\n", b"first\n"]
        assert (a.path / ".readyfs/at/job").resolve() == view(a, fingerprint)
        assert a.status()["pin_store_pins"] == 0
        # What nobody uses ends with its pin.
        unused = pin(a, "unused")
        switch(place, "r3")
        for one in (a, b):
            one.refresh()
        a.public.unpin("unused")
        for one in (a, b):
            wait_until(partial(is_refused, one, unused), "the view has expired")


def leases(place: Place, fingerprint: str) -> list[Path]:
    """Return the lease files of a view."""
    return [file for file in (place.base / "pins").glob(f"**/{fingerprint}/leases/*") if not file.name.startswith(".")]


@on_both_engines
def test_found_views_and_pins_outlive_restarts_of_either_mount(place: Place, other: Place, engine: str) -> None:
    with running(place, *store(place), engine=engine) as a:
        fingerprint = pin(a)
        a.kill()
    switch(place)
    with running(other, *store(place), engine=engine) as b:
        assert content(b, fingerprint) == b"first\n"
        b.kill()
    with mounted(other, *store(place), engine=engine) as b:
        assert content(b, fingerprint) == b"first\n"
        with mounted(place, *store(place), engine=engine) as a:
            assert content(a, fingerprint) == b"first\n"
            wait_until(lambda: a.status()["pin_store_pins"] == 1, "the store is told of the pin again")
            a.public.unpin("job")
            assert a.status()["pin_store_pins"] == 0


def test_mount_of_one_customer_never_shows_a_view_with_others(place: Place, other: Place) -> None:
    mine = ("--customer", "c1")
    place.producer.write_and_publish(SECRET, "r1", b"secret\n")
    with mounted(place, *store(place), engine="opened") as a, mounted(other, *store(place), *mine) as b:
        everything = pin(a, "everything")
        for _ in range(2):
            with fails_with(errno.ENOENT):
                os.stat(view(b, everything))
            with fails_with(errno.ENOENT):
                os.stat(b.path / ".readyfs/at/everything")
        assert everything not in os.listdir(b.path / ".readyfs/views")
        [logged] = b.events("a view of the pin store is not shown here")
        assert "filters" in str(logged["reason"])
        told = why(b, payload(b, view(b, everything), ONE))
        assert (told["reason"], "filters" in str(told["detail"])) == ("filtered", True)
        with mounted(Neighbour(place, "third"), *store(place), *mine, "--until", "2024-06-01") as c:
            switch(place)
            place.producer.write_and_publish(TWO, "r2", b"r2\n")
            c.refresh()
            assert content(b, pin(c, "mine")) == b"r2\n"
            b.refresh()
            assert content(a, pin(b, "later")) == b"r2\n"
            with fails_with(errno.ENOENT):
                os.stat(view(c, pin(b, "again")))  # of a day that is beyond its last one


def test_view_of_another_raw_store_is_not_shown_unless_both_have_one_name(place: Place, other: Place) -> None:
    moved = place.base / "moved"
    moved.symlink_to(place.raw)
    elsewhere = (*store(place), "--raw", str(moved))
    with mounted(place, *store(place), "--raw-id", "lake") as a:
        fingerprint = pin(a)
        switch(place)
        with mounted(other, *elsewhere) as b:
            with fails_with(errno.ENOENT):
                os.stat(view(b, fingerprint))
            told = why(b, view(b, fingerprint))
            assert (told["reason"], "--raw-id" in str(told["detail"])) == ("filtered", True)
        with mounted(other, *elsewhere, "--raw-id", "lake") as b:
            assert content(b, fingerprint) == b"first\n"


def test_name_is_one_pin_in_the_whole_store(place: Place, other: Place) -> None:
    with mounted(place, *store(place)) as a, mounted(other, *store(place)) as b:
        pin(a)
        with pytest.raises(PinStoreError, match="has a pin named 'job' that is not of this mount; choose another name"):
            pin(b)
        assert b.public.pins() == []
        done = run_forked(("pin", str(b.path), "--name", "job"), 30)
        assert (done.returncode, done.stderr.count("\n")) == (ExitCode.PIN_STORE, 1)


@on_both_engines
def test_store_that_hangs_holds_up_only_who_looks_for_a_view_that_is_not_known(
    place: Place, other: Place, engine: str
) -> None:
    with mounted(place, *store(place), engine=engine) as a:
        fingerprint = pin(a, "known")
        switch(place)
        a.refresh()
        unknown = pin(a, "unknown")
    switch(place, "r3")
    pins = place.base / "pins"
    with (
        bound_in_place(pins, writable=True) as slow,
        mounted(other, *store(place), "--pin-store-timeout", "2s", engine=engine) as b,
    ):
        assert content(b, fingerprint) == b"first\n"
        slow.stop()
        rescue = threading.Timer(30.0, slow.go_on)
        rescue.start()
        try:
            refused: list[int | None] = []
            waiting = threading.Thread(target=lambda: refused.append(_errno_of(view(b, unknown))))
            waiting.start()
            began = time.monotonic()
            assert content(b, fingerprint) == b"first\n"
            assert b.of(ONE).read_bytes() == b"r3\n"
            assert fingerprint in os.listdir(b.path / ".readyfs/views")
            assert time.monotonic() - began < SOON_S
            waiting.join(20)
            assert refused == [errno.EIO]
            # By now it is known to hang, and nobody waits for it.
            assert _errno_of(view(b, "01" + "0" * 30)) == errno.EIO
            wait_until(lambda: b.status()["pin_store_error"] is not None, "the status says it")
            with pytest.raises(PinStoreError, match="did not answer within 2s"):
                pin(b, "new")
            assert why(b, view(b, unknown))["reason"] == "not_seen_yet"
        finally:
            rescue.cancel()
            rescue.join()
            slow.go_on()
        wait_until(lambda: b.status()["pin_store_error"] is None, "the store is asked again")
        assert content(b, unknown) == b"r2\n"
        assert len(b.events("the pin store cannot be used")) == len(b.events("the pin store can be used again")) == 1
        pin(b, "new")


def _errno_of(path: Path) -> int | None:
    try:
        os.stat(path)
    except OSError as error:
        return error.errno
    return None


@pytest.mark.parametrize(
    "where", ["raw root", "below the raw root", "mount point", "no directory", "not empty", "later"]
)
def test_pin_store_that_can_never_be_used_refuses_the_mount(place: Place, where: str) -> None:
    pins = place.base / "pins"
    match where:
        case "raw root":
            pins = place.raw
        case "below the raw root":
            pins = place.raw / "pins"
        case "mount point":
            pins = place.mountpoint / "pins"
        case "no directory":
            pins = place.state
        case "not empty":
            (pins / "diary.txt").write_text("mine\n")
        case "later":
            with mounted(place, *store(place)):
                pass
            marker = pins / "readyfs-pin-store"
            marker.write_text(marker.read_text().replace("readyfs store 1 ", "readyfs store 99 "))
    done = try_to_mount(place, "--pin-store", str(pins))
    assert (done.returncode, done.stderr.count("\n")) == (ExitCode.PIN_STORE, 1), done.stderr
    assert "pin store" in done.stderr


def test_pin_store_that_is_away_is_a_warning_and_is_used_once_it_is_back(place: Place, other: Place) -> None:
    pins = place.base / "pins"
    pins.rmdir()
    with mounted(place, *store(place), engine="opened") as a:
        assert len(a.events("the pin store cannot be used")) == 1
        assert "is not there" in str(a.status()["pin_store_error"])
        done = run_forked(("pin", str(a.path)), 30)
        assert (done.returncode, done.stderr.count("\n")) == (ExitCode.PIN_STORE, 1)
        assert a.public.pins() == []
        assert a.of(ONE).read_bytes() == b"first\n"
        with fails_with(errno.EIO):
            os.stat(view(a, "01" + "0" * 30))
        pins.mkdir()
        wait_until(lambda: a.status()["pin_store_error"] is None, "the store is used again", 30)
        fingerprint = pin(a)
        with mounted(other, *store(place)) as b:
            assert content(b, fingerprint) == b"first\n"


@pytest.mark.parametrize("trouble", ["full", "not to be written"])
def test_pin_that_the_store_cannot_take_is_one_line_and_nothing_is_left(
    place: Place, other: Place, trouble: str
) -> None:
    pins = place.base / "pins"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", pins], check=True, timeout=10)
    try:
        with mounted(place, *store(place), wrapper=WITHOUT_DAC) as a:
            if trouble == "full":
                with open(pins / ".filler", "wb") as filler, fails_with(errno.ENOSPC):
                    while True:
                        os.write(filler.fileno(), bytes(4096))
            else:
                for directory in (pins, *(one for one in pins.rglob("*") if one.is_dir())):
                    directory.chmod(0o555)
            done = run_forked(("pin", str(a.path), "--name", "job"), 30)
            assert (done.returncode, done.stderr.count("\n")) == (ExitCode.PIN_STORE, 1), done.stderr
            assert ("is full" if trouble == "full" else "cannot be read and written by this user") in done.stderr
            assert a.public.pins() == []
            assert a.of(ONE).read_bytes() == b"first\n"
            assert len(a.events("the pin store cannot be used")) == 1
            for directory in (pins, *(one for one in pins.rglob("*") if one.is_dir())):
                directory.chmod(0o755)
            (pins / ".filler").unlink(missing_ok=True)
            wait_until(lambda: a.status()["pin_store_error"] is None, "the store is used again", 30)
            fingerprint = pin(a)
            switch(place)
            with mounted(other, *store(place)) as b:
                assert content(b, fingerprint) == b"first\n"
    finally:
        subprocess.run(["umount", "--lazy", pins], check=True, timeout=10)


def test_view_whose_packs_are_not_what_was_written_is_not_there(place: Place, other: Place) -> None:
    with mounted(place, *store(place), engine="opened") as a, mounted(other, *store(place)) as b:
        fingerprint = pin(a)
        switch(place)
        b.refresh()
        [pack] = [one for one in (place.base / "pins/packs").rglob("*") if one.is_file()]
        whole = pack.read_bytes()
        pack.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert _errno_of(view(b, fingerprint)) == errno.ENOENT
        [logged] = b.events("a view of the pin store is not shown here")
        assert str(logged["reason"]) in str(why(b, view(b, fingerprint))["detail"])
        assert content(a, fingerprint) == b"first\n"
        pack.write_bytes(whole)
        wait_until(lambda: view(b, fingerprint).exists(), "it is looked for again")
        assert content(b, fingerprint) == b"first\n"
