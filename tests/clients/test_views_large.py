"""Plan, let everything flip, read over a pinned view, with the clients that take long or are large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.clients.flips import flipping
from tests.clients.large_planners import NAMES, large_planner
from tests.clients.manifest_planners import FROM_MANIFESTS
from tests.clients.planners import SMALL, Planner
from tests.clients.tool_planners import MORE_TOOLS, SMALL_TOOLS
from tests.clients.trees import pinned
from tests.clients.verdicts import EXACT, play

pytestmark = pytest.mark.clients
ROUNDS: Final = 10


@pytest.fixture(scope="module")
def planners(tmp_path_factory: pytest.TempPathFactory, large_python: Path) -> Iterator[tuple[Planner, ...]]:
    """All of them: each large client is one process for all engines, so that what it caches would show."""
    logs = tmp_path_factory.mktemp("logs")
    with ExitStack() as clients:
        large = [clients.enter_context(large_planner(name, large_python, logs / name)) for name in NAMES]
        yield (*SMALL, *SMALL_TOOLS, *FROM_MANIFESTS, *MORE_TOOLS, *large)


@pytest.mark.timeout(900)
def test_plan_over_a_pinned_view_reads_exactly_what_was_pinned(
    tmp_path: Path, planners: tuple[Planner, ...], engine: str
) -> None:
    """V16: every time."""
    with flipping(tmp_path, engine) as flips:
        for _ in range(ROUNDS):
            assert play(flips, planners, pinned) == {planner.name: EXACT for planner in planners}
