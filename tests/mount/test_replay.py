"""`readyfs replay` through a mount: every command sees the view that was pinned when the replay began."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.fuse.live_mount import AS_NOBODY
from tests.mount.daemon import PATIENCE_S, Daemon, Place, mounted, partition, running, wait_until
from tests.mount.forked import run_forked, stem

SOURCE: Final = Path(__file__).parents[2] / "src"
DAYS: Final = ("2024-06-01", "2024-06-02", "2024-06-03")


def arguments(daemon: Daemon, *more: str) -> list[str]:
    return ["replay", str(daemon.path), *more]


def replay(daemon: Daemon, *more: str) -> subprocess.CompletedProcess[str]:
    return run_forked(arguments(daemon, *more), PATIENCE_S)


def fill(place: Place) -> None:
    for day in DAYS:
        place.producer.write_and_publish(partition(date=day), "r1", f"{day} r1\n".encode())


@pytest.mark.parametrize("layout", ["plain", "by-date"])
def test_commands_see_one_moment_though_the_state_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    fill(place)
    monkeypatch.setenv("BASE", str(place.base))
    os.mkfifo(place.base / "gate")
    script = 'cat "$REPLAY_PATH/payload.jsonl" >> "$BASE/log"; [ ! -p "$BASE/gate" ] || cat "$BASE/gate"'
    log = place.base / "log"
    with mounted(place, "--layout", layout) as daemon, (place.base / "err").open("wb") as errors:
        words = arguments(daemon, "--since", DAYS[0], "--until", DAYS[2], "--", "sh", "-c", script)
        process = stem().fork(words, errors.fileno(), errors.fileno())
        wait_until(lambda: log.exists() and log.stat().st_size > 0, "the first command runs")
        assert [pin["note"] for pin in daemon.public.pins()] == ["readyfs replay"]
        place.producer.write_and_publish(partition(date=DAYS[1]), "r2", b"another\n")
        place.producer.fail(partition(date=DAYS[2]))
        daemon.refresh()
        gate = place.base / "gate"
        gate.rename(place.base / "opened")
        (place.base / "opened").open("wb").close()
        assert process.wait(PATIENCE_S) == 0, (place.base / "err").read_text()
        assert log.read_text().splitlines() == [f"{day} r1" for day in DAYS]
        assert daemon.public.pins() == []
        assert replay(daemon, "--", "cat", "{path}/payload.jsonl").stdout == f"{DAYS[0]} r1\nanother\n"


def test_resume_goes_on_in_another_view(place: Place) -> None:
    fill(place)
    done = str(place.base / "done")
    with mounted(place) as daemon:
        command = ("--resume", done, "--limit", "2", "--", "cat", "{path}/payload.jsonl")
        assert replay(daemon, *command).stdout.split("\n")[:-1] == [f"{day} r1" for day in DAYS[:2]]
        place.producer.write_and_publish(partition(date=DAYS[0]), "r2", b"another\n")
        daemon.refresh()
        assert replay(daemon, *command).stdout == f"another\n{DAYS[2]} r1\n"


def test_backlog_asks_the_state_if_it_is_named(place: Place) -> None:
    fill(place)
    backlog = place.base / "backlog"
    with mounted(place) as daemon:
        place.producer.fail(partition(date="2024-06-05"), "late")
        place.producer.write_and_publish(partition(date="2024-06-06"), "r1", b"\n")
        place.producer.requeue(partition(date=DAYS[0]))
        asked = ("--until", "2024-06-06", "--backlog", str(backlog))
        told = {}
        for state in ((), ("--state", str(place.state))):
            assert replay(daemon, *asked, *state, "--", "true").returncode == 0
            lines = map(json.loads, backlog.read_text().splitlines())
            told[bool(state)] = {line["logical_date"]: line["status"] for line in lines}
    assert told[False] == {f"2024-06-0{day}": "not_ready" for day in (4, 5, 6)}
    # What is queued again is in the view, and so it was replayed.
    assert told[True] == {"2024-06-04": "missing", "2024-06-05": "failed", "2024-06-06": "ready"}


@pytest.mark.parametrize("layout", ["plain", "{query_name}/{customer_id}/{year}/{month}/{day}"])
def test_path_that_two_rows_claim_fails_the_replays_that_it_is_of(place: Place, layout: str) -> None:
    fill(place)
    customer = b"c \xff"
    with mounted(place, "--layout", layout) as daemon:
        place.insert("s1", customer, "q2", "2024-06-09", "r1")
        place.insert("s2", customer, "q2", "2024-06-09", "r2")
        place.insert("s3", customer, "q3", "2024-06-09", "r3")
        daemon.refresh()
        others = [("--customer", "c1"), ("--query", "q[13]"), ("--until", "2024-06-08"), ("--since", "2024-06-10")]
        for excluded in [*others, ("--source", "s3")]:
            done = replay(daemon, *excluded, "--json", "--", "true")
            summary = json.loads(done.stdout.splitlines()[-1])
            assert (done.returncode, summary["unreadable"], done.stderr.count("two")) == (0, 0, 0), done.stderr
        for included in [(), ("--customer", "c *"), ("--source", "s2"), ("--since", "2024-06-09")]:
            done = replay(daemon, *included, "--json", "--", "true")
            summary = json.loads(done.stdout.splitlines()[-1])
            assert (done.returncode, summary["failed"], summary["unreadable"]) == (14, 0, 1), done.stderr
            (line,) = [line for line in done.stderr.splitlines() if "two" in line]
            assert line.startswith(
                r"readyfs: c \xff/q2/2024-06-09 cannot be shown: two ready rows claim it; `readyfs why "
            )
        planned = replay(daemon, "--query", "q2", "--dry-run", "--", "true")
        assert (planned.returncode, planned.stdout) == (14, "")
        told = replay(daemon, "--query", "q2", "--", "true").stderr.splitlines()
        assert told[1] == "readyfs: 0 done, 1 cannot be shown"


def test_path_that_two_rows_claim_is_in_the_backlog_as_withheld(place: Place) -> None:
    fill(place)
    backlog = place.base / "backlog"
    asked = ("--since", DAYS[2], "--until", "2024-06-05", "--backlog", str(backlog))
    with mounted(place) as daemon:
        place.insert("s1", "c1", "q1", "2024-06-04", "r1")
        place.insert("s2", "c1", "q1", "2024-06-04", "r2")
        daemon.refresh()
        for state, absent in ((), "not_ready"), (("--state", str(place.state)), "missing"):
            for source in (), ("--source", "s1"):
                assert replay(daemon, *asked, *state, *source, "--", "true").returncode == 14
                lines = map(json.loads, backlog.read_text().splitlines())
                found = {(line["source"], line["logical_date"]): (line["status"], line["run_id"]) for line in lines}
                first = {
                    ("s1", "2024-06-04"): ("withheld", "r1"),
                    ("s1", "2024-06-05"): (absent, None),
                }
                second = {
                    ("s2", "2024-06-03"): (absent, None),
                    ("s2", "2024-06-04"): ("withheld", "r2"),
                    ("s2", "2024-06-05"): (absent, None),
                }
                assert found == first | ({} if source else second)


def test_nothing_shown_is_told(place: Place) -> None:
    fill(place)
    with mounted(place) as daemon:
        done = replay(daemon, "--customer", "TYPO", "--", "true")
        nothing, summary, cursor = done.stderr.splitlines()
        assert (done.returncode, nothing) == (0, "readyfs: nothing is shown that matches the filters")
        assert (summary, cursor.endswith(" (for --changed-since)")) == ("readyfs: 0 done", True)


def test_only_what_changed_since_a_cursor_is_replayed(place: Place) -> None:
    place.insert("s1", b"c\xff", "q1", DAYS[0], "r1")
    fill(place)
    with mounted(place) as daemon:
        summary = json.loads(replay(daemon, "--json", "--", "true").stdout.splitlines()[-1])
        assert summary["cursor"] == daemon.status()["fingerprint"]
        since = ("--changed-since", summary["cursor"])
        assert replay(daemon, *since, "--", "echo", "{date}").stdout == ""
        place.producer.write_and_publish(partition(date=DAYS[2]), "r2", b"\n")
        place.producer.set_ready(partition(date=DAYS[1]), "r1", record_count=7)
        place.producer.requeue(partition(date=DAYS[0]))
        place.change("UPDATE partition_state SET current_run_id = 'r2' WHERE customer_id = ?", b"c\xff")
        place.producer.write_and_publish(partition(date="2024-06-04"), "r1", b"\n")
        daemon.refresh()
        script = 'echo "$(printf %s "$REPLAY_CUSTOMER" | od -An -tx1)" "$1"'
        done = replay(daemon, *since, "--", "sh", "-c", script, "-", "{date} {run_id}")
        assert done.returncode == 0, done.stderr
        assert sorted(done.stdout.splitlines()) == [
            " 63 31 2024-06-03 r2",
            " 63 31 2024-06-04 r1",
            " 63 ff 2024-06-01 r2",
        ]
        assert replay(daemon, "--changed-since", "beginning", "--until", DAYS[1], "--", "echo").stdout == "\n\n"
        forgotten = replay(daemon, "--changed-since", "f" * 32, "--", "true")
        assert (forgotten.returncode, forgotten.stderr.count("\n")) == (16, 1)
        assert "leave out --changed-since, and replay everything" in forgotten.stderr
        assert replay(daemon, *since, "--backlog", "/x", "--", "true").returncode == 2


def test_user_who_did_not_mount_may_replay() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        place = Place(Path(directory))
        with closing(place.producer), mounted(place) as daemon:
            fill(place)
            daemon.refresh()
            words = [sys.executable, "-m", "readyfs", *arguments(daemon, "--", "cat", "{path}/payload.jsonl")]
            environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
            command = [*AS_NOBODY, *words]
            done = subprocess.run(
                command, env=environment, cwd="/", capture_output=True, text=True, timeout=30, check=False
            )
            assert (done.returncode, done.stdout.splitlines()) == (0, [f"{day} r1" for day in DAYS]), done.stderr


def test_dead_daemon_fails_what_is_left(place: Place) -> None:
    fill(place)
    with running(place) as daemon:
        done = replay(daemon, "--", "sh", "-c", f'kill -9 {daemon.pid}; cat "$REPLAY_PATH/payload.jsonl"')
        assert done.returncode == 14
        assert "readyfs: 0 done, 3 failed" in done.stderr


def test_no_mount_is_told(tmp_path: Path) -> None:
    done = run_forked(["replay", str(tmp_path), "--", "true"], PATIENCE_S)
    assert done.returncode == 8
    assert str(tmp_path) in done.stderr and done.stderr.count("\n") == 1
