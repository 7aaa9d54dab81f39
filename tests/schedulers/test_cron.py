"""The recipes of docs/schedulers/cron.md: its scripts, its crontab and its units, with the real program."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from readyfs.demo.producer import LogicalPartition
from tests.mount.daemon import Daemon, Place, mounted, wait_until
from tests.schedulers.cron_page import CRONTAB, FILES, SCRIPTS, UNITS, Desk, crontab_lines, words_of

SERIES: Final = "0012345678/campaign_daily"
DAY: Final = "2024-06-01"


def part_of(day: str) -> LogicalPartition:
    customer, query = SERIES.split("/")
    return LogicalPartition("s1", customer, query, day)


DAY_PART: Final = part_of(DAY)
RECORDS_PATH: Final = '#!/bin/sh\necho "$@" >>{log}\n'


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


@pytest.fixture
def daemon(place: Place) -> Iterator[Daemon]:
    place.producer.write_and_publish(part_of("2024-05-31"), "r0", b"{}\n")
    with mounted(place) as found:
        yield found


def desk_of(place: Place) -> Desk:
    return Desk.at(place.base / "desk", place.mountpoint, place.state, place.raw)


def log_of(desk: Desk) -> list[str]:
    log = desk.directory / "log"
    return log.read_text().splitlines() if log.exists() else []


def is_locked(path: Path) -> bool:
    """Tell whether another one has the lock of a file."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def once(desk: Desk, *command: str) -> list[str]:
    """Return the words that load a day of the customer."""
    return ["readyfs-once", str(desk.var / "daily.done"), f"{desk.mountpoint}/{SERIES}", *command]


class TestOnce:
    """`readyfs-once`."""

    def test_it_waits_until_the_day_is_ready_and_runs_the_command_once(self, daemon: Daemon) -> None:
        desk = desk_of(daemon.place)
        desk.add("load-day", RECORDS_PATH.format(log=desk.directory / "log"))
        with desk.start(*once(desk, "load-day"), DAY=DAY) as waiting:
            wait_until((desk.var / "daily.done").exists, "it began")
            wait_until(lambda: is_locked(desk.var / "daily.done"), "it has the lock")
            assert desk.run(*once(desk, "load-day"), DAY=DAY) == (0, ""), "another one finds the lock taken"
            assert log_of(desk) == []
            daemon.place.producer.write_and_publish(DAY_PART, "r1", b"{}\n")
            daemon.refresh()
            assert (waiting.communicate(timeout=60)[0], waiting.returncode) == ("", 0)
        assert log_of(desk) == [str(daemon.path / DAY_PART.path)]
        assert desk.run(*once(desk, "load-day"), DAY=DAY) == (0, "")
        assert log_of(desk) == [str(daemon.path / DAY_PART.path)], "a day that is done is not done again"

    @pytest.mark.parametrize("zone", ["AAA-14", "AAA12"])  # at any hour another day than that of UTC in one of them
    def test_yesterday_is_that_of_utc(self, daemon: Daemon, zone: str) -> None:
        desk = desk_of(daemon.place)
        desk.add("load-day", RECORDS_PATH.format(log=desk.directory / "log"))
        before = datetime.now(UTC).date()
        for days in (0, 1):  # whichever is yesterday, if this test runs at midnight
            part = part_of(str(before - timedelta(days=days)))
            daemon.place.producer.write_and_publish(part, "r1", b"{}\n")
        daemon.refresh()
        assert desk.run(*once(desk, "load-day"), TZ=zone) == (0, "")
        possible = {str(before - timedelta(days=1)), str(datetime.now(UTC).date() - timedelta(days=1))}
        assert {Path(line).name for line in log_of(desk)} <= possible
        assert len(log_of(desk)) == 1

    def test_a_command_that_fails_is_run_again(self, daemon: Daemon) -> None:
        desk = desk_of(daemon.place)
        daemon.place.producer.write_and_publish(DAY_PART, "r1", b"{}\n")
        daemon.refresh()
        desk.add("load-day", "#!/bin/sh\necho no room\nexit 7\n")
        assert desk.run(*once(desk, "load-day"), DAY=DAY) == (7, "no room\n")
        desk.add("load-day", RECORDS_PATH.format(log=desk.directory / "log"))
        assert desk.run(*once(desk, "load-day"), DAY=DAY) == (0, "")
        assert len(log_of(desk)) == 1

    def test_what_is_not_ready_in_time_is_no_trouble_and_a_mount_that_is_gone_is(self, place: Place) -> None:
        desk = desk_of(place)
        desk.add("load-day", RECORDS_PATH.format(log=desk.directory / "log"))
        assert FILES["readyfs-once"].count("--timeout 50m") == 1
        desk.add("readyfs-once", FILES["readyfs-once"].replace("--timeout 50m", "--timeout 0"))
        place.producer.fail(DAY_PART)
        with mounted(place):
            assert desk.run(*once(desk, "load-day"), DAY=DAY) == (0, "")
        code, printed = desk.run(*once(desk, "load-day"), DAY=DAY)
        assert code == 8
        assert f"{place.mountpoint}/{SERIES}/{DAY} lies in no mount of readyfs" in printed
        assert (log_of(desk), (desk.var / "daily.done").read_text()) == ([], "")

    def test_the_lock_is_held_by_a_command_whose_script_was_killed(self, daemon: Daemon) -> None:
        desk = desk_of(daemon.place)
        daemon.place.producer.write_and_publish(DAY_PART, "r1", b"{}\n")
        daemon.refresh()
        log, go = desk.directory / "log", desk.directory / "go"
        desk.add("load-day", f"#!/bin/sh\necho began >>{log}\nwhile [ ! -e {go} ]; do sleep 0.02; done\n")
        with desk.start(*once(desk, "load-day"), DAY=DAY) as script:
            wait_until(lambda: log_of(desk) == ["began"], "the command runs")
            os.kill(script.pid, signal.SIGKILL)
            script.wait(timeout=10)
            assert desk.run(*once(desk, "load-day"), DAY=DAY) == (0, "")
            assert log_of(desk) == ["began"], "two commands at once"
            go.touch()
            script.communicate(timeout=20)  # its output ends with the command
        assert desk.run(*once(desk, "load-day"), DAY=DAY) == (0, "")
        assert log_of(desk) == ["began", "began"], "the day was not done"


