"""What the doctor says of the memory that a daemon would need."""

from __future__ import annotations

from pathlib import Path

import pytest

from readyfs.doctor.memory import available_bytes, judge_memory
from readyfs.doctor.subject import Places
from tests.doctor.subjects import verdicts


@pytest.mark.parametrize(("rows", "verdict"), [(0, "ok"), (100_000, "ok"), (300_000, "warning"), (600_000, "problem")])
def test_memory_is_judged_by_the_rows(rows: int, verdict: str) -> None:
    assert verdicts(judge_memory(rows, available=160_000_000)) == {"memory": verdict}


def test_the_limit_of_the_control_group_counts(tmp_path: Path) -> None:
    memory = tmp_path / "meminfo"
    memory.write_text("MemTotal: 9 kB\nMemAvailable:    2000 kB\n")
    places = Places(memory=memory, control_groups=tmp_path)
    assert available_bytes(places) == 2_048_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(places) == 2_048_000
    (tmp_path / "memory.max").write_text("1000000\n")
    assert available_bytes(places) == 1_000_000
