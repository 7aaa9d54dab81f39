"""The table of programs for those that take long, or are large: engines in an environment of their own, and tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import count_large
from tests.clients.programs import LARGE, MORE, Program
from tests.clients.scenes import Situation, Truth, find_truth
from tests.clients.test_programs import compare_endings
from tests.mount.daemon import TRAITS

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def programs(large_python: Path) -> tuple[Program, ...]:
    """All of them, with the engines' environment."""
    words = {"PYTHON": str(large_python), "COUNT": count_large.__file__}
    return (*MORE, *(one.within(words) for one in LARGE))


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, programs: tuple[Program, ...]) -> Truth:
    return find_truth(programs, tmp_path_factory.mktemp("truth"))


@pytest.mark.parametrize("situation", Situation, ids=lambda one: one.name.lower())
@pytest.mark.parametrize("engine", TRAITS)
def test_every_large_program_ends_as_the_table_says(
    tmp_path: Path, programs: tuple[Program, ...], truth: Truth, engine: str, situation: Situation
) -> None:
    """V5, V10: one mount for all of them."""
    compare_endings(tmp_path, truth, engine, situation, programs)
