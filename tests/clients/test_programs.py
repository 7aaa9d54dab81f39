"""Every program of the table on every way of reading, in every situation (V5, V10).

It ends with an error, or the table says what it does instead, and docs/clients.md what then helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.clients.libraries import LIBRARIES
from tests.clients.programs import LARGE, MORE, SMALL, Habit, Program
from tests.clients.scenes import Situation, Truth, expect, find_truth, staged
from tests.docs.test_docs import own_table
from tests.mount.daemon import TRAITS

PROGRAMS: Final[tuple[Program, ...]] = (*SMALL, *LIBRARIES)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return find_truth(PROGRAMS, tmp_path_factory.mktemp("truth"))


@pytest.mark.parametrize("situation", Situation, ids=lambda one: one.name.lower())
@pytest.mark.parametrize("engine", TRAITS)
def test_every_program_ends_as_the_table_says(tmp_path: Path, truth: Truth, engine: str, situation: Situation) -> None:
    """V5, V10: one mount for all of them."""
    compare_endings(tmp_path, truth, engine, situation, PROGRAMS)


@pytest.mark.parametrize("situation", [Situation.BROKEN, Situation.DAMAGED], ids=lambda one: one.name.lower())
def test_default_way_of_reading_fails_at_open(tmp_path: Path, truth: Truth, situation: Situation) -> None:
    """V10: files as small as these, too, for which the kernel might do more by itself."""
    # A way that lets the kernel open would end the test by what maps files, in place of failing it.
    programs = [one for one in PROGRAMS if Habit.MAPS not in one.habits]
    compare_endings(tmp_path, truth, "opened", situation, programs, "--reads", "auto")


def compare_endings(
    base: Path, truth: Truth, engine: str, situation: Situation, programs: Sequence[Program], *arguments: str
) -> None:
    """Let all programs read one mount, and compare how they ended with what the table says."""
    (base / "place").mkdir()
    # Programs that share an open file share its position.
    workers = 1 if situation is Situation.DELETED else 3
    with staged(base / "place", engine, situation, *arguments) as scene, ThreadPoolExecutor(workers) as pool:
        endings = [
            pool.submit(scene.play, program, truth, base / "out" / str(number))
            for number, program in enumerate(programs)
        ]
        found = {program.name: ending.result() for program, ending in zip(programs, endings, strict=True)}
    assert found == {program.name: expect(program, situation, TRAITS[engine]) for program in programs}


HEADINGS: Final = {
    Habit.IGNORES_OPEN: "Programs that go on after a failed open",
    Habit.IGNORES_READ: "Programs that take a failed read for the end",
    Habit.SPOILS_BEFORE_OPEN: "Programs that give up the old copy before they open the new one",
    Habit.SPOILS_BEFORE_READ: "Programs that give up the old copy before they read the new one",
    Habit.MAPS: "Programs that map files",
}
"""Where docs/clients.md names the programs of each habit."""


@pytest.mark.parametrize("habit", Habit)
def test_document_names_the_programs_of_each_habit(habit: Habit) -> None:
    """What does not end with an error is there to be read before it is met with, and nothing else is."""
    named = own_table("docs/clients.md", HEADINGS[habit])
    assert sorted(named) == sorted(one.name for one in (*PROGRAMS, *MORE, *LARGE) if habit in one.habits)
