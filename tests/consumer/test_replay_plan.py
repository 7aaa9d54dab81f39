"""The plan of a replay: order, limit, skip list, what was done before; and the words of its command."""

from __future__ import annotations

import os
import sys

import pytest

from readyfs.consumer.replay.command import Command, check_words
from readyfs.consumer.replay.plan import Plan, Target, make_plan
from readyfs.consumer.replay.skip_list import parse_skip_list
from readyfs.errors import UsageError
from tests.consumer.replay_targets import key, target

ODD: Target = target(run_id=b"r;$(x)\xff", customer=b"-c {path}", query=b"a/b", source=b"s\n")


def test_order_is_by_date_then_by_key() -> None:
    late = target("2024-06-03")
    other, early = target("2024-06-01", customer=b"c2"), target("2024-06-01")
    assert make_plan([late, other, early]).todo == (early, other, late)
    assert make_plan([early, other, late], newest_first=True).todo == (late, early, other)


def test_what_was_done_with_the_same_run_is_left_out() -> None:
    again, new = target("2024-06-02", run_id=b"r2"), target("2024-06-03")
    plan = make_plan([target(), again, new], done={key(): b"r1", key("2024-06-02"): b"r1"})
    assert plan == Plan((again, new), done=1, skipped=0, beyond=0)


def test_limit_counts_what_is_left_to_do() -> None:
    days = [target(f"2024-06-0{day}") for day in (1, 2, 3, 4)]
    assert make_plan(days, limit=2, done={days[0].key: b"r1"}) == Plan((days[1], days[2]), done=1, skipped=0, beyond=1)


def test_skip_list_names_partitions_of_any_source_or_of_one() -> None:
    skip = parse_skip_list(b"# late ones\n\nc1/q1/2024-06-01\r\ns2/c1/q1/2024-06-02\nc%2F1/q1/2024-06-03\n", "the list")
    days = [
        target("2024-06-01", source=b"s1"),
        target("2024-06-01", source=b"s2"),
        target("2024-06-02", source=b"s2"),
        target("2024-06-03", customer=b"c/1"),
    ]
    stays = target("2024-06-02", source=b"s1")
    assert make_plan([*days, stays], skip=skip) == Plan((stays,), done=0, skipped=4, beyond=0)


@pytest.mark.parametrize(
    "line", [b"c1/q1", b"c1/q1/2024-06-31", b"c1/q%zz/2024-06-01", b"a/b/c/d/2024-06-01", b"c1//2024-06-01"]
)
def test_skip_list_refuses_what_is_no_key(line: bytes) -> None:
    with pytest.raises(UsageError, match=r"^line 2 of the list is no partition: "):
        parse_skip_list(b"c1/q1/2024-06-01\n" + line + b"\n", "the list")


def test_placeholders_are_filled_within_words_and_once() -> None:
    words = [
        sys.executable,
        "{path}",
        "--c={customer}",
        "{query}{source}",
        "{date}/{run_id}",
        "{{path}}",
        "{print $1}",
        "{}",
    ]
    command = Command(words, lambda one: b"/raw/" + one.run_id)
    assert command.words_for(ODD) == (
        os.fsencode(sys.executable),
        b"/raw/r;$(x)\xff",
        b"--c=-c {path}",
        b"a/bs\n",
        b"2024-06-01/r;$(x)\xff",
        b"{path}",
        b"{print $1}",
        b"{}",
    )


def test_environment_has_every_value_and_keeps_the_rest() -> None:
    command = Command([sys.executable], lambda one: b"/p")
    assert command.environment_for(ODD, {b"A": b"1", b"REPLAY_PATH": b"old"}) == {
        b"A": b"1",
        b"REPLAY_PATH": b"/p",
        b"REPLAY_RUN_ID": b"r;$(x)\xff",
        b"REPLAY_DATE": b"2024-06-01",
        b"REPLAY_CUSTOMER": b"-c {path}",
        b"REPLAY_QUERY": b"a/b",
        b"REPLAY_SOURCE": b"s\n",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no command is given"),
        ([""], "no command is given"),
        (["no-such-program-here"], "there is no program no-such-program-here"),
        (["true", "{runid}"], "there is no placeholder {runid}; use {path}, .* or write {{runid}}"),
        (["sh", "-c", "load {customer}"], "a placeholder stands in the script of a shell"),
        (["/bin/bash", "-e", "-uc", "load {path}"], "a placeholder stands in the script of a shell"),
    ],
)
def test_command_that_cannot_be_meant_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_words(words)


def test_shell_may_have_placeholders_as_arguments() -> None:
    words = ["sh", "-c", 'load "$1"', "-", "{path}"]
    check_words(words)
    assert Command(words, lambda one: b"/p").words_for(ODD)[-1] == b"/p"
