"""V3, V11: only the database file is handed over, and what SQLite keeps beside it is not: by a bind mount or a link."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from readyfs.errors import StateError
from readyfs.state.sqlite import file as sqlite_file
from readyfs.state.sqlite.looks import LONE_LOOKS
from readyfs.state.sqlite.stamp import stamp
from tests.state.state_files import (
    KEY,
    ROOT,
    contract_row,
    create_table,
    execute,
    held_by_another_process,
    insert,
    load_once,
    opened,
    settle,
)

SET_RUN = "UPDATE partition_state SET current_run_id = 'other'"
LOOK_AND_STAY = """
import sys
from pathlib import Path
from readyfs.state.sqlite.connection import connected
from readyfs.state.sqlite.pairing import Pairing
with connected(Path(sys.argv[1]), 5, Pairing()) as opened:
    print(opened.access.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["mounted", "linked"])
def handed(request: pytest.FixtureRequest, wal_file: Path) -> Iterator[Path]:
    """The path by which a reader gets the database file of `wal_file`, and nothing else."""
    directory = wal_file.with_name("container")
    directory.mkdir()
    path = directory / "state.db"
    if request.param == "linked":
        path.hardlink_to(wal_file)
        yield path
        return
    if os.geteuid() != 0:
        pytest.skip("mounting a file takes root")
    path.touch()
    subprocess.run(["mount", "--bind", wal_file, path], check=True, timeout=10)
    yield path
    subprocess.run(["umount", path], check=True, timeout=10)


def test_file_that_is_handed_over_alone_is_warned_of_once(handed: Path) -> None:
    with opened(handed) as store, capture_logs() as logs:
        for _ in range(2):
            assert store.load().rows == 1
    (warning,) = [line for line in logs if line["log_level"] == "warning"]
    assert warning["event"].startswith("only the file of the state database was handed over")


def test_log_elsewhere_is_an_outage_from_the_third_look_until_its_owner_is_gone(wal_file: Path, handed: Path) -> None:
    """V3, V11: commits in it would never be seen."""
    settle(wal_file)
    with opened(handed) as store:
        token = store.load().token
        with held_by_another_process(wal_file, SET_RUN):
            for _ in range(LONE_LOOKS - 1):
                assert store.probe() == token, "a log may just be being made"
            for _ in range(2):
                assert store.probe() != token
                with pytest.raises(StateError, match=r"somebody has it open whose log is not here.*the directory"):
                    store.load()
        execute(wal_file, "PRAGMA user_version")  # the next to close moves the log into the file
        assert store.probe() != token
        assert store.load().series[KEY].run_ids == (b"other",)


def test_log_elsewhere_is_an_outage_at_the_first_load_where_only_the_file_was_handed_over(
    wal_file: Path, handed: Path
) -> None:
    """V3, V11: a mount does not come up on what somebody else's log has changed."""
    settle(wal_file)
    with (
        held_by_another_process(wal_file, SET_RUN),
        pytest.raises(StateError, match=r"somebody has it open whose log is not here"),
    ):
        load_once(handed)


def test_other_readers_of_this_kind_are_not_taken_for_somebody_with_a_log(wal_file: Path) -> None:
    """V11: two mounts of one state."""
    settle(wal_file)
    with opened(wal_file) as store:
        token = store.load().token
        command = [sys.executable, "-c", LOOK_AND_STAY, str(wal_file)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"WAL_AT_REST\n"
            for _ in range(2 * LONE_LOOKS):
                assert store.probe() == token
            assert store.load().rows == 1
            other.communicate(timeout=30)
    assert other.returncode == 0


def test_looks_with_a_log_in_between_are_not_looks_running(wal_file: Path) -> None:
    with opened(wal_file) as store:
        for _ in range(LONE_LOOKS):
            with held_by_another_process(wal_file, SET_RUN):
                store.load()
            execute(wal_file, "PRAGMA user_version")
            assert store.load().rows == 1


def test_mounted_file_that_is_replaced_where_it_comes_from_is_an_outage(tmp_path: Path) -> None:
    """V3, V11: the mount goes on showing the old file, for ever."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file takes root")
    host, guest, new = tmp_path / "state.db", tmp_path / "guest.db", tmp_path / "new.db"
    for path, run in ((host, "old"), (new, "new")):
        create_table(path, keyed=True)
        insert(path, contract_row(current_run_id=run))
    guest.touch()
    subprocess.run(["mount", "--bind", host, guest], check=True, timeout=10)
    try:
        with opened(guest) as store:
            store.load()
            new.rename(host)
            for action in (store.probe, store.load):
                with pytest.raises(StateError, match=r"replaced or deleted where it comes from.*mount the directory"):
                    action()
    finally:
        subprocess.run(["umount", guest], check=True, timeout=10)


def test_file_that_is_replaced_while_it_is_looked_at_is_not_taken_for_a_deleted_one(
    wal_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V11: found by its name, and without one a moment later."""
    stale = iter([stamp(str(wal_file))._replace(inode=1, links=0)])
    monkeypatch.setattr(sqlite_file, "stamp", lambda path: next(stale, None) or stamp(path))
    assert load_once(wal_file).rows == 1
    assert next(stale, None) is None
