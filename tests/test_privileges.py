"""Privileges: asked by capability, given up by a daemon before it starts a thread, and not missed by it afterwards."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.errors import ExitCode
from readyfs.fuse.mount_table import mounts_at
from readyfs.privileges import DAEMON_CAPABILITIES, Capability, has_capability
from tests.mount.daemon import ENGINES, Place, mounted, partition, running, try_to_mount, wait_until
from tests.state.state_files import held_by_another_process
from tests.systemd.service import PRODUCER, close_to_others, thread_status, world

NOBODY = 65534
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
DOCUMENTED = sum(1 << capability for capability in DAEMON_CAPABILITIES)

SHOW = """
import subprocess
def show(status):
    fields = dict(line.split(":\\t") for line in status.splitlines() if line.startswith(("Cap", "NoNewPrivs")))
    print(*fields.values())
"""
DROP_AND_SHOW = (
    SHOW
    + """
from readyfs.privileges import Capability, drop_privileges
drop_privileges({keep})
show(open("/proc/self/status").read())
show(subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout)
"""
)
EVERYTHING = int(thread_status(os.getpid())[0]["CapBnd"], 16)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python by way of setpriv(1) with these words."""
    return subprocess.run(
        ["setpriv", *words, "--", sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def user(*capabilities: str) -> list[str]:
    """Return the words that make an ordinary user with these capabilities, and with those that let Python start."""
    held = ",".join(f"+{name}" for name in ("dac_read_search", *capabilities))
    return [
        *(f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *(f"--inh-caps={held}", f"--ambient-caps={held}"),
    ]


def sets(line: str) -> tuple[dict[str, int], bool]:
    """Return the five sets of a process, and whether it gains nothing by set-uid programs."""
    *masks, no_new_privileges = line.split()
    return dict(zip(SETS, (int(mask, 16) for mask in masks), strict=True)), no_new_privileges == "1"


def drop(words: Sequence[str], keep: str = "") -> list[tuple[dict[str, int], bool]]:
    """Give privileges up in a process of its own; return the sets of it and of a program that it started then."""
    done = python(DROP_AND_SHOW.replace("{keep}", keep), *words)
    assert (done.returncode, done.stderr) == (0, "")
    return [sets(line) for line in done.stdout.splitlines()]


def mask(*capabilities: Capability) -> int:
    return sum(1 << capability for capability in capabilities)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ([], True),
        (["--bounding-set=-sys_admin"], False),
        (user(), False),
        (user("sys_admin"), True),
    ],
    ids=["root", "root-without", "user", "user-with"],
)
def test_capability_decides_and_not_the_user(words: Sequence[str], answer: bool) -> None:
    code = "from readyfs.privileges import *; print(has_capability(Capability.SYS_ADMIN))"
    assert python(code, *words).stdout == f"{answer}\n"


def test_capability_is_asked_of_the_set_in_force() -> None:
    """capabilities(7): root that becomes another user for a moment keeps the permitted set and loses the effective."""
    assert has_capability(Capability.SYS_ADMIN)
    os.seteuid(NOBODY)
    try:
        assert not has_capability(Capability.SYS_ADMIN)
    finally:
        os.seteuid(0)


def test_root_keeps_what_is_documented_and_so_does_what_it_starts() -> None:
    kept = {"CapInh": 0, "CapPrm": DOCUMENTED, "CapEff": DOCUMENTED, "CapBnd": DOCUMENTED, "CapAmb": 0}
    assert drop([]) == [(kept, True), (kept, True)]


def test_user_with_capabilities_keeps_them_and_passes_none_on() -> None:
    held = mask(Capability.SYS_ADMIN, Capability.DAC_READ_SEARCH)
    own, child = drop(user("sys_admin", "chown", "dac_override"))
    # The bounding set asks for CAP_SETPCAP to be reduced; without ambient capabilities a user gains nothing by it.
    assert own == ({"CapInh": 0, "CapPrm": held, "CapEff": held, "CapBnd": EVERYTHING, "CapAmb": 0}, True)
    assert child == ({"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": EVERYTHING, "CapAmb": 0}, True)


def test_set_uid_programs_keep_their_effect_where_one_will_have_to_unmount() -> None:
    own, _ = drop(["--bounding-set=-sys_admin"])
    assert own[0]["CapEff"] == DOCUMENTED & ~mask(Capability.SYS_ADMIN)
    assert not own[1]


def test_nothing_happens_to_who_has_no_privileges() -> None:
    # Python has to be started before: what it is made of may lie where only root can go.
    code = "import os; os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
    done = python("from readyfs.privileges import drop_privileges\n" + code + DROP_AND_SHOW.replace("{keep}", ""))
    assert (done.returncode, done.stderr) == (0, "")
    own, _ = map(sets, done.stdout.splitlines())
    assert own == (dict.fromkeys(SETS, 0) | {"CapBnd": EVERYTHING}, False)


def test_only_what_is_asked_for_is_kept() -> None:
    own, child = drop([], "{Capability.DAC_READ_SEARCH}")
    assert {own[0][name] for name in ("CapPrm", "CapEff", "CapBnd")} == {mask(Capability.DAC_READ_SEARCH)}
    assert child == own


def test_thread_that_was_there_before_is_not_passed_over_in_silence() -> None:
    code = """
import threading
from structlog.testing import capture_logs
from readyfs.privileges import drop_privileges
done = threading.Event()
thread = threading.Thread(target=done.wait)
thread.start()
with capture_logs() as logs:
    drop_privileges()
done.set()
print(logs)
"""
    said = python(code).stdout
    assert "threads that were started before keep their privileges" in said
    assert "'threads': 1" in said


# ---- a daemon that root started -------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_every_thread_of_a_daemon_of_root_holds_what_is_documented(tmp_path: Path, engine: str) -> None:
    place = Place(tmp_path)
    with closing(place.producer):
        place.producer.write_and_publish(partition(), "r1", b"x\n")
        with mounted(place, engine=engine) as daemon:
            assert daemon.of(partition()).read_bytes() == b"x\n"
            place.producer.write_and_publish(partition(date="2024-06-02"), "r2", b"y\n")
            assert daemon.refresh()["appeared"] == 1
            assert daemon.of(partition(date="2024-06-02")).read_bytes() == b"y\n"
            threads = thread_status(daemon.pid)
            assert len(threads) > 1
            for status in threads:
                assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {DOCUMENTED}, status
                assert {int(status[name], 16) for name in ("CapInh", "CapAmb")} == {0}, status
                assert status["NoNewPrivs"] == "1"
            assert not daemon.events("threads that were started before keep their privileges")


@pytest.mark.parametrize("engine", ENGINES)
def test_daemon_of_root_names_processes_of_others_that_keep_the_mount_busy(tmp_path: Path, engine: str) -> None:
    """V5: CAP_SYS_PTRACE is kept for this: without it a process with more capabilities cannot be looked at."""
    place = Place(tmp_path)
    with closing(place.producer):
        place.producer.write_and_publish(partition(), "r1", b"x\n")
        with running(place, engine=engine) as daemon:
            with subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd=daemon.directory(partition())) as holder:
                daemon.process.terminate()
                wait_until(lambda: not mounts_at(daemon.path), "the mount is detached")
                wait_until(lambda: bool(daemon.events("mount is in use")), "the holder is named")
                assert (holder.pid, "cat") in {
                    (line["pid"], line["command"]) for line in daemon.events("mount is in use")
                }
                holder.communicate(timeout=10)
            assert daemon.wait_ended() == ExitCode.OK