class TestAlarm:
    """`readyfs-alarm`."""

    def test_trouble_is_told_once_and_anew_when_it_is_another_or_a_day_old(self, place: Place) -> None:
        desk = desk_of(place)
        told = desk.var / "told"

        def alarm(script: str) -> tuple[int, str]:
            return desk.run("readyfs-alarm", told, "sh", "-c", script)

        assert alarm("echo fine") == (0, "")
        code, printed = alarm("echo late >&2; exit 12")
        assert (code, printed.splitlines()) == (12, ["exit code 12 of sh -c echo late >&2; exit 12", "late"])
        assert alarm("echo late >&2; exit 12") == (12, "")
        assert alarm("echo later; exit 12")[1].splitlines()[1:] == ["later"]
        assert alarm("echo later; exit 12") == (12, "")
        old = time.time() - 86_400 - 120
        os.utime(told, (old, old))
        assert alarm("echo later; exit 12")[1].splitlines()[1:] == ["later"]
        assert alarm("echo later; exit 12") == (12, "")
        assert alarm("true") == (0, "well again: sh -c true\n")
        assert alarm("true") == (0, "")
        assert alarm("echo later; exit 12")[1].splitlines()[1:] == ["later"]

    def test_what_could_not_be_printed_is_told_again(self, place: Place) -> None:
        desk = desk_of(place)
        words = ["readyfs-alarm", str(desk.var / "told"), "sh", "-c", "echo late; exit 12"]
        with Path("/dev/full").open("w") as full:
            subprocess.run(words, env=desk.environment, stdout=full, stderr=full, timeout=20, check=False)
        assert desk.run(*words)[1].splitlines()[1:] == ["late"]


