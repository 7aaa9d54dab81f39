"""V22 without a mount: the cursor file moves on after the whole batch was flushed, and in one step."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import sqlite3
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import orjson
import pytest

from readyfs.cli.main import main
from readyfs.errors import ExitCode
from readyfs.history.segment import Segment
from tests.history.kept import change_fingerprint_version
from tests.mariadb.database import MariadbDatabase
from tests.postgres.database import StateDatabase

KILLED: Final = 137
COLUMNS: Final = (
    "source TEXT, customer_id TEXT, query_name TEXT, logical_date DATE, status TEXT, current_run_id TEXT,"
    " schema_version TEXT, record_count BIGINT, updated_at TEXT, error_message TEXT, attempt_count INTEGER"
)


@dataclass(slots=True)
class World:
    """A state file, a cursor file, and who asks."""

    base: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def file(self) -> Path:
        return self.base / "cursor"

    def change(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.base / "s.db")) as state, state:
            state.execute(statement, values)

    def publish(self, customer: str, run: str, date: str = "2024-06-01", source: str = "s") -> None:
        self.change("DELETE FROM partition_state WHERE (source, customer_id) = (?, ?)", source, customer)
        self.change(
            "INSERT INTO partition_state"
            " VALUES (?, ?, 'q', ?, 'success', ?, 'v1', 1, '2024-06-02T05:00:00+00:00', '', 1)",
            *(source, customer, date, run),
        )

    def arguments(self, *more: str) -> list[str]:
        return ["changes", "--state", str(self.base / "s.db"), "--cursor-file", str(self.file), *more]

    def ask(self, *more: str, code: ExitCode = ExitCode.OK) -> list[dict[str, object]]:
        """Return what is printed."""
        assert main(self.arguments(*more)) == code, self.capsys.readouterr().err
        return [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]

    def kinds(self, *more: str) -> list[tuple[object, object]]:
        """Return the kind and the customer of each change."""
        *changes, bookmark = self.ask(*more)
        assert bookmark["type"] == "bookmark"
        return [(one["type"], one["customer_id"]) for one in changes]


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> World:
    found = World(tmp_path, capsys)
    found.change(f"CREATE TABLE partition_state ({COLUMNS})")
    found.publish("a", "r1")
    return found


def test_each_call_tells_what_changed_since_the_last(world: World) -> None:
    assert world.kinds("--since", "beginning") == [("appeared", "a")]
    assert world.kinds() == []
    world.publish("b", "r1")
    world.publish("a", "r2")
    assert world.kinds("--keep") == [("switched", "a"), ("appeared", "b")]
    assert world.kinds() == [("switched", "a"), ("appeared", "b")]
    world.publish("b", "r1", source="t")
    assert world.kinds() == [("retracted", "b")], "two rows claim its path"
    world.change("DELETE FROM partition_state WHERE source = 't'")
    world.change("UPDATE partition_state SET record_count = 9 WHERE customer_id = 'a'")
    assert world.kinds() == [("touched", "a"), ("appeared", "b")]
    assert world.kinds("--since", "beginning") == [("appeared", "a"), ("appeared", "b")]


def test_cursor_is_the_fingerprint_and_leads_from_one_batch_to_the_next(world: World) -> None:
    first = world.ask("--since", "beginning")[-1]
    world.publish("b", "r1")
    second = world.ask()[-1]
    assert (first["since"], second["since"]) == ("beginning", first["cursor"])


@pytest.mark.parametrize("store", ["postgres", "mariadb"])
def test_every_kind_of_store_can_be_asked(world: World, store: str, request: pytest.FixtureRequest) -> None:
    database: StateDatabase | MariadbDatabase = request.getfixturevalue(store)
    insert = (
        "INSERT INTO partition_state"
        "(source, customer_id, query_name, logical_date, status, current_run_id, updated_at)"
        " VALUES ('s', %s, 'q', '2024-06-01', 'success', 'r1', now())"
    )
    database.execute(insert, "a")
    there = ("--state", database.url())
    assert world.kinds(*there, "--since", "beginning") == [("appeared", "a")]
    assert world.kinds(*there) == []
    database.execute(insert, "b")
    database.execute("UPDATE partition_state SET current_run_id = 'r2' WHERE customer_id = 'a'")
    assert world.kinds(*there, "--keep") == [("switched", "a"), ("appeared", "b")]
    assert world.kinds(*there) == [("switched", "a"), ("appeared", "b")]
    database.execute("DELETE FROM partition_state WHERE customer_id = 'a'")
    assert world.kinds(*there) == [("retracted", "a")]


# ---- what cannot be shown -----------------------------------------------------------------------------------------


def test_ready_rows_that_are_withheld_are_counted_on_stderr(world: World) -> None:
    """A mount logs them: rows that cannot be used, and paths that two rows claim."""
    world.ask("--since", "beginning")
    assert world.capsys.readouterr().err == ""
    world.publish("a", "r2", source="t")
    world.publish("b", "")
    world.publish("c", "", date="2024-06-02")
    assert main(world.arguments()) == ExitCode.OK
    captured = world.capsys.readouterr()
    assert [json.loads(line)["type"] for line in captured.out.splitlines()] == ["retracted", "bookmark"]
    assert "withheld: no_run_id 2, ambiguous_path 1; the first is " in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("form", ["json", "cloudevents"])
def test_bytes_that_are_no_text_are_printed_so_that_every_program_reads_them(world: World, form: str) -> None:
    world.change("UPDATE partition_state SET customer_id = CAST(x'ff61' AS TEXT)")
    assert main(world.arguments("--since", "beginning", "--format", form)) == ExitCode.OK
    line = world.capsys.readouterr().out.splitlines()[0]
    found = orjson.loads(line)  # which refuses a lone surrogate
    assert (found["data"] if form == "cloudevents" else found)["path"] == "\\xffa/q/2024-06-01"
    assert form == "json" or found["subject"] == "\\xffa/q/2024-06-01"


def test_no_change_is_said_in_words(world: World) -> None:
    world.ask("--since", "beginning")
    assert main(world.arguments("--format", "text")) == ExitCode.OK
    assert world.capsys.readouterr().out.endswith("  nothing changed\n")
    world.publish("b", "r1")
    assert main(world.arguments("--format", "text")) == ExitCode.OK
    assert "nothing" not in world.capsys.readouterr().out


# ---- kills --------------------------------------------------------------------------------------------------------


def killed_at(world: World, patch: Callable[[], None]) -> list[str]:
    """Run it in a process that ends at once where a patch says; return the whole lines that it printed."""
    out = world.base / "out"
    pid = os.fork()
    if pid == 0:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        patch()
        main(world.arguments())
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == KILLED
    return [line for line in out.read_text().splitlines(keepends=True) if line.endswith("\n")]


def end(*_rest: object, **_more: object) -> NoReturn:
    os._exit(KILLED)


def end_at_second_write() -> None:
    real, lines = sys.stdout.write, []

    def write(text: str) -> int:
        lines.append(text)
        return real(text) if len(lines) < 2 else end()

    sys.stdout.write = write  # type: ignore[method-assign]


def end_at_sync() -> None:
    os.fsync = end


def end_while_it_is_written() -> None:
    Segment._append = end  # type: ignore[method-assign]


def end_before_it_takes_its_place() -> None:
    Path.replace = end  # type: ignore[method-assign]


def end_after_it_took_its_place() -> None:
    os.open = end  # the directory is opened to be synced


@pytest.mark.parametrize(
    "where",
    [
        end_at_second_write,
        end_at_sync,
        end_while_it_is_written,
        end_before_it_takes_its_place,
        end_after_it_took_its_place,
    ],
)
def test_kill_at_any_point_loses_nothing(world: World, where: Callable[[], None]) -> None:
    """What was not printed up to its bookmark is printed by the next call, and what was may be printed again."""
    world.ask("--since", "beginning")
    world.publish("a", "r2")
    world.publish("b", "r1")
    lines = killed_at(world, where)
    is_whole = any('"bookmark"' in line for line in lines)
    again = world.kinds()
    assert again == [("switched", "a"), ("appeared", "b")] or (is_whole and again == [])
    assert world.kinds() == []
    assert sorted(path.name for path in world.base.glob("*cursor*")) == ["cursor", "cursor.lock"]


class Closed(io.StringIO):
    """A pipe whose reader has gone."""

    def flush(self) -> None:
        raise BrokenPipeError


def test_reader_that_goes_away_gets_it_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ask("--since", "beginning")
    world.publish("b", "r1")
    with monkeypatch.context() as gone:
        gone.setattr(sys, "stdout", Closed())
        assert main(world.arguments()) == ExitCode.INTERNAL
    world.capsys.readouterr()
    assert world.kinds() == [("appeared", "b")]


@pytest.mark.parametrize("cause", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_file_that_the_disk_does_not_take_gets_it_again(
    world: World, monkeypatch: pytest.MonkeyPatch, cause: int
) -> None:
    """Such a disk may say so only when it has to have all of it."""
    world.ask("--since", "beginning")
    world.publish("b", "r1")
    real = os.fsync
    with monkeypatch.context() as full, (world.base / "out").open("w") as out:

        def fsync(descriptor: int) -> None:
            if descriptor == out.fileno():
                raise OSError(cause, os.strerror(cause))
            real(descriptor)

        full.setattr(os, "fsync", fsync)
        full.setattr(sys, "stdout", out)
        assert main(world.arguments()) != ExitCode.OK
    world.capsys.readouterr()
    assert world.kinds() == [("appeared", "b")]


# ---- what cannot be -----------------------------------------------------------------------------------------------


def test_file_that_is_not_there_is_a_resync_and_nothing_is_made(world: World) -> None:
    [event] = world.ask(code=ExitCode.RESYNC)
    assert event["type"] == "resync"
    assert not world.file.exists()


@pytest.mark.parametrize("more", [("--customer", "a"), ("--layout", "by-date"), ("--column-status", "schema_version")])
def test_other_settings_are_a_resync_and_the_file_stays(world: World, more: tuple[str, ...]) -> None:
    world.ask("--since", "beginning")
    before = world.file.read_bytes()
    [event] = world.ask(*more, code=ExitCode.RESYNC)
    assert "is of other settings" in str(event["reason"])
    assert world.file.read_bytes() == before
    assert world.ask(*more, "--since", "beginning")[-1]["type"] == "bookmark"


def test_other_fingerprints_are_a_resync_and_the_file_stays(world: World) -> None:
    world.ask("--since", "beginning")
    change_fingerprint_version(world.file, None)
    before = world.file.read_bytes()
    [event] = world.ask(code=ExitCode.RESYNC)
    assert "is of other settings (fingerprint-version)" in str(event["reason"])
    assert world.file.read_bytes() == before
    assert world.ask("--since", "beginning")[-1]["type"] == "bookmark"


@pytest.mark.parametrize(
    "damage",
    [lambda text: text[: len(text) // 2], lambda text: text[:-9] + b"x" + text[-8:], lambda text: b""],
    ids=["cut", "altered", "empty"],
)
def test_damaged_file_is_a_resync(world: World, damage: Callable[[bytes], bytes]) -> None:
    world.ask("--since", "beginning")
    world.file.write_bytes(damage(world.file.read_bytes()))
    [event] = world.ask(code=ExitCode.RESYNC)
    assert "cannot be used" in str(event["reason"])


def test_second_process_on_one_file_is_refused(world: World) -> None:
    world.ask("--since", "beginning")
    with (world.base / "cursor.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(world.arguments()) == ExitCode.USAGE
    assert "another process uses the cursor file" in world.capsys.readouterr().err
    assert world.kinds() == []


def test_state_that_cannot_be_read_leaves_the_file_as_it_was(world: World) -> None:
    world.ask("--since", "beginning")
    before = world.file.read_bytes()
    (world.base / "s.db").rename(world.base / "away.db")
    assert world.ask(code=ExitCode.STATE) == []
    (world.base / "away.db").rename(world.base / "s.db")
    assert world.file.read_bytes() == before
    assert world.kinds() == []


@pytest.mark.parametrize(
    ("told", "more"),
    [
        ("--follow is of a mount", ("--follow",)),
        ("--consumer is of a mount", ("--consumer", "job")),
        ("a state store knows no past", ("--since", "2024-06-01")),
        ("the directory /proc/none of the cursor file is not there", ("--cursor-file", "/proc/none/cursor")),
        ("cannot be used: No such file", ("--cursor-file", "/proc/none")),
    ],
)
def test_what_is_of_a_mount_is_refused_without_one(world: World, told: str, more: tuple[str, ...]) -> None:
    assert main(world.arguments(*more)) == ExitCode.USAGE
    captured = world.capsys.readouterr()
    assert told in captured.err and captured.err.count("\n") == 1
    assert not world.file.exists()


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("other")], ids=["dir", "fifo", "link"]
)
@pytest.mark.parametrize("more", [(), ("--since", "beginning")], ids=["go on", "begin"])
def test_what_is_no_file_is_neither_read_nor_replaced(
    world: World, make: Callable[[Path], None], more: tuple[str, ...]
) -> None:
    make(world.file)
    kind = stat.S_IFMT(world.file.lstat().st_mode)
    assert main(world.arguments(*more)) == ExitCode.USAGE
    captured = world.capsys.readouterr()
    assert "is no regular file" in captured.err and captured.out == ""
    assert stat.S_IFMT(world.file.lstat().st_mode) == kind
    assert [path.name for path in world.base.iterdir() if path.name != "s.db"] == ["cursor"]


def test_files_beside_it_are_left_alone(world: World) -> None:
    for ending in (".new", ".next", ".tmp", "~"):
        world.file.with_name(f"cursor{ending}").write_text(ending)
    world.ask("--since", "beginning")
    for ending in (".new", ".next", ".tmp", "~"):
        assert world.file.with_name(f"cursor{ending}").read_text() == ending
