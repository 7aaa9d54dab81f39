"""Every engine and way of reading answers every system call as an ordinary read-only file system does, or all alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.differential.machine import DifferentialMachine
from tests.differential.world import World, all_mounted

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
"""Mounts are slow, and the filter is Hypothesis's: the few rules that it has left enabled may all have to wait."""


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with all_mounted(tmp_path_factory.mktemp("differential")) as found:
        yield found


def run(world: World, how: settings) -> None:
    run_state_machine_as_test(type("Differential", (DifferentialMachine,), {"world": world}), settings=how)


@pytest.mark.timeout(600)  # making a failing stream small takes minutes
def test_every_side_answers_alike(world: World) -> None:
    """V1, V2, V5-V9, V12: the same streams in every run; the first that fails is made small and printed."""
    run(
        world,
        settings(
            max_examples=12,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            suppress_health_check=SLOW,
        ),
    )


@pytest.mark.long
def test_every_side_answers_alike_for_long(world: World) -> None:
    """As above with fresh streams in every run, remembered when one fails."""
    run(
        world,
        settings(
            max_examples=3000, stateful_step_count=100, deadline=None, print_blob=True, suppress_health_check=SLOW
        ),
    )
