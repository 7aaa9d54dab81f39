"""`readyfs replay` on a state table and its raw runs: real processes, signals and deaths."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mount.daemon import Place, partition, wait_until
from tests.mount.forked import ForkedProcess, run_forked, stem
from tests.postgres.database import READER_PASSWORD, StateDatabase

LOG = 'echo "$REPLAY_DATE $REPLAY_RUN_ID" >> "$BASE/log"'
WAITS = f'{LOG}; [ ! -p "$BASE/gate.$REPLAY_DATE" ] || cat "$BASE/gate.$REPLAY_DATE" > /dev/null'
DAYS = ("2024-06-01", "2024-06-02", "2024-06-03", "2024-06-04")


@dataclass
class Replays:
    """A world of four ready days, and a working directory whose file `log` has a line for each command."""

    place: Place

    @property
    def arguments(self) -> list[str]:
        return ["replay", "--state", str(self.place.state), "--raw", str(self.place.raw)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_forked([*self.arguments, *arguments], 30)

    @contextmanager
    def start(self, *arguments: str) -> Iterator[ForkedProcess]:
        """Start one, with its messages in the file `err`."""
        with (self.place.base / "err").open("wb") as errors:
            process = stem().fork([*self.arguments, *arguments], errors.fileno(), errors.fileno())
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)

    def insert(self, customer: bytes, day: str, run_id: str) -> None:
        """Have a row of s1 and q1, and its run, without the producer, which takes no such names."""
        self.place.insert("s1", customer, "q1", day, run_id)
        names = (b"s1", b"customer_id=" + customer, b"query_name=q1", f"logical_date={day}/run_id={run_id}".encode())
        directory = Path(os.fsdecode(b"/".join((os.fsencode(self.place.raw), *names))))
        directory.mkdir(parents=True)
        for name in ("payload.jsonl", "metadata.json"):
            (directory / name).touch()

    def log(self) -> list[str]:
        """Return what was run, in order."""
        file = self.place.base / "log"
        return file.read_text().splitlines() if file.exists() else []

    def errors(self) -> str:
        return (self.place.base / "err").read_text()

    def gate(self, day: str) -> Callable[[], None]:
        """Have the command of a day wait; return what lets it go on."""
        path = self.place.base / f"gate.{day}"
        os.mkfifo(path)

        def open_gate() -> None:
            path.open("wb").close()
            path.unlink()

        return open_gate


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> Iterator[Replays]:
    with tempfile.TemporaryDirectory() as directory:
        place = Place(Path(directory))
        monkeypatch.setenv("BASE", directory)
        with closing(place.producer):
            for day in DAYS:
                place.producer.write_and_publish(partition(date=day), "r1", day.encode() + b"\n")
            yield Replays(place)


def resuming(*command: str, more: tuple[str, ...] = ()) -> tuple[str, ...]:
    return ("--resume", f"{os.environ['BASE']}/done", *more, "--", *command)


def test_each_partition_is_given_to_the_command_by_date(replays: Replays) -> None:
    done = replays.run("--", "cat", "{path}/payload.jsonl")
    assert (done.returncode, done.stdout.split()) == (0, list(DAYS)), done.stderr
    assert done.stderr == "readyfs: 4 done\n"
    newest = replays.run("--newest-first", "--limit", "2", "--since", DAYS[1], "--", "cat", "{path}/payload.jsonl")
    assert newest.stdout.split() == [DAYS[3], DAYS[2]]
    assert newest.stderr == "readyfs: 2 done, 1 left\n"


def test_command_has_the_partition_in_words_and_variables(replays: Replays) -> None:
    script = 'echo "$@" "$REPLAY_PATH $REPLAY_RUN_ID $REPLAY_DATE $REPLAY_CUSTOMER $REPLAY_QUERY $REPLAY_SOURCE"'
    words = ("{path}", "{run_id}", "{date}", "{customer}", "{query}", "{source}")
    done = replays.run("--until", DAYS[0], "--", "sh", "-c", script, "-", *words)
    path = replays.place.producer.run_directory(partition(date=DAYS[0]), "r1")
    told = f"{path} r1 {DAYS[0]} c1 q1 s1"
    assert done.stdout == f"{told} {told}\n"


def test_failed_command_stops_nothing_and_is_run_again(replays: Replays) -> None:
    fails = (*("sh", "-c", f'{LOG}; [ "$REPLAY_DATE" != {DAYS[1]} ] || [ -e "$BASE/mended" ] || exit 3'),)
    done = replays.run(*resuming(*fails))
    assert done.returncode == 14
    assert done.stderr.splitlines() == [
        f"readyfs: s1/c1/q1/{DAYS[1]} run r1: exit code 3",
        "readyfs: 3 done, 1 failed",
        "readyfs: run it again for what failed",
    ]
    assert "with --resume to leave out what is done" in replays.run("--", "false").stderr.splitlines()[-1]
    (replays.place.base / "mended").touch()
    again = replays.run(*resuming(*fails))
    assert (again.returncode, again.stderr) == (0, "readyfs: 1 done, 3 done before\n")
    assert replays.log() == [*(f"{day} r1" for day in DAYS), f"{DAYS[1]} r1"]


def test_another_run_is_done_again(replays: Replays) -> None:
    assert replays.run(*resuming("sh", "-c", LOG)).returncode == 0
    replays.place.producer.write_and_publish(partition(date=DAYS[2]), "r2", b"\n")
    assert replays.run(*resuming("sh", "-c", LOG)).returncode == 0
    assert replays.log()[len(DAYS) :] == [f"{DAYS[2]} r2"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_lets_what_runs_end_and_starts_no_more(replays: Replays, number: signal.Signals) -> None:
    open_gate = replays.gate(DAYS[1])
    with replays.start(*resuming("sh", "-c", WAITS)) as process:
        wait_until(lambda: len(replays.log()) == 2, "the second command runs")
        process.send_signal(number)
        wait_until(lambda: "waiting for 1 that run; once more ends them" in replays.errors(), "it says so")
        open_gate()
        assert process.wait(10) == 130
    assert replays.errors().endswith("readyfs: 2 done, 2 left\n")
    assert replays.run(*resuming("sh", "-c", WAITS)).stderr == "readyfs: 2 done, 2 done before\n"
    assert replays.log() == [f"{day} r1" for day in DAYS]


def test_second_signal_ends_what_runs_with_all_of_its_group(replays: Replays) -> None:
    replays.gate(DAYS[0])
    # The shell ignores SIGTERM, as one that would tidy up for ever; what it started does not.
    stubborn = f"""
        trap "" TERM; {LOG}; (trap - TERM; exec sleep 100) & echo $! > "$BASE/child"
        cat "$BASE/gate.$REPLAY_DATE"; wait
    """
    with replays.start(*resuming("sh", "-c", stubborn)) as process:
        wait_until(lambda: (replays.place.base / "child").exists(), "the first command runs")
        process.send_signal(signal.SIGINT)
        wait_until(lambda: "waiting for 1" in replays.errors(), "it says so")
        process.send_signal(signal.SIGINT)
        child = int((replays.place.base / "child").read_text())
        wait_until(lambda: not is_running(child), "the whole group was told")
        assert process.poll() is None  # the shell is still there
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 130
    assert f"s1/c1/q1/{DAYS[0]} run r1: ended by SIGKILL" in replays.errors()
    assert replays.errors().endswith("readyfs: 0 done, 1 ended by a signal, 3 left\n")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def test_killed_replay_goes_on_behind_what_is_done(replays: Replays) -> None:
    open_gate = replays.gate(DAYS[2])
    command = ("sh", "-c", WAITS)
    with replays.start(*resuming(*command)) as process:
        wait_until(lambda: len(replays.log()) == 3, "the third command runs")
        process.kill()
        process.wait(10)
        in_use = replays.run(*resuming(*command))
        assert in_use.returncode == 2
        assert "/done is in use, by another replay or by commands of one that was killed" in in_use.stderr
        open_gate()
    wait_until(lambda: replays.run(*resuming(*command)).returncode == 0, "its command has ended")
    assert replays.log() == [f"{day} r1" for day in (*DAYS[:3], *DAYS[2:])]


def test_no_more_than_so_many_run_beside_each_other(replays: Replays) -> None:
    gates = [replays.gate(day) for day in DAYS[:2]]
    with replays.start("--jobs", "2", "--", "sh", "-c", WAITS) as process:
        wait_until(lambda: len(replays.log()) == 2, "two run")
        assert sorted(replays.log()) == [f"{day} r1" for day in DAYS[:2]]
        gates[1]()
        wait_until(lambda: len(replays.log()) == 4, "the others run beside the first")
        gates[0]()
        assert process.wait(10) == 0


def test_resume_file_of_another_replay_is_refused(replays: Replays) -> None:
    assert replays.run(*resuming("true", more=("--until", DAYS[1]))).returncode == 0
    for arguments, what in (
        (resuming("true"), "selection"),
        (resuming("true", "x", more=("--until", DAYS[1])), "command"),
        (resuming("true", more=("--until", DAYS[1], "--raw", "/")), "raw root"),
    ):
        refused = replays.run(*arguments)
        assert refused.returncode == 2
        assert f"/done is of a replay with another {what}; name another file with --resume" in refused.stderr


def test_full_disk_ends_the_replay_once_what_runs_has_ended(replays: Replays) -> None:
    small = replays.place.base / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", small], check=True)
    try:
        fills = f'{LOG}; [ "$REPLAY_DATE" != {DAYS[0]} ] || cat /dev/zero > "$BASE/small/filler" 2> /dev/null; true'
        assert replays.run("--resume", str(small / "done"), "--", "env", "-c", fills).returncode == 14
        header = (small / "done").read_bytes()
        (small / "done").unlink()
        padding = "x" * (4096 - len(header) - 20)  # so that a line is written in part
        done = replays.run("--resume", str(small / "done"), "--", "sh", "-c", fills, padding)
        assert done.returncode == 14
        assert "small/done: No space left on device; make room" in done.stderr
        assert replays.log() == [f"{DAYS[0]} r1"]
        left = (small / "done").read_bytes()
        assert (left.count(b"\n"), left[-1:]) == (1, b"\n")
    finally:
        subprocess.run(["umount", small], check=True)


def test_backlog_has_what_is_not_ready(replays: Replays) -> None:
    producer = replays.place.producer
    producer.expect(partition(date="2024-06-05"))
    producer.fail(partition(date="2024-06-06"), "no such account")
    producer.requeue(partition(date=DAYS[3]))
    producer.set_ready(partition(date="2024-06-07"), None)
    producer.set_ready(partition(date="2024-06-08", customer="c2"), "../r1")
    done = replays.run(
        "--backlog", str(replays.place.base / "backlog"), "--since", DAYS[1], "--until", "2024-06-08", "--", "true"
    )
    assert (done.returncode, done.stderr) == (0, "readyfs: 2 done, 12 not ready, in the backlog\n")
    lines = [json.loads(line) for line in (replays.place.base / "backlog").read_text().splitlines()]
    found = {(line["customer_id"], line["logical_date"]): (line["status"], line["run_id"]) for line in lines}
    missing = {("c2", f"2024-06-0{day}"): ("missing", None) for day in range(2, 8)}
    assert found == {
        ("c1", "2024-06-04"): ("reprocessing", "r1"),
        ("c1", "2024-06-05"): ("pending", None),
        ("c1", "2024-06-06"): ("failed", None),
        ("c1", "2024-06-07"): ("withheld", None),
        ("c1", "2024-06-08"): ("missing", None),
        ("c2", "2024-06-08"): ("withheld", "../r1"),
        **missing,
    }
    details = {line["logical_date"]: line["detail"] for line in lines if line["customer_id"] == "c1"}
    assert details["2024-06-06"] == "no such account"
    assert str(details["2024-06-07"]).startswith("no_run_id")


def test_backlog_knows_a_series_of_which_nothing_is_in_the_range(replays: Replays) -> None:
    done = replays.run(
        "--backlog", str(replays.place.base / "backlog"), "--since", "2024-06-08", "--until", "2024-06-09", "--", "true"
    )
    assert done.stderr.splitlines() == [
        "readyfs: nothing is ready that matches the filters",
        "readyfs: 0 done, 2 not ready, in the backlog",
    ]


def test_rows_that_a_mount_withholds_are_counted(replays: Replays) -> None:
    replays.place.producer.set_ready(partition(date="2024-06-05"), None)
    replays.place.insert("s2", "c1", "q1", DAYS[0], "r1")
    done = replays.run("--", "true")
    assert (done.returncode, done.stderr) == (0, "readyfs: 3 done, 3 withheld\n")
    assert json.loads(replays.run("--json", "--", "true").stdout.splitlines()[-1])["withheld"] == 3


def test_nothing_found_is_told(replays: Replays) -> None:
    told = "readyfs: nothing is ready that matches the filters\n"
    done = replays.run("--customer", "TYPO", "--", "true")
    assert (done.returncode, done.stderr) == (0, told + "readyfs: 0 done\n")
    assert replays.run("--customer", "TYPO", "--dry-run", "--", "true").stderr == told
    skip = replays.place.base / "skip"
    skip.write_text("".join(f"c1/q1/{day}\n" for day in DAYS))
    assert replays.run("--skip", str(skip), "--", "true").stderr == "readyfs: 0 done, 4 skipped\n"
    for day in DAYS:
        replays.place.producer.requeue(partition(date=day))
    assert replays.run("--", "true").stderr == "readyfs: nothing is ready\nreadyfs: 0 done\n"


def test_backlog_that_cannot_be_written_is_told_before_anything_runs(replays: Replays) -> None:
    done = replays.run("--backlog", "/nowhere/backlog", "--", "sh", "-c", LOG)
    assert done.returncode == 14
    assert "cannot write the backlog /nowhere/backlog: No such file or directory" in done.stderr
    assert replays.log() == []


def test_backlog_replaces_nothing_but_files(replays: Replays) -> None:
    base = replays.place.base
    os.mkfifo(base / "fifo")
    (base / "file").write_text("kept")
    (base / "link").symlink_to("file")
    (base / "directory").mkdir()
    for name in ("fifo", "link", "directory"):
        done = replays.run("--backlog", str(base / name), "--", "sh", "-c", LOG)
        told = f"readyfs: the backlog {base / name} is no regular file; name another with --backlog\n"
        assert (done.returncode, done.stderr, replays.log()) == (2, told, [])
    assert (base / "fifo").is_fifo() and (base / "link").is_symlink() and (base / "file").read_text() == "kept"
    assert replays.run("--backlog", str(base / "file"), "--", "true").returncode == 0
    assert (base / "file").read_text() != "kept"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_leaves_no_half_of_a_backlog(replays: Replays, number: signal.Signals) -> None:
    replays.place.insert("s1", "c2", "q1", DAYS[0], "r1")  # so many dates without a row that it is long in writing
    backlog = replays.place.base / "backlog"
    words = ("--backlog", str(backlog), "--since", "1600-01-01", "--", "sh", "-c", LOG)
    with replays.start(*words) as process:
        wait_until(lambda: any(replays.place.base.glob(".backlog.*")), "the backlog is being written")
        process.send_signal(number)
        assert process.wait(10) == 130
    assert (list(replays.place.base.glob(".backlog.*")), backlog.exists(), replays.log()) == ([], False, [])


def test_no_more_is_started_when_nobody_reads(replays: Replays) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with (replays.place.base / "err").open("wb") as errors:
        process = stem().fork([*replays.arguments, "--", "sh", "-c", f"{LOG}; echo x"], writer, errors.fileno())
        os.close(writer)
        assert process.wait(10) == 1
    assert replays.log() == [f"{DAYS[0]} r1"]
    assert replays.errors().endswith(
        "readyfs: 0 done, 1 failed, 3 left\nreadyfs: run it again for what failed, "
        "with --resume to leave out what is done\n"
    )


def test_json_has_a_line_for_each_partition_and_a_summary(replays: Replays) -> None:
    replays.place.producer.delete_row(partition(date=DAYS[1]))
    done = replays.run("--json", "--until", DAYS[2], "--", "sh", "-c", f'echo loud; [ "$REPLAY_DATE" = {DAYS[0]} ]')
    assert done.returncode == 14
    *lines, summary = map(json.loads, done.stdout.splitlines())
    assert [(line["type"], line["logical_date"], line["outcome"], line["exit_code"]) for line in lines] == [
        ("partition", DAYS[0], "done", 0),
        ("partition", DAYS[2], "failed", 1),
    ]
    assert {name: summary[name] for name in ("type", "done", "failed", "left", "done_before", "skipped")} == {
        "type": "summary",
        "done": 1,
        "failed": 1,
        "left": 0,
        "done_before": 0,
        "skipped": 0,
    }
    assert done.stderr.splitlines().count("loud") == 2


def test_names_that_are_no_text_are_told_and_done(replays: Replays) -> None:
    replays.insert(b"c\xff", DAYS[0], "r1")
    replays.place.insert("s1", b"c\xff", "q1", DAYS[2], None)
    words = ("--customer", "c[!1]", "--until", DAYS[2], "--backlog", str(replays.place.base / "backlog"), "--json")
    for done_before in (0, 1):
        done = replays.run(*resuming("sh", "-c", '[ "$REPLAY_CUSTOMER" = "$(printf "c\\377")" ]', more=words))
        *lines, summary = map(json.loads, done.stdout.splitlines())
        assert (done.returncode, summary["done_before"], summary["backlog"]) == (0, done_before, 2), done.stderr
        if not done_before:
            [line] = lines
            assert (line["customer_id"], line["path"].count("=c\\xff/")) == ("c\\xff", 1)
    backlog = [json.loads(line) for line in (replays.place.base / "backlog").read_text().splitlines()]
    assert {line["customer_id"] for line in backlog} == {"c\\xff"}


def test_bar_is_shown_on_a_terminal_only(replays: Replays) -> None:
    ours, theirs = pty.openpty()
    with (
        os.fdopen(ours, "rb", buffering=0) as terminal,
        os.fdopen(theirs, "wb") as tty,
        Path(os.devnull).open("wb") as null,
    ):
        # A process of its own: Python looks at a stream only once, when it begins.
        words = [sys.executable, "-m", "readyfs", *replays.arguments, "--", "true"]
        assert subprocess.run(words, stdout=null, stderr=tty, timeout=30, check=False).returncode == 0
        tty.close()
        assert b"replaying" in terminal.read(4096)
    assert "replaying" not in replays.run("--", "true").stderr


def test_dry_run_prints_the_commands_and_writes_nothing(replays: Replays) -> None:
    done = replays.run(
        "--dry-run",
        "--backlog",
        str(replays.place.base / "backlog"),
        "--limit",
        "1",
        "--",
        "load",
        "--day={date}",
        "{customer} x",
    )
    assert (done.returncode, done.stderr) == (2, "readyfs: there is no program load; name one that can be started\n")
    done = replays.run(
        "--dry-run",
        "--backlog",
        str(replays.place.base / "backlog"),
        "--limit",
        "1",
        "--",
        "true",
        "--day={date}",
        "{customer} x",
    )
    assert (done.returncode, done.stdout) == (0, f"true --day={DAYS[0]} 'c1 x'\n")
    assert not (replays.place.base / "backlog").exists()


def test_run_that_a_mount_would_not_serve_is_not_given_to_the_command(replays: Replays) -> None:
    directories = [replays.place.producer.run_directory(partition(date=day), "r1") for day in DAYS]
    (directories[0] / "metadata.json").rename(replays.place.base / "metadata.json")  # not sealed
    directories[1].rename(replays.place.base / "away")
    done = replays.run(*resuming("sh", "-c", LOG))
    assert (done.returncode, replays.log()) == (14, [f"{day} r1" for day in DAYS[2:]])
    first, second, summary, _remedy = done.stderr.splitlines()
    assert first.startswith(f"readyfs: s1/c1/q1/{DAYS[0]} run r1: not started: ") and "metadata.json" in first
    assert second.startswith(f"readyfs: s1/c1/q1/{DAYS[1]} run r1: not started: ")
    assert summary == "readyfs: 2 done, 2 failed"
    (replays.place.base / "metadata.json").rename(directories[0] / "metadata.json")
    (replays.place.base / "away").rename(directories[1])
    assert replays.run(*resuming("sh", "-c", LOG)).stderr == "readyfs: 2 done, 2 done before\n"


def test_json_of_bytes_that_are_no_text_is_read_by_strict_parsers(replays: Replays) -> None:
    replays.insert(b"c\xff", DAYS[0], "r1")
    replays.place.insert("s1", b"c\xff", "q1", DAYS[1], None)
    backlog = replays.place.base / "backlog"
    asked = ("--customer", "c[!1]", "--json", "--backlog", str(backlog))
    for more in ("--until", DAYS[1]), ("--until", DAYS[1], "--dry-run"):
        done = replays.run(*asked, *more, "--", "true", "{path}")
        assert r"\ud" not in done.stdout + backlog.read_text()
        assert r"c\\xff" in done.stdout


def test_skip_list_leaves_partitions_out(replays: Replays) -> None:
    (replays.place.base / "skip").write_text(f"c1/q1/{DAYS[0]}\n")
    assert (
        replays.run("--skip", str(replays.place.base / "skip"), "--", "sh", "-c", LOG).stderr
        == "readyfs: 3 done, 1 skipped\n"
    )
    assert replays.run("--skip", "/gone", "--", "true").stderr == (
        "readyfs: cannot read the skip list /gone: No such file or directory; name another with --skip\n"
    )


def test_value_that_no_process_can_be_given_fails_alone(replays: Replays) -> None:
    replays.insert(b"c1", "2024-06-09", "x" * 200)
    done = replays.run("--since", DAYS[3], "--", "sh", "-c", "true", "{run_id}" * 1000)
    assert done.returncode == 14
    failure, summary, _remedy = done.stderr.splitlines()
    assert failure.endswith(": cannot be started: Argument list too long")
    assert summary == "readyfs: 1 done, 1 failed"


def test_postgresql_state_is_replayed_and_its_password_is_written_nowhere(
    replays: Replays, postgres: StateDatabase
) -> None:
    producer, done = replays.place.producer, replays.place.base / "done"
    postgres.publish(producer.write_run(partition("c2", date=DAYS[0]), "r1", b"\n"))
    postgres.set_row(partition("c2", date=DAYS[1]), "failed", "r0")
    words = ("--state", postgres.url(), "--resume", str(done), "--backlog", str(replays.place.base / "backlog"))
    told = replays.run(*words, "--until", DAYS[1], "--", "sh", "-c", f'{LOG}; [ -e "$REPLAY_PATH/metadata.json" ]')
    assert (told.returncode, told.stderr) == (0, "readyfs: 1 done, 1 not ready, in the backlog\n")
    assert READER_PASSWORD.split()[-1] not in done.read_text() and "postgresql" in done.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command is given; name one behind `--`"),
        (["--"], "no command is given"),
        (["true"], "no command is given"),
        (["cat", "{path}"], "unexpected extra argument ({path}); two dashes go before the command; see"),
        (["--changed-since", "x", "--", "true"], "--changed-since needs a mount"),
        (["--cadence", "hourly", "--", "true"], "'hourly' is not a cadence"),
        (["--jobs", "0", "--", "true"], "Invalid value for '--jobs'"),
        (["--since", "2024-06-02", "--until", "2024-06-01", "--", "true"], "--since is later than --until"),
    ],
)
def test_usage_that_cannot_be_meant_is_refused(replays: Replays, arguments: list[str], message: str) -> None:
    refused = replays.run(*arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert message in refused.stderr and refused.stderr.count("\n") == 1
