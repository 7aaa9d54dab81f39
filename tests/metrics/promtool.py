"""Prometheus' own tool, which the development setup puts beside the interpreter where the machine has none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def promtool(*arguments: str | Path, input: bytes | None = None) -> str:
    """Run promtool; fail the test with what it says if it finds fault."""
    beside = Path(sys.executable).with_name("promtool")
    program = str(beside) if beside.exists() else shutil.which("promtool")
    assert program is not None, "promtool is missing; `.ci/setup dev` brings it"
    done = subprocess.run([program, *arguments], input=input, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode()
    if done.returncode:
        pytest.fail(f"promtool {arguments[0]} {arguments[1]}:\n{said}")
    return said
