"""What the doctor says of a SQLite state: in each journal mode, beside a producer, and of how it lies on disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.doctor.bounded import run_checks
from readyfs.doctor.examine import choose_checks
from readyfs.doctor.finding import Verdict
from readyfs.doctor.sqlite_state import judge_handing_over, judge_journal
from readyfs.doctor.state import look_at_state
from readyfs.fuse.mount_table import Mount
from readyfs.state.sqlite.file import Access
from readyfs.state.sqlite.inspector import SqliteFiles
from readyfs.state.sqlite.store import MANY_ROWS
from tests.doctor.subjects import looked_at, make_subject, the, verdicts
from tests.state.state_files import execute, held_by_another_process

FINE = {"state", "state-columns", "state-key", "state-ready", "state-journal", "memory", "state-clock"}


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST", "WAL"])
def test_a_sound_state_is_fine_in_every_journal_mode_and_left_as_it_is(state: Path, mode: str) -> None:
    execute(state, f"PRAGMA journal_mode={mode}")
    before = {path.name: path.read_bytes() for path in state.parent.iterdir()}
    assert looked_at(state) == dict.fromkeys(FINE, "ok")
    assert {path.name: path.read_bytes() for path in state.parent.iterdir()} == before
    journal = the("state-journal", look_at_state(make_subject(state=state))).summary
    assert journal.startswith("WAL mode (nobody has it open)" if mode == "WAL" else "rollback journal")


def test_a_state_that_a_producer_has_open_is_read_beside_it(state: Path) -> None:
    execute(state, "PRAGMA journal_mode=WAL")
    with closing(sqlite3.connect(state, isolation_level=None)) as producer:
        producer.execute("UPDATE partition_state SET attempt_count = 2")
        assert looked_at(state) == dict.fromkeys(FINE, "ok")
        found = the("state-journal", look_at_state(make_subject(state=state)))
        assert found.summary.startswith("WAL mode, about 1 rows")


def test_files_beside_the_state_that_belong_to_another_are_a_problem_that_the_remedy_mends(state: Path) -> None:
    execute(state, "PRAGMA journal_mode=WAL")
    with closing(sqlite3.connect(state, isolation_level=None)) as producer:
        producer.execute("UPDATE partition_state SET attempt_count = 2")
        os.chown(f"{state}-shm", 65534, 65534)
        found = the("state-journal", look_at_state(make_subject(state=state)))
        assert (found.verdict, "belongs to user 65534" in found.summary) == (Verdict.PROBLEM, True)
        subprocess.run(["sh", "-c", found.remedy.replace("sudo ", "")], check=True, timeout=10)
        assert looked_at(state) == dict.fromkeys(FINE, "ok")


def test_a_lock_that_is_not_given_up_is_waited_for_no_longer_than_the_limit(state: Path) -> None:
    with closing(sqlite3.connect(state, isolation_level=None)) as producer:
        producer.execute("BEGIN EXCLUSIVE")
        ((_, findings),) = run_checks(
            choose_checks(make_subject(state=state, state_timeout_s=0.3), ("state",)), 20, repr
        )
    assert [one.verdict for one in findings] == [Verdict.PROBLEM]
    assert "was locked by another process" in findings[0].summary


def test_a_producer_that_is_stopped_in_mid_commit_does_not_hang_the_doctor(state: Path) -> None:
    script = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN EXCLUSIVE')\nprint('ready', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as producer:
        try:
            assert producer.stdout is not None
            producer.stdout.readline()
            producer.send_signal(signal.SIGSTOP)
            ((_, findings),) = run_checks(choose_checks(make_subject(state=state), ("state",)), 1.0, repr)
        finally:
            producer.kill()
    assert [one.verdict for one in findings] == [Verdict.PROBLEM]


@pytest.mark.parametrize(
    ("links", "is_mount", "is_held", "expected"),
    [
        (1, False, False, {}),
        (2, False, False, {"state-handed-over": "warning"}),
        (1, True, False, {"state-handed-over": "warning"}),
        (1, True, True, {"state-handed-over": "problem"}),
    ],
)
def test_how_the_file_was_handed_over_is_judged(
    links: int, is_mount: bool, is_held: bool, expected: dict[str, str]
) -> None:
    handed = SqliteFiles(Path("/d/state.db"), Access.WAL, 1000, {}, links, is_mount, is_held)
    assert verdicts(judge_handing_over(handed)) == expected


def test_a_log_that_is_kept_elsewhere_is_a_problem(state: Path, tmp_path: Path) -> None:
    (tmp_path / "container").mkdir()
    link = tmp_path / "container" / "state.db"
    link.hardlink_to(state)
    execute(state, "PRAGMA journal_mode=WAL")
    with held_by_another_process(state, "SELECT * FROM partition_state"):
        found = the("state-handed-over", look_at_state(make_subject(state=link)))
        assert (found.verdict, "its log is not here" in found.summary) == (Verdict.PROBLEM, True)
        assert "nobody has" not in the("state-journal", look_at_state(make_subject(state=link))).summary
    found = the("state-handed-over", look_at_state(make_subject(state=link)))
    assert (found.verdict, "has 2 names" in found.summary) == (Verdict.WARNING, True)


def files(access: Access, **beside: int) -> SqliteFiles:
    return SqliteFiles(
        Path("/d/state.db"), access, 1000, {Path(f"/d/state.db-{name}"): uid for name, uid in beside.items()}
    )


def on(fs_type: str) -> Mount:
    return Mount(1, 0, (0, 1), Path("/"), Path("/d"), fs_type, "server:/d", (), ())


@pytest.mark.parametrize(
    ("access", "rows", "fs_type", "expected"),
    [
        (Access.ROLLBACK, MANY_ROWS, "ext4", {"state-journal": "ok"}),
        (Access.ROLLBACK, MANY_ROWS + 1, "ext4", {"state-journal": "warning"}),
        (Access.WAL, MANY_ROWS + 1, "xfs", {"state-journal": "ok"}),
        (Access.WAL, 1, "nfs4", {"state-filesystem": "warning", "state-journal": "ok"}),
    ],
)
def test_journal_rows_and_file_system_are_judged(
    access: Access, rows: int, fs_type: str, expected: dict[str, str]
) -> None:
    assert verdicts(judge_journal(files(access, wal=1000), rows, on(fs_type))) == expected
