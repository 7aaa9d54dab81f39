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
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if not line.startswith(" ")}
    assert code == 0
    assert list(rows) == [setting.name for setting in SETTINGS]
    assert rows["interval"] == ["2m", "interval", "in", str(file)]
    assert rows["drain"] == ["5s", "READYFS_DRAIN"]
    assert rows["raw"] == ["/raw", "--raw"]
    assert rows["file-mode"] == ["0444", "default"]


def test_origins_stand_below_each_other_however_long_a_value_is(run: Run) -> None:
    lines = run("config", "show")[1].splitlines()
    columns = {line.rindex("default") for line in lines if line.endswith("default")}
    assert len(columns) == 1
    [long] = [line for line in lines if line.startswith("raw-layout ")]
    assert long.endswith("/run_id={run_id}")


def test_show_as_json_has_value_and_origin_by_name(run: Run) -> None:
    code, out, _ = run("config", "show", "--json", "--customer", "a", "--customer", "b", "--no-xattrs")
    shown = json.loads(out)
    assert code == 0
    assert shown["customer"] == {"value": ["a", "b"], "origin": "--customer"}
    assert shown["xattrs"] == {"value": False, "origin": "--xattrs"}
    assert shown["log-file"] == {"value": None, "origin": "default"}
    assert shown["raw-threads"] == {"value": 16, "origin": "default"}
    assert shown["interval"] == {"value": "10s", "origin": "default"}
    assert shown["source"]["value"] == []
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


def make_run(world: Path, source: str = "ads", date: str = "2024-06-01") -> None:
    (world / f"raw/{source}/customer_id=001/query_name=q/logical_date={date}/run_id=r1").mkdir(parents=True)


def insert(world: Path, *rows: tuple[str, str, str, str, str, str]) -> None:
    connection = sqlite3.connect(world / "state.db")
    connection.executemany("INSERT INTO partition_state VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()


def check(run: Run, world: Path, *arguments: str) -> tuple[int, str, str]:
    return run("config", "check", "--state", str(world / "state.db"), "--raw", str(world / "raw"), *arguments)


def test_check_prints_one_line_about_both_stores(run: Run, world: Path) -> None:
    make_run(world)
    code, out, err = check(run, world)
    assert (code, err) == (0, "")
    assert out.startswith("OK: 1 partition in ")
    assert out.endswith(f"runs in {world}/raw; withheld: no_run_id 1\n")
    assert out.count("\n") == 1


def test_check_counts_what_a_mount_would_show_and_withhold(run: Run, world: Path) -> None:
    make_run(world)
    insert(
        world,
        ("ads", "", "q", "2024-06-01", "success", "r1"),
        ("ads", "001", "q", "2024-06-04", "success", "a/b"),
        ("ads", "001", "q", "no date", "success", "r1"),
        ("ads", "001", "q", "2024-06-05", "success", "r1"),
    )
    code, out, _ = check(run, world)
    assert code == 0
    assert out.startswith("OK: 2 partitions in ")
    withheld = out.rstrip("\n").partition("; withheld: ")[2]
    assert sorted(withheld.split(", ")) == ["bad_row 1", "no_run_id 1", "unusable_name 1", "unusable_raw_path 1"]


def test_check_refuses_ambiguous_paths_as_a_mount_does(run: Run, world: Path) -> None:
    """V13: two rows that claim one path are never resolved by guessing."""
    insert(world, ("bing", "001", "q", "2024-06-01", "success", "r1"))
    code, out, err = check(run, world)
    assert (code, out) == (7, "")
    assert "001/q/2024-06-01" in err
    assert check(run, world, "--source", "ads")[0] == 0


@pytest.mark.parametrize("place", ["raw", "raw/pins", "."])
def test_check_refuses_a_pin_store_among_the_runs_as_a_mount_does(run: Run, world: Path, place: str) -> None:
    make_run(world)
    code, out, err = check(run, world, "--pin-store", str(world / place))
    assert (code, out) == (21, "")
    assert "lie in one another" in err
    assert check(run, world, "--pin-store", str(world / "pins"))[0] == 0


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (("--files", "*.csv"), "--files hides every file of --required-files"),
        (("--since", "2024-06-02", "--until", "2024-06-01"), "--since is later than --until"),
    ],
)
def test_settings_at_odds_are_the_same_error_whoever_reads_them(
    run: Run, world: Path, setting: tuple[str, ...], said: str
) -> None:
    """The exit code is the one that a mount ends with."""
    stores = ("--state", str(world / "state.db"), "--raw", str(world / "raw"))
    (world / "mnt").mkdir()
    codes = []
    for command in (("mount", str(world / "mnt")), ("config", "check"), ("check",)):
        code, out, err = run(*command, *stores, *setting)
        assert said in err, command
        assert (out, err.count("\n")) == ("", 1), command
        codes.append(code)
    assert codes == [2, 2, 2]
    code, out, _ = run("doctor", *stores, *setting, "--only", "settings")
    assert code == 12
    assert said in out


