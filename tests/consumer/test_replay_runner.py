"""Running commands beside each other: what happens to them when something goes wrong with us."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from readyfs.consumer.replay.command import Command
from readyfs.consumer.replay.plan import Target
from readyfs.consumer.replay.runner import Finished, Outcome, run
from tests.consumer.replay_targets import target
from tests.mount.daemon import wait_until


def shell(script: str, directory: Path) -> Command:
    return Command(["sh", "-c", f'cd "$REPLAY_PATH"; {script}'], lambda one: os.fsencode(directory))


def days(count: int) -> list[Target]:
    return [target(f"2024-06-{day:02}") for day in range(1, count + 1)]


def test_error_of_the_caller_ends_the_run_once_nothing_runs_any_more(tmp_path: Path) -> None:
    noted: list[Finished] = []

    def note(finished: Finished) -> None:
        noted.append(finished)
        if len(noted) == 1:
            (tmp_path / "go").touch()  # the other one ends only now
            raise OSError("full")

    waits = 'echo >> started; [ "$REPLAY_DATE" = 2024-06-01 ] || until [ -e go ]; do sleep 0.01; done'
    tally = run(days(4), shell(waits, tmp_path), jobs=2, note=note)
    assert str(tally.error) == "full"
    assert (tally.done, tally.left, len(noted)) == (2, 2, 2)
    assert (tmp_path / "started").read_text() == "\n\n"


def test_command_that_does_not_heed_sigterm_is_killed_after_a_while(tmp_path: Path) -> None:
    def interrupt_twice() -> None:
        wait_until((tmp_path / "started").exists, "the command runs")
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: stopping == [1], "the first was heeded")
        os.kill(os.getpid(), signal.SIGTERM)

    stopping: list[int] = []
    noted: list[Finished] = []
    threading.Thread(target=interrupt_twice).start()
    stubborn = shell('trap "" TERM; touch started; while :; do sleep 0.02; done', tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    tally = run(days(2), stubborn, jobs=1, note=noted.append, on_stop=stopping.append, kill_after_s=0.1)
    assert (tally.ended, tally.left, tally.interrupted) == (1, 1, True)
    assert [(one.outcome, one.code, one.why) for one in noted] == [(Outcome.ENDED, 137, "ended by SIGKILL")]
    assert signal.getsignal(signal.SIGTERM) is before


def test_signal_that_was_ignored_stays_so(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        tally = run(days(2), shell(f"kill -HUP {os.getpid()}", tmp_path), jobs=1, note=lambda one: None)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (tally.done, tally.interrupted) == (2, False)


def test_signal_that_leaves_nothing_undone_interrupts_nothing(tmp_path: Path) -> None:
    tally = run(days(1), shell(f"kill -INT {os.getpid()}", tmp_path), jobs=1, note=lambda one: None)
    assert (tally.done, tally.left, tally.interrupted) == (1, 0, False)


def test_value_with_a_nul_cannot_be_passed_and_fails_alone(tmp_path: Path) -> None:
    noted: list[Finished] = []
    targets = [target(customer=b"a\0b"), target("2024-06-02")]
    tally = run(targets, shell("true", tmp_path), jobs=1, note=noted.append)
    assert (tally.done, tally.failed) == (1, 1)
    assert noted[0].why == "cannot be started: a value holds a NUL"


def test_command_reads_nothing_of_our_input(tmp_path: Path) -> None:
    tally = run(days(1), shell("read line && exit 1; true", tmp_path), jobs=1, note=lambda one: None)
    assert tally.done == 1


def test_what_an_ended_command_leaves_behind_is_killed(tmp_path: Path) -> None:
    def interrupt_twice() -> None:
        wait_until((tmp_path / "child").exists, "the command runs")
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: stopping == [1], "the first was heeded")
        os.kill(os.getpid(), signal.SIGTERM)

    stopping: list[int] = []
    threading.Thread(target=interrupt_twice).start()
    leaves = "sh -c 'trap \"\" TERM; echo $$ > new; mv new child; while :; do sleep 0.02; done' & wait"
    noted: list[Finished] = []
    run(days(1), shell(leaves, tmp_path), jobs=1, note=noted.append, on_stop=stopping.append)
    assert noted[0].why == "ended by SIGTERM"
    child = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    wait_until(lambda: not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z", "it is dead")


def test_commands_are_waited_for_though_children_were_ignored(tmp_path: Path) -> None:
    """As by a parent that wants no zombies: then nobody could tell how a command ended."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    noted: list[Finished] = []
    try:
        tally = run(days(1), shell("exit 3", tmp_path), jobs=1, note=noted.append)
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert (tally.failed, noted[0].code) == (1, 3)