def journal_mode(place: Place, mode: str) -> None:
    with closing(sqlite3.connect(place.state)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("open_elsewhere", [False, True], ids=["at-rest", "in-use"])
def test_daemon_of_root_reads_a_state_file_that_only_its_owner_may_write(mode: str, open_elsewhere: bool) -> None:
    """CAP_DAC_OVERRIDE is not missed: a producer's database is read in both journal modes, beside it and without it."""
    with world(owner=0) as place:
        place.producer.write_and_publish(partition(), "r1", b"x\n")
        journal_mode(place, mode)
        close_to_others(place)
        before = place.state.stat()
        with mounted(place) as daemon:
            assert daemon.of(partition()).read_bytes() == b"x\n"
            statements = ["SELECT * FROM partition_state"] if open_elsewhere else []
            with held_by_another_process(place.state, *statements):
                place.producer.write_and_publish(partition(date="2024-06-02"), "r2", b"y\n")
                assert daemon.refresh()["appeared"] == 1
                assert daemon.of(partition(date="2024-06-02")).read_bytes() == b"y\n"
        after = place.state.stat()
        assert (before.st_uid, before.st_mode) == (after.st_uid, after.st_mode)


def test_daemon_of_root_reads_a_log_that_a_crash_left_and_what_it_makes_for_that_is_the_producers() -> None:
    """V8: the store is opened before privileges are given up, so that root can make the file and give it away."""
    with world(owner=0) as place:
        place.producer.write_and_publish(partition(), "r1", b"x\n")
        directory = place.base / "producer"
        directory.mkdir(mode=0o700)
        journal_mode(place, "wal")
        with held_by_another_process(place.state, "UPDATE partition_state SET attempt_count = 9"):
            for name in ("state.db", "state.db-wal"):
                shutil.copyfile(place.base / name, directory / name)
        for path in (directory, *directory.iterdir()):
            os.chown(path, PRODUCER, PRODUCER)
        with mounted(place, "--state", str(directory / "state.db")) as daemon:
            assert daemon.of(partition()).read_bytes() == b"x\n"
            assert {path.stat().st_uid for path in directory.iterdir()} == {PRODUCER}


def test_runtime_directory_of_a_service_is_refused_to_a_daemon_of_root_with_the_remedy() -> None:
    with world() as place:
        place.producer.write_and_publish(partition(), "r1", b"x\n")
        refused = try_to_mount(place, "--public-dir", str(place.base / "of root"))
        assert refused.returncode == ExitCode.USAGE
        assert "Permission denied; choose another directory with --runtime-dir" in refused.stderr
        assert not mounts_at(place.mountpoint)