class TestCrontab:
    """The lines, in cron's environment."""

    def test_a_job_of_each_kind_is_there_and_is_run_by_a_test(self) -> None:
        commands = [line.command for line in crontab_lines()]
        assert [re.findall(r"readyfs-once|readyfs [a-z]+", command) for command in commands] == [
            *(["readyfs-once"], ["readyfs replay"], ["readyfs gaps"], ["readyfs coverage"], ["readyfs check"]),
        ]

    def test_the_lines_are_those_of_crontab_5(self) -> None:
        most = (59, 23, 31, 12, 7)
        for fields, user, command in crontab_lines():
            for field, greatest in zip(fields, most, strict=True):
                found = re.fullmatch(r"(?:\*|(\d+))(?:/(\d+))?", field)
                assert found is not None, field
                assert all(int(number) <= greatest for number in found.groups() if number)
            assert re.fullmatch(r"[a-z]+", user)
            assert "%" not in command, "an end of line for cron"
        assert CRONTAB.endswith("\n")

    def test_loading_jobs_load_what_is_ready(self, daemon: Daemon) -> None:
        desk = desk_of(daemon.place)
        log = desk.directory / "log"
        desk.add("load-day", f'#!/bin/sh\necho "day $1" >>{log}\n')
        desk.add("load-one", f'#!/bin/sh\necho "one $REPLAY_DATE $REPLAY_RUN_ID" >>{log}\n')
        yesterdays = {str(datetime.now(UTC).date() - timedelta(days=days)) for days in (0, 1)}
        for day in yesterdays:
            daemon.place.producer.write_and_publish(part_of(day), "r1", b"{}\n")
        daemon.refresh()
        day_line, one_line, *_ = crontab_lines()
        assert desk.run_line(day_line) == (0, "")
        (line,) = log_of(desk)
        assert line.startswith(f"day {daemon.path}/{SERIES}/")
        log.unlink()
        everything = ["one 2024-05-31 r0", *(f"one {day} r1" for day in sorted(yesterdays))]
        for _ in range(2):
            assert desk.run_line(one_line) == (0, "")
            assert log_of(desk) == everything
        daemon.place.producer.write_and_publish(part_of("2024-05-31"), "r9", b"{}\n")
        daemon.refresh()
        assert desk.run_line(one_line) == (0, "")
        assert log_of(desk) == [*everything, "one 2024-05-31 r9"]

    def test_a_loading_job_that_still_runs_is_not_run_again(self, place: Place) -> None:
        desk = desk_of(place)
        line = crontab_lines()[1]
        desk.add("readyfs-alarm", "#!/bin/sh\necho began\ncat\n")
        words = ["sh", "-c", desk.here(line.command)]
        with subprocess.Popen(words, env=desk.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
            assert first.stdout is not None
            assert first.stdout.readline() == b"began\n"
            assert desk.run_line(line) == (1, "")

    def test_gaps_are_told_until_there_is_none(self, place: Place) -> None:
        desk = desk_of(place)
        place.producer.expect(DAY_PART)
        place.producer.write_and_publish(part_of("2024-05-31"), "r0", b"{}\n")
        line = crontab_lines()[2]
        code, printed = desk.run_line(line)
        assert code == 12
        assert f"pending  {DAY}" in printed
        config = desk.config.read_text()
        desk.config.write_text('state = "/nowhere/state.db"\n')
        code, printed = desk.run_line(line)
        assert code == 3
        assert "/nowhere/state.db" in printed
        desk.config.write_text(f"{config}until = 2024-05-31\n")
        assert desk.run_line(line)[1].startswith("well again: timeout 10m readyfs gaps ")

    def test_the_page_is_replaced_in_one_step_and_stays_if_it_cannot_be_made(self, place: Place) -> None:
        desk = desk_of(place)
        place.producer.expect(DAY_PART)
        line = crontab_lines()[3]
        assert desk.run_line(line) == (0, ""), "a picture is no alarm"
        page = desk.www / "sales.html"
        first = page.read_bytes()
        assert b"<html" in first
        assert page.stat().st_mode & 0o777 == 0o644
        with page.open("rb") as reader:  # somebody is reading it
            desk.config.write_text(f'{desk.config.read_text()}customer = ["nobody"]\n')
            assert desk.run_line(line) == (0, "")
            assert reader.read() == first
        second = page.read_bytes()
        assert second != first
        desk.config.write_text('state = "/nowhere/state.db"\n')
        code, printed = desk.run_line(line)
        assert code == 3
        assert "/nowhere/state.db" in printed
        assert [(path.name, path.read_bytes()) for path in desk.www.iterdir()] == [("sales.html", second)]

    def test_check_tells_what_is_broken(self, place: Place) -> None:
        desk = desk_of(place)
        run = place.producer.write_and_publish(DAY_PART, "r1", b"{}\n")
        line = crontab_lines()[4]
        assert desk.run_line(line) == (0, "")
        (run.directory / "payload.jsonl").unlink()
        code, printed = desk.run_line(line)
        assert code == 12
        assert "payload.jsonl" in printed


def setting(unit: str, name: str) -> str:
    """Return the one value of a setting of a unit."""
    (value,) = re.findall(rf"^{name}=(.*)$", FILES[unit], re.MULTILINE)
    return str(value)


class TestUnits:
    """The units."""

    def test_systemd_takes_them_all(self, tmp_path: Path) -> None:
        beside = tmp_path / "units"
        beside.mkdir()
        for name in UNITS:
            # Where nothing is installed, another command stands in: verify wants the files to be there.
            text = re.sub(r"/usr/local/bin/[\w-]+", "/bin/true", FILES[name])
            (beside / name).write_text(text)
        names = [str(beside / name.replace("@.", "@sales.")) for name in UNITS if "mail" not in name]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    def test_each_time_of_a_timer_is_one(self) -> None:
        times = [setting(unit, "OnCalendar") for unit in UNITS if unit.endswith(".timer")]
        assert len(times) == 4
        words = ["systemd-analyze", "calendar", *times]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
        assert done.stdout.count("Next elapse: ") == 4
        assert "never" not in done.stdout

    def test_services_run_the_commands_of_the_crontab(self) -> None:
        services = ("load-yesterday", "readyfs-gaps@", "readyfs-coverage@", "readyfs-check@")
        commands = [words_of(setting(f"{name}.service", "ExecStart").replace("%i", "sales")) for name in services]
        lines = [words_of(line.command) for line in crontab_lines() if "replay" not in line.command]
        for (program, *rest), line in zip(commands, lines, strict=True):
            assert program == f"/usr/local/bin/{Path(program).name}"
            assert line[-len(rest) - 1 :] == [Path(program).name, *rest]

    def test_a_failure_is_told_by_the_unit_for_that(self, place: Place) -> None:
        services = [name for name in UNITS if name.endswith(".service") and name != "readyfs-mail@.service"]
        assert {setting(name, "OnFailure") for name in services} == {"readyfs-mail@%n.service"}
        assert "readyfs-mail@.service" in UNITS
        assert all(f"{name.removesuffix('.timer')}.service" in services for name in UNITS if name.endswith(".timer"))
        desk = desk_of(place)
        desk.add("journalctl", '#!/bin/sh\nprintf "%s\\n" "$@"\n')
        desk.add("mail", '#!/bin/sh\nprintf "%s\\n" "$@"\necho\ncat\n')
        command, argument = words_of(desk.here(setting("readyfs-mail@.service", "ExecStart")))
        assert argument == "%i"
        unit = "readyfs-gaps@sales.service"
        told = {"MONITOR_INVOCATION_ID": "0f" * 16, "MONITOR_EXIT_STATUS": "12"}
        head = ["-q", "-o", "cat", "-n", "200"]
        code, printed = desk.run(command, unit, **told)
        mailed, _, asked = printed.partition("\n\n")
        assert (code, mailed.split("\n")) == (0, ["-s", f"{unit} failed: 12", "operators"])
        assert asked.split() == [*head, f"_SYSTEMD_INVOCATION_ID={'0f' * 16}"]
        assert desk.run(command, unit)[1].partition("\n\n")[2].split() == [*head, f"_SYSTEMD_UNIT={unit}"]


def test_every_script_of_the_page_is_run_by_a_test() -> None:
    assert set(SCRIPTS) == {"readyfs-once", "readyfs-alarm", "readyfs-mail"}
    assert Path(sys.executable).with_name("readyfs").exists()
