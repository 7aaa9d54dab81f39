"""What a command does with a place that takes no output, and with a locale that has no letters."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import SOURCE
from tests.state.state_files import CONTRACT_COLUMNS

PROGRAM = f"{sys.executable} -m readyfs"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"CREATE TABLE partition_state({', '.join(CONTRACT_COLUMNS)})")
        row = ("ads", "Zoë", "daily", "2024-06-01", "success", "r1", "v1", 12, "2024-06-02T05:00:00+00:00", None, 1)
        connection.execute(f"INSERT INTO partition_state VALUES ({','.join('?' * 11)})", row)
    return path


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **variables}
    return subprocess.run(
        ["sh", "-c", line], env=environment, capture_output=True, encoding="utf-8", timeout=30, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        "ls",
        "ls --json",
        "latest --json",
        "gaps",
        "coverage",
        "coverage --json",
        "changes --since beginning --cursor-file cursor",
        "--help",
        "config show",
    ],
)
def test_output_that_cannot_be_written_is_one_line(state: Path, words: str) -> None:
    store = "" if words.startswith(("--", "config")) else f" --state {state}"
    done = shell(f"cd {state.parent}; {PROGRAM} {words}{store} >/dev/full")
    assert done.stderr.startswith("readyfs: standard output cannot be written: No space left on device; ")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (state.parent / "cursor").exists()  # what nobody has got was not told


@pytest.mark.parametrize("words", ["ls", "ls --json", "replay --raw . -- touch ran"])
def test_closed_output_is_refused_before_anything_is_done(state: Path, words: str) -> None:
    command, _, rest = words.partition(" ")
    done = shell(f"cd {state.parent}; {PROGRAM} {command} --state {state} {rest} >&-")
    assert (done.returncode, done.stderr) == (
        2,
        "readyfs: standard output is closed; give it a place, such as >/dev/null\n",
    )
    assert not (state.parent / "ran").exists()


def test_no_file_takes_the_place_of_a_closed_stream(state: Path) -> None:
    code = (
        "import os, sys; from readyfs.cli.streams import prepare_streams; prepare_streams(); "
        f"file = os.open({str(state)!r}, os.O_RDONLY); print(file)"
    )
    done = shell(f'{sys.executable} -c "{code}" <&- 2>&-')
    assert int(done.stdout) > 2


@pytest.mark.parametrize("form", ["text", "json"])
def test_output_is_utf_8_in_every_locale(state: Path, form: str) -> None:
    plain = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = shell(f"{PROGRAM} ls --state {state} --format {form}", **plain)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Zoë" in done.stdout
    if form == "json":
        assert json.loads(done.stdout)["customer_id"] == "Zoë"
