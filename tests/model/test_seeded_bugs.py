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
from tests.model.machine import ReadyfsMachine
from tests.model.reference import Mismatch
from tests.model.test_machine import SLOW

OFTEN = ["absent_instead_of_broken", "inodes_by_path", "status_filter_dropped"]
"""Looked for in every run; the others take longer and are as good as these."""

FOUND_BY_RACING = ["told_before_published"]
"""One reader that waits for each refresh cannot see these; see `test_concurrent`."""

SELDOM = sorted(seeded_daemon.BUGS.keys() - {*OFTEN, *FOUND_BY_RACING})


def assert_found(bug: str, examples: int) -> None:
    class Seeded(ReadyfsMachine):
        wrapper = (sys.executable, str(Path(seeded_daemon.__file__)), bug)

    with pytest.raises((Mismatch, AssertionError, OSError, FlakyFailure)) as caught:
        run_state_machine_as_test(
            Seeded,
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


@pytest.mark.parametrize("bug", OFTEN)
def test_machine_finds_the_bug(bug: str) -> None:
    assert_found(bug, examples=20)


@pytest.mark.long
@pytest.mark.parametrize("bug", SELDOM)
def test_machine_finds_the_rarer_bug(bug: str) -> None:
    assert_found(bug, examples=60)
