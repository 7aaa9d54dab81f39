"""The compiled module under a fuzzer: no input crashes it, and what it answers is what Python answers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.native.fuzz import sanitized
from tests.native.fuzz.beside import BesideTests


@pytest.fixture
def fuzzer(testrun_uid: str) -> BesideTests:
    """The one of this run; where there is no other process, of this test."""
    return BesideTests(testrun_uid)


def test_fuzzing_begins_beside_the_tests(fuzzer: BesideTests) -> None:
    fuzzer.begin()


def test_fuzzing_finds_nothing_while_the_tests_run(fuzzer: BesideTests) -> None:
    fuzzer.begin()
    found = fuzzer.finish()
    assert found.startswith("0\n"), found


@pytest.mark.long
def test_fuzzing_finds_nothing_in_half_an_hour() -> None:
    command = [sys.executable, "-m", "tests.native.fuzz", "--seconds", "1800"]
    done = subprocess.run(command, cwd=sanitized.PROJECT, capture_output=True, text=True, check=False, timeout=7200)
    assert done.returncode == 0, done.stdout + done.stderr
