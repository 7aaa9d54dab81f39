"""The state machine against a real mount: a short form in every run, a long one under `make test-long`."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import ReadyfsMachine

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
"""Mounts are slow, and the filter is Hypothesis's: the few rules that it has left enabled may all have to wait."""


def machine_of(engine: str) -> type[ReadyfsMachine]:
    """Return the machine for one engine and way of reading."""
    return type(f"{engine.capitalize()}Machine", (ReadyfsMachine,), {"engine": engine})


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("engine", "examples"), [("pyfuse3", 5), ("passthrough", 7), ("opened", 7), ("cached", 7)])
def test_mount_agrees_with_the_reference_model(engine: str, examples: int) -> None:
    """V1, V2, V4-V7, V9-V15: the same few examples in every run; the first failure is shown as it was found."""
    run_state_machine_as_test(
        machine_of(engine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=SLOW,
        ),
    )


@pytest.mark.long
def test_mount_agrees_with_the_reference_model_for_long(engine: str) -> None:
    """As above with fresh examples in every run, remembered and made small when one fails."""
    run_state_machine_as_test(
        machine_of(engine),
        settings=settings(
            max_examples=1000, stateful_step_count=100, deadline=None, print_blob=True, suppress_health_check=SLOW
        ),
    )
