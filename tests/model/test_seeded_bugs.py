"""The state machine must find each of the bugs that `seeded_daemon` can put into the daemon.

To try one by hand: `make test-long ARGS="tests/model/test_seeded_bugs.py -k inodes_by_path -s"`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import run_state_machine_as_test

from tests.model import seeded_daemon
from tests.model.reference import PLAIN, Mismatch
from tests.model.test_machine import SLOW, machine_of
from tests.mount.daemon import ENGINES, TRAITS
from tests.mount.forked import StemWrapper

OFTEN = {"absent_instead_of_broken": "cached", "inodes_by_path": "passthrough", "status_filter_dropped": "pyfuse3"}
"""Looked for in every run, each on one engine; the others take longer and are as good as these."""

FOUND_BY_RACING = ["told_before_published"]
"""One reader that waits for each refresh cannot see these; see `test_concurrent`."""


def is_in_reach(bug: str, engine: str) -> bool:
    """Whether an engine uses what the bug is in: where the kernel opens or reads by itself, the daemon does not."""
    traits = TRAITS[engine]
    match bug:
        case "handles_kept":
            return not traits.kernel_opens
        case "path_reopened_per_read":
            return not traits.kernel_reads
        case _:
            return bug not in FOUND_BY_RACING


SELDOM = [
    (bug, engine)
    for bug in sorted(seeded_daemon.BUGS)
    for engine in ENGINES
    if is_in_reach(bug, engine) and OFTEN.get(bug) != engine
]


def assert_found(bug: str, engine: str, examples: int) -> None:
    machine = machine_of(engine)
    machine.layouts = (PLAIN,)  # in whose directories of many dates most bugs show soonest
    machine.wrapper = StemWrapper((sys.executable, str(Path(seeded_daemon.__file__)), bug))
    with pytest.raises((Mismatch, AssertionError, OSError, FlakyFailure)) as caught:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=60,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=SLOW,
            ),
        )
    assert "ended at once" not in str(caught.value)
    print(bug, caught.value)


@pytest.mark.parametrize(("bug", "engine"), OFTEN.items())
def test_machine_finds_the_bug(bug: str, engine: str) -> None:
    assert_found(bug, engine, examples=20)


@pytest.mark.long
@pytest.mark.parametrize(("bug", "engine"), SELDOM)
def test_machine_finds_the_rarer_bug(bug: str, engine: str) -> None:
    assert_found(bug, engine, examples=60)
