"""`readyfs ls` on real state stores: what it prints, what it refuses, and what hostile rows cannot do to a terminal."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from readyfs.consumer.deadline import last_ended
from readyfs.partition import PartitionStatus, render_date
from tests.cli.conftest import Run
from tests.postgres.database import StateDatabase
from tests.state.postgres.test_asked import TAKEN, Functions
from tests.state.state_files import CONTRACT_COLUMNS

COLUMNS = ", ".join(column.split()[0] for column in CONTRACT_COLUMNS)
HOUR_AGO = "2024-06-02T05:00:00.123456+00:00"
ROWS = [
    ("ads", "001", "daily", "2024-06-01", "success", "r1", "v1", 12, HOUR_AGO, None, 1),
    ("ads", "001", "daily", "2024-06-02", "failed", "r2", None, None, HOUR_AGO, "quota exceeded", 3),
    ("ads", "001", "daily", "2024-06-04", "pending", None, None, None, HOUR_AGO, None, None),
    ("ads", "001", "daily", "2024-06-05", "pending", "r5", None, None, HOUR_AGO, None, 2),
    ("ads", "002", "daily", "2024-06-01", "success", "", None, None, HOUR_AGO, None, None),
    ("bing", "00*", "daily", "2024-06-01", "success", "r1", None, None, HOUR_AGO, None, None),
]


def fill_sqlite(path: Path, rows: Sequence[tuple[object, ...]]) -> str:
    with closing(sqlite3.connect(path, isolation_level=None)) as state:
        state.execute(f"CREATE TABLE partition_state({', '.join(CONTRACT_COLUMNS)})")
        state.executemany(f"INSERT INTO partition_state VALUES ({','.join('?' * 11)})", rows)
    return str(path)


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The same rows in each kind of store."""
    if request.param == "sqlite":
        yield fill_sqlite(tmp_path / "state.db", ROWS)
        return
    database: StateDatabase = request.getfixturevalue("postgres")
    with database.connect() as session:
        session.cursor().executemany(f"INSERT INTO partition_state({COLUMNS}) VALUES ({','.join(['%s'] * 11)})", ROWS)
    yield database.url()


@pytest.fixture
def ls(run: Run) -> Callable[..., list[dict[str, object]]]:
    def call(*words: str) -> list[dict[str, object]]:
        code, out, err = run("ls", *words, "--json")
        assert (code, err) == (0, "")
        return [json.loads(line) for line in out.splitlines()]

    return call


def keys(rows: list[dict[str, object]]) -> list[str]:
    names = ("source", "customer_id", "query_name", "logical_date")
    return ["/".join(str(row[name]) for name in names) + f" {row['status']}" for row in rows]


def test_all_rows_are_listed_with_what_is_the_matter(state: str, ls: Callable[..., list[dict[str, object]]]) -> None:
    rows = ls("--state", state)
    assert keys(rows) == [
        "ads/001/daily/2024-06-01 ready",
        "ads/001/daily/2024-06-02 failed",
        "ads/001/daily/2024-06-04 pending",
        "ads/001/daily/2024-06-05 reprocessing",
        "ads/002/daily/2024-06-01 withheld",
        "bing/00*/daily/2024-06-01 ready",
    ]
    ready, failed, *_, withheld, _ = rows
    age = ready.pop("age_seconds")
    assert isinstance(age, float)
    assert age > 86400
    assert ready == {
        "source": "ads",
        "customer_id": "001",
        "query_name": "daily",
        "logical_date": "2024-06-01",
        "status": "ready",
        "run_id": "r1",
        "record_count": 12,
        "schema_version": "v1",
        "updated_at": HOUR_AGO,
        "state_status": "success",
        "attempt_count": None,
        "error_message": None,
        "reason": None,
        "detail": None,
    }
    assert (failed["error_message"], failed["attempt_count"], failed["state_status"]) == ("quota exceeded", 3, "failed")
    assert (withheld["reason"], withheld["run_id"]) == ("no_run_id", None)


def test_missing_dates_go_from_the_first_row_to_the_newest_that_has_ended(
    state: str, ls: Callable[..., list[dict[str, object]]]
) -> None:
    import datetime
    import time

    before = render_date(last_ended(time.time_ns(), datetime.UTC)).decode()
    rows = ls("--state", state, "--status", "missing", "001")
    after = render_date(last_ended(time.time_ns(), datetime.UTC)).decode()
    assert [row["logical_date"] for row in rows][:2] == ["2024-06-03", "2024-06-06"]
    assert rows[-1]["logical_date"] in (before, after)
    assert {row["status"] for row in rows} == {"missing"}
    assert rows[0]["run_id"] is rows[0]["updated_at"] is rows[0]["age_seconds"] is None


def test_until_bounds_what_is_missing_and_since_begins_it(
    state: str, ls: Callable[..., list[dict[str, object]]]
) -> None:
    words = ("--state", state, "001/daily", "--since", "2024-05-31", "--until", "2024-06-04")
    assert keys(ls(*words, "--cadence", "daily")) == [
        "ads/001/daily/2024-05-31 missing",
        "ads/001/daily/2024-06-01 ready",
        "ads/001/daily/2024-06-02 failed",
        "ads/001/daily/2024-06-03 missing",
        "ads/001/daily/2024-06-04 pending",
    ]
    assert keys(ls(*words, "--cadence", "weekly:MON", "--status", "missing")) == ["ads/001/daily/2024-06-03 missing"]
    # A series whose rows all lie before is late as well.
    late = ("--state", state, "--customer", "002", "--since", "2024-06-02", "--until", "2024-06-02")
    assert keys(ls(*late, "--status", "missing")) == ["ads/002/daily/2024-06-02 missing"]


