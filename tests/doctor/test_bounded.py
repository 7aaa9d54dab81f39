"""No check can hold up, end or change the doctor."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from readyfs.doctor.bounded import run_checks
from readyfs.doctor.finding import Check, Finding, Group, Verdict, good
from readyfs.errors import StateError


def examine(*looks: Callable[[], Iterator[Finding]], limit_s: float = 20.0) -> list[list[Finding]]:
    checks = [Check(Group.MACHINE, "thing", look) for look in looks]
    return [findings for _, findings in run_checks(checks, limit_s, lambda error: type(error).__name__)]


def fine() -> Iterator[Finding]:
    yield good("thing", "is fine")


def hang() -> Iterator[Finding]:
    yield good("thing", "so far")
    signal.pause()


def test_what_a_check_finds_arrives_as_it_is() -> None:
    odd = Finding("thing", Verdict.WARNING, "ä\n\x1b" + "x" * 100_000, "do 'this'")
    assert examine(lambda: iter([odd, good("thing", "b")])) == [[odd, good("thing", "b")]]


def test_a_check_that_finds_nothing_is_no_failure() -> None:
    assert examine(lambda: iter(())) == [[]]


def test_a_check_that_hangs_is_a_problem_and_keeps_what_it_had_found() -> None:
    (findings, others) = examine(hang, fine, limit_s=0.5)
    assert others == [good("thing", "is fine")]
    assert findings[0] == good("thing", "so far")
    assert findings[1].verdict is Verdict.PROBLEM
    assert "no answer within 500ms" in findings[1].summary


def test_checks_run_at_once_so_that_those_that_hang_share_one_limit(tmp_path: Path) -> None:
    started_by_then: list[int] = []

    def start(number: int) -> Iterator[Finding]:
        (tmp_path / str(number)).touch()
        return hang()

    checks = [
        Check(
            *(Group.MACHINE, "thing", partial(start, number)),
            tidy=lambda: started_by_then.append(len(list(tmp_path.iterdir()))),
        )
        for number in range(8)
    ]
    assert len(list(run_checks(checks, 3.0, repr))) == 8
    assert started_by_then[0] == 8


def test_a_crash_is_a_problem_that_names_its_error() -> None:
    def crash() -> Iterator[Finding]:
        yield good("thing", "so far")
        raise ZeroDivisionError

    ((first, failure),) = examine(crash)
    assert first.summary == "so far"
    assert (failure.verdict, failure.summary) == (Verdict.PROBLEM, "this check itself failed: ZeroDivisionError")


def test_a_process_that_dies_is_a_problem() -> None:
    def die() -> Iterator[Finding]:
        os.kill(os.getpid(), signal.SIGKILL)
        yield from ()

    (((failure,)),) = examine(die)
    assert (failure.verdict, failure.summary) == (Verdict.PROBLEM, "this check itself failed: its process died")


def test_a_refusal_is_a_problem_with_its_remedy() -> None:
    def refuse() -> Iterator[Finding]:
        yield from ()
        raise StateError("it is gone", "bring it back")

    assert examine(refuse) == [[Finding("thing", Verdict.PROBLEM, "it is gone", "bring it back")]]


def test_what_a_check_does_to_its_process_stays_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def spoil() -> Iterator[Finding]:
        os.chdir(tmp_path)
        os.environ["SPOILED"] = "yes"
        os.write(1, b"noise")
        yield good("thing", "done")

    before = os.getcwd()
    assert examine(spoil) == [[good("thing", "done")]]
    assert (os.getcwd(), os.environ.get("SPOILED"), capfd.readouterr().out) == (before, None, "")


@pytest.mark.parametrize("look", [fine, hang])
def test_a_check_is_tidied_up_after_and_leaves_no_process(
    look: Callable[[], Iterator[Finding]], tmp_path: Path
) -> None:
    pids: list[int] = []

    def remember() -> Iterator[Finding]:
        (tmp_path / "pid").write_text(str(os.getpid()))
        yield from look()

    check = Check(Group.MACHINE, "thing", remember, tidy=lambda: pids.append(int((tmp_path / "pid").read_text())))
    list(run_checks([check], 0.5 if look is hang else 20, repr))
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_failure_to_tidy_up_is_a_problem() -> None:
    def fail() -> None:
        raise OSError

    ((_, findings),) = run_checks([Check(Group.MACHINE, "thing", fine, tidy=fail)], 20, lambda error: "stuck")
    assert [one.summary for one in findings] == ["is fine", "this check itself failed: stuck"]
