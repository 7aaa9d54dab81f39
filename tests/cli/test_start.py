"""What a command does not import, because its answer would come later: looked at in a process of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from readyfs.cli.later import LaterGroup
from readyfs.cli.main import cli
from tests.cli.conftest import SOURCE

HEAVY = {"sqlalchemy", "trio", "structlog", "asyncio", "pyfuse3", "prometheus_client", "tomllib", "subprocess"}
SCRIPT = """
import json, sys
from readyfs.__main__ import main
sys.argv[0] = "readyfs"
code = main()
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def imported(*words: str, code: int = 0) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    found, modules = json.loads(done.stderr.splitlines()[-1])
    assert found == code, done.stderr
    return set(modules)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE partition_state (source TEXT, customer_id TEXT, query_name TEXT, logical_date DATE, "
            "status TEXT, current_run_id TEXT, updated_at TEXT)"
        )
        connection.execute(
            "INSERT INTO partition_state VALUES ('ads', '001', 'q', '2024-06-01', 'success', 'r1', NULL)"
        )
    connection.close()
    return path


def test_help_imports_no_command() -> None:
    modules = imported("--help")
    assert isinstance(cli, LaterGroup)
    assert not modules & {where.module for where in cli.later.values()}
    assert not modules & HEAVY
    assert "readyfs.config" not in modules


@pytest.mark.parametrize(
    "words",
    [
        ("ls",),
        ("ls", "001/q/2024-06-01", "--json"),
        ("ls", "--status", "missing"),
        ("latest",),
        ("gaps", "--sla", "36h", "--until", "2024-06-01"),
        ("coverage", "--until", "2024-06-01"),
        ("coverage", "--until", "2024-06-01", "--json"),
    ],
)
def test_questions_of_a_sqlite_state_import_neither_servers_nor_the_log(words: tuple[str, ...], state: Path) -> None:
    modules = imported(*words, "--state", str(state))
    assert "sqlite3" in modules
    assert not modules & HEAVY


def test_questions_of_a_mount_import_no_database(tmp_path: Path) -> None:
    modules = imported("pins", str(tmp_path), code=8)
    assert "readyfs.control.public_client" in modules
    assert not modules & (HEAVY | {"sqlite3"})