def test_filters_and_keys_narrow_the_list(state: str, ls: Callable[..., list[dict[str, object]]]) -> None:
    assert keys(ls("--state", state, "00*")) == ["bing/00*/daily/2024-06-01 ready"]
    assert keys(ls("--state", state, "001/daily/latest")) == ["ads/001/daily/2024-06-01 ready"]
    assert keys(ls("--state", state, "001/daily/2024-06-02")) == ["ads/001/daily/2024-06-02 failed"]
    assert keys(ls("--state", state, "--source", "bing", "--status", "ready,pending")) == [
        "bing/00*/daily/2024-06-01 ready"
    ]
    assert ls("--state", state, "001", "--customer", "002") == []


def test_broken_runs_are_found_by_looking(
    state: str, ls: Callable[..., list[dict[str, object]]], tmp_path: Path, run: Run
) -> None:
    raw = tmp_path / "raw"
    whole = raw / "ads/customer_id=001/query_name=daily/logical_date=2024-06-01/run_id=r1"
    whole.mkdir(parents=True)
    for name in ("payload.jsonl", "metadata.json"):
        (whole / name).write_text("")
    rows = ls("--state", state, "--raw", str(raw), "--check", "--status", "broken,ready")
    assert keys(rows) == ["ads/001/daily/2024-06-01 ready", "bing/00*/daily/2024-06-01 broken"]
    assert "No such file or directory" in str(rows[1]["detail"])
    code, _, err = run("ls", "--state", state, "--check")
    assert (code, "no raw root is named" in err) == (2, True)


def test_people_see_a_table_and_a_word_where_it_stops(state: str, run: Run) -> None:
    code, out, err = run("ls", "--state", state, "--limit", "2")
    assert code == 0
    head, first, second = out.splitlines()
    assert head.split() == ["STATUS", "SOURCE", "CUSTOMER", "QUERY", "DATE", "RUN", "RECORDS", "AGE", "DETAIL"]
    assert first.split()[:7] == ["ready", "ads", "001", "daily", "2024-06-01", "r1", "12"]
    assert second.endswith("  quota exceeded")
    assert "\x1b" not in out
    assert err == "readyfs: there is more than --limit 2 shows\n"
    assert run("ls", "--state", state, "--limit", "6")[2] == ""
    assert run("ls", "--state", state, "003") == (0, "no partitions\n", "")


def test_no_row_does_anything_to_a_terminal(tmp_path: Path, run: Run) -> None:
    bell = ("ad\x1b]0;x\x07s", "0\n1", b"\xff\x9b2J", "2024-06-01", "failed", "r\r", None, 1, HOUR_AGO, "\x1b[2J", 1)
    state = fill_sqlite(tmp_path / "state.db", [bell])
    _, out, _ = run("ls", "--state", state)
    assert all(line.isprintable() for line in out.splitlines())
    assert len(out.splitlines()) == 2
    [row] = [json.loads(line) for line in run("ls", "--state", state, "--json")[1].splitlines()]
    assert row["customer_id"] == "0\n1"
    assert row["query_name"] == "\\xff\\x9b2J"


def test_nothing_found_is_said_by_what_was_asked(state: str, run: Run) -> None:
    assert run("ls", "--state", state, "001/daily/2024-06-03") == (0, "no row is there; `readyfs why` tells more\n", "")
    code, out, _ = run("ls", "--state", state, "00?/*")
    assert (code, out) == (0, "no partitions: a path or key is no pattern; choose with --customer and --query\n")
    assert run("ls", "--state", state, "00*")[1].count("bing") == 1  # a customer may have any name
    assert run("ls", "--state", state, "001", "--customer", "002") == (0, "no partitions\n", "")
    assert run("ls", "--state", state, "003", "--json") == (0, "", "")


def test_dates_that_have_not_ended_are_not_missing(state: str, ls: Callable[..., list[dict[str, object]]]) -> None:
    words = ("--state", state, "001/daily", "--status", "missing", "--since", "2024-06-03")
    assert keys(ls(*words, "--until", "2200-12-31")) == keys(ls(*words))
    assert ls("--state", state, "--status", "missing", "--since", "9999-12-30") == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "no state store is named"),
        (("--status", "redy"), 2, "is no status; choose from ready, "),
        (("--status", "broken"), 2, "add --check"),
        (("--cadence", "fortnightly"), 2, "is not a cadence"),
        (("--day-tz", "Mars/Olympus"), 2, "there is no time zone"),
        (("--limit", "0"), 2, "--limit"),
        (("/nowhere/at/all", "--state", "x.db"), 2, "no readyfs mount is there"),
        (("001/daily/2024-6-1", "--state", "x.db"), 15, "did you mean 001/daily/2024-06-01?"),
        (("--state", "/nowhere.db"), 3, "/nowhere.db"),
        (("--socket", "/x"), 2, "--socket"),
    ],
)
def test_what_cannot_be_is_one_line_with_a_remedy(words: tuple[str, ...], code: int, said: str, run: Run) -> None:
    result, out, err = run("ls", *words)
    assert (result, out, err.count("\n")) == (code, "", 1)
    assert said in err


def test_every_status_can_be_asked_for(run: Run, tmp_path: Path) -> None:
    state = fill_sqlite(tmp_path / "state.db", [])
    (tmp_path / "raw").mkdir()
    words = ("--state", state, "--raw", str(tmp_path / "raw"), "--check", "--status", ",".join(PartitionStatus))
    assert run("ls", *words) == (0, "no partitions\n", "")


def test_answer_is_alone_whatever_a_server_does_not_tell(postgres: StateDatabase, run: Run) -> None:
    functions = Functions(postgres, "revoked")
    for fact in TAKEN:
        functions.take(fact)
    assert run("ls", "--state", postgres.url()) == (0, "no partitions\n", "")
