"""Ctrl-C in the first moments of a command, when it still imports what it needs: a quiet end and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from readyfs.cli.main import INTERRUPTED
from tests.cli.conftest import SOURCE

PROJECT = SOURCE.parent
INTERRUPTED_THERE = Path(__file__).with_name("interrupted")


def entry_point() -> list[str]:
    """Return a command line that does what the installed program does."""
    module, _, function = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"][
        "readyfs"
    ].partition(":")
    return [sys.executable, "-c", f"import sys; from {module} import {function}; sys.exit({function}())"]


def run(words: list[str], at: str, *wrapper: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, (INTERRUPTED_THERE, SOURCE)))
    return subprocess.run(
        [*wrapper, *words],
        env={**os.environ, "PYTHONPATH": path, "INTERRUPT_AT": at},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd="/",
    )


@pytest.mark.parametrize("program", [[sys.executable, "-m", "readyfs"], entry_point()], ids=["module", "script"])
@pytest.mark.parametrize("at", ["readyfs.cli.main", "click", "readyfs.cli.status", "readyfs.fuse.mount_table"])
def test_interrupted_import_ends_without_a_word(program: list[str], at: str, tmp_path: Path) -> None:
    done = run([*program, "status", str(tmp_path)], at)
    assert done.returncode in (-signal.SIGINT, INTERRUPTED)
    assert (done.stdout, done.stderr.strip()) == ("", "")


@pytest.mark.parametrize("at", ["readyfs.daemon.run", "trio", "readyfs.refresh.loader"])
def test_mount_that_is_interrupted_while_it_imports_ends_without_a_word(at: str, tmp_path: Path) -> None:
    place = tmp_path / "ready"
    place.mkdir()
    words = ["-m", "readyfs", "mount", str(place), "--state", "/nowhere.db", "--raw", "/nowhere"]
    done = run([sys.executable, *words], at)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (-signal.SIGINT, "", "")


def test_what_runs_in_the_background_of_a_shell_goes_on() -> None:
    done = run([*entry_point(), "--version"], "click", "sh", "-c", 'trap "" INT; exec "$@"', "sh")
    assert (done.returncode, done.stderr) == (0, "")
