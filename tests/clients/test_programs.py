"""Every program of the table on every way of reading, in every situation: it ends with an error, or the table says why
not and docs/clients.md what then helps (V5, V10).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.libraries import LIBRARIES
from tests.clients.programs import SMALL, Program
from tests.clients.scenes import Situation, expect, staged, write_plain
from tests.mount.daemon import TRAITS


@pytest.mark.parametrize("situation", Situation, ids=lambda one: one.name.lower())
@pytest.mark.parametrize("engine", TRAITS)
def test_every_program_ends_as_the_table_says(tmp_path: Path, engine: str, situation: Situation) -> None:
    """V5, V10: one mount for all of them."""
    compare_endings(tmp_path, engine, situation, (*SMALL, *LIBRARIES))


def compare_endings(base: Path, engine: str, situation: Situation, programs: Sequence[Program]) -> None:
    """Let all programs read one mount, and compare how they ended with what the table says."""
    plain = base / "plain"
    write_plain(plain)
    (base / "place").mkdir()
    # Programs that share an open file share its position.
    workers = 1 if situation is Situation.DELETED else 3
    with staged(base / "place", engine, situation) as scene, ThreadPoolExecutor(workers) as pool:
        endings = [
            pool.submit(scene.play, program, plain, base / "out" / str(number))
            for number, program in enumerate(programs)
        ]
        found = {program.name: ending.result() for program, ending in zip(programs, endings, strict=True)}
    assert found == {program.name: expect(program, situation, TRAITS[engine]) for program in programs}