def test_check_warns_if_no_run_is_where_the_raw_layout_says(run: Run, world: Path) -> None:
    make_run(world)
    code, out, err = check(run, world, "--raw-layout", "{customer_id}/{query_name}/{logical_date}/{run_id}")
    assert code == 0
    assert out.startswith("OK: 1 partition in ")
    assert err.startswith("readyfs: warning: ")
    assert f"{world}/raw/001/q/2024-06-01/r1 (No such file or directory)" in err
    assert "--raw-layout" in err
    assert err.count("\n") == 1


def test_one_run_among_those_looked_for_is_enough(run: Run, world: Path) -> None:
    days = [f"2024-05-{day:02}" for day in range(1, 31)]
    insert(world, *(("ads", "001", "q", day, "success", "r1") for day in days))
    code, out, err = check(run, world)
    assert (code, out.partition(" in ")[0]) == (0, "OK: 31 partitions")
    assert "none of 20 runs that were looked for is where" in err
    assert "logical_date=2024-05-01/run_id=r1" in err
    make_run(world, date="2024-05-19")
    assert check(run, world)[2] == ""


def test_check_warns_if_the_filters_leave_nothing(run: Run, world: Path) -> None:
    code, out, err = check(run, world, "--customer", "1")
    assert (code, out.partition(" in ")[0]) == (0, "OK: 0 partitions")
    assert "the filters leave none of 2 ready rows" in err
    connection = sqlite3.connect(world / "state.db")
    connection.execute("DELETE FROM partition_state")
    connection.commit()
    connection.close()
    code, out, err = check(run, world)
    assert (code, out.partition(" in ")[0], err.count("\n")) == (0, "OK: 0 partitions", 1)
    assert "no row of partition_state is to be seen: it is empty, or row level security hides" in err


@pytest.mark.parametrize(
    ("statement", "arguments", "said"),
    [
        (
            "UPDATE partition_state SET status = upper(status)",
            (),
            "0 of 3 rows are ready: column status (TEXT) holds 'SUCCESS' (2), 'FAILED' (1), and --ready-status is "
            "'success'; name the word of ready rows with --ready-status",
        ),
        (
            "CREATE VIEW seen AS SELECT *, status = 'success' AS ready, x'00' AS bytes FROM partition_state",
            ("--state-table", "seen", "--column-status", "ready", "--customer", "001"),
            "0 of 3 rows are ready: column ready (of no declared type) holds 1 (2), 0 (1), and",
        ),
        (
            "CREATE VIEW seen AS SELECT *, x'66' AS said FROM partition_state",
            ("--state-table", "seen", "--column-status", "said"),
            "holds blob 'f' (3), and",
        ),
        (
            "UPDATE partition_state SET status = replace(hex(zeroblob(100)), '0', 'w' || char(10)) || rowid",
            (),
            "holds 'w\\nw\\nw\\n",
        ),
        (
            "UPDATE partition_state SET current_run_id = NULL",
            (),
            "0 of 2 ready rows are shown, all are withheld: no_run_id 2; the first is ads/001/q/2024-06-01: ",
        ),
    ],
)
def test_check_fails_if_the_table_has_rows_and_none_would_be_shown(
    run: Run, world: Path, statement: str, arguments: tuple[str, ...], said: str
) -> None:
    """V1: "OK: 0 partitions" would pass for a pipeline that has not begun."""
    connection = sqlite3.connect(world / "state.db")
    connection.execute(statement)
    connection.commit()
    connection.close()
    code, out, err = check(run, world, *arguments)
    assert (code, out, err.count("\n")) == (13, "", 1)
    assert said in err


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


def test_what_is_logged_meanwhile_is_not_part_of_the_answer(
    run: Run, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(world)
    monkeypatch.setattr("readyfs.state.sqlite.store.SqliteStore.__init__.__defaults__", (0, 0.0))
    code, out, err = check(run, world)
    assert code == 0
    assert out.startswith("OK: ")
    assert "rollback-journal mode" in err
