from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from readyfs.config.table import SETTINGS
from tests.cli.conftest import Run

SECRETS = [
    "postgresql://me:s3cret@db/x",
    "postgresql+psycopg://me@db/x?password=s3cret",
    "postgresql://me:s3cret@s3cret@db/x",
]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute(
        "CREATE TABLE partition_state (source TEXT, customer_id TEXT, query_name TEXT, logical_date DATE, status TEXT, "
        "current_run_id TEXT)"
    )
    connection.execute("INSERT INTO partition_state VALUES ('ads', '001', 'q', '2024-06-01', 'success', 'r1')")
    connection.execute("INSERT INTO partition_state VALUES ('ads', '001', 'q', '2024-06-02', 'success', NULL)")
    connection.execute("INSERT INTO partition_state VALUES ('ads', '001', 'q', '2024-06-03', 'failed', 'r1')")
    connection.commit()
    connection.close()
    (tmp_path / "raw").mkdir()
    return tmp_path


def test_show_lists_every_setting_with_its_value_and_origin(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "readyfs.toml"
    file.write_text('interval = "2m"\n')
    monkeypatch.setenv("READYFS_DRAIN", "5s")
    code, out, _ = run("config", "show", "--config", str(file), "--raw", "/raw")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert code == 0
    assert list(rows) == [setting.name for setting in SETTINGS]
    assert rows["interval"] == ["2m", "interval", "in", str(file)]
    assert rows["drain"] == ["5s", "READYFS_DRAIN"]
    assert rows["raw"] == ["/raw", "--raw"]
    assert rows["file-mode"] == ["0444", "default"]


def test_show_as_json_has_value_and_origin_by_name(run: Run) -> None:
    code, out, _ = run("config", "show", "--json", "--customer", "a", "--customer", "b", "--no-xattrs")
    shown = json.loads(out)
    assert code == 0
    assert shown["customer"] == {"value": "a,b", "origin": "--customer"}
    assert shown["xattrs"] == {"value": "false", "origin": "--xattrs"}
    assert set(shown) == {setting.name for setting in SETTINGS}


@pytest.mark.parametrize("url", SECRETS)
def test_no_command_shows_a_password(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("READYFS_STATE", url)
    for arguments in (
        ["config", "show"],
        ["config", "show", "--json"],
        ["config", "check", "--raw", str(tmp_path), "--state-timeout", "100ms"],
        ["mount", str(tmp_path / "none"), "--raw", str(tmp_path)],
        ["config", "show", "--state", url, "--interval", "3"],
    ):
        _, out, err = run(*arguments)
        assert "s3cret" not in out + err, arguments


def test_check_prints_one_line_about_both_stores(run: Run, world: Path) -> None:
    code, out, err = run("config", "check", "--state", str(world / "state.db"), "--raw", str(world / "raw"))
    assert (code, err) == (0, "")
    assert out.startswith("OK: 2 ready rows, 1 withheld in ")
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--state", "{world}/none.db", "--raw", "{world}/raw"], 3, "none.db"),
        (["--state", "{world}/state.db", "--raw", "{world}/none"], 4, "none"),
        (["--state", "{world}/state.db", "--raw", "s3://bucket"], 4, "s3"),
        (["--state", "{world}/state.db", "--raw", "{world}/raw", "--state-table", "runs"], 3, "partition_state"),
        (["--state", "{world}/state.db", "--raw", "{world}/raw", "--column-status", "st"], 3, "status"),
        (["--state", "{world}/state.db", "--raw", "{world}/raw", "--layout", "{{x}}"], 2, "unknown field"),
        (["--state", "nonsense://x", "--raw", "{world}/raw"], 2, "nonsense"),
        (["--raw", "{world}/raw"], 2, "--state"),
        (["--state", "{world}/state.db", "--raw", "{world}/raw", "--log-file", "{world}/state.db"], 2, "log file"),
        (["--state", "{world}/state.db", "--raw", "{world}/raw", "--state-dir", "{world}/raw/x"], 2, "raw root"),
    ],
)
def test_check_gives_the_one_line_and_exit_code_of_the_mount(
    run: Run, world: Path, arguments: list[str], code: int, words: str
) -> None:
    found, out, err = run("config", "check", *(one.format(world=world) for one in arguments))
    assert (found, out) == (code, "")
    assert err.startswith("readyfs: ")
    assert err.count("\n") == 1
    assert words in err
