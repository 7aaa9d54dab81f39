"""How large a page may become, and that it says what was left out for that (V26)."""

from __future__ import annotations

import datetime
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.coverage.states import DATES, KINDS, make_state
from readyfs.cli.main import main
from readyfs.page import block, render
from readyfs.page.texts import CUT
from tests.page.browser import Connection
from tests.page.states import write_state
from tests.page.told import iso, read_page

_SERIES = 6


def markup_size(directory: Path) -> int:
    """Return how large a page without any data is."""
    state, page = write_state(directory / "nothing.db", ()), directory / "nothing.html"
    assert main(["coverage", "--state", str(state), "--html", str(page)]) == 0
    return page.stat().st_size


def test_runs_of_the_oldest_dates_are_left_out_of_a_page_that_would_be_too_large(
    browser: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state, page = tmp_path / "state.db", tmp_path / "page.html"
    make_state(state, "uuid", _SERIES * DATES)
    with closing(sqlite3.connect(state)) as connection:
        runs = {
            row[:2]: row[2]
            for row in connection.execute(
                "SELECT query_name, logical_date, current_run_id FROM partition_state WHERE status = 'success'"
            )
        }
    assert main(["coverage", "--state", str(state), "--html", str(page)]) == 0
    head, series = read_page(browser, page)
    assert head["head"]["leftOut"] == []
    found = {
        (one["series"]["query"], iso(told["day"])): told["run"]
        for one in series
        for told in one["details"]
        if told["cell"]["status"] == "ready"
    }
    assert found == runs

    bound = markup_size(tmp_path) + 110_000
    monkeypatch.setattr(render, "_LARGEST", bound)
    monkeypatch.setattr(render, "_BYTES_A_CELL", 0)
    assert main(["coverage", "--state", str(state), "--html", str(page)]) == 0
    assert page.stat().st_size <= bound
    head, series = read_page(browser, page)
    [words] = head["head"]["leftOut"]
    first = datetime.date.fromisoformat(words.removeprefix("runs of ready dates before ").removesuffix(" are left out"))
    dates = {date for _, date in runs}
    assert min(dates) < first.isoformat() < max(dates)
    for one in series:
        for told in one["details"]:
            if told["cell"]["status"] != "ready":
                continue
            date = iso(told["day"])
            assert told["run"] == (runs[one["series"]["query"], date] if date >= first.isoformat() else None)
            assert ("is ready: run (left out of this page) since " in told["sentence"]) == (date < first.isoformat())
            assert told["updated"] is not None


def test_messages_are_cut_with_a_sign_on_a_page_that_would_be_too_large(
    browser: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [f"{number:04} {'x' * 600}{number**7:x}{'y' * number}" for number in range(900)]
    today = datetime.datetime.now(datetime.UTC).date()
    dates = [(today - datetime.timedelta(900 - number)).isoformat() for number in range(900)]
    state, page = tmp_path / "state.db", tmp_path / "page.html"
    write_state(
        state,
        (
            ("ads", "c1", "q1", date, "failed", None, "v3", 1, None, message, 1)
            for date, message in zip(dates, messages, strict=True)
        ),
    )
    assert main(["coverage", "--state", str(state), "--html", str(page)]) == 0
    head, [one] = read_page(browser, page)
    told = {iso(date["day"]): date["sentence"] for date in one["details"]}
    for date, message in zip(dates, messages, strict=True):
        shown = message if len(message) <= 1000 else message[: 1000 - len(CUT)] + CUT
        assert f"c1/q1/{date} has failed after 1 attempt: {shown}; its row says" in told[date]
    assert head["head"]["leftOut"] == []

    monkeypatch.setattr(render, "_LARGEST", markup_size(tmp_path) + 60_000)
    monkeypatch.setattr(render, "_BYTES_A_CELL", 0)
    assert main(["coverage", "--state", str(state), "--html", str(page)]) == 0
    head, [one] = read_page(browser, page)
    assert head["head"]["leftOut"] == ["messages are cut to 200 characters"]
    told = {iso(date["day"]): date["sentence"] for date in one["details"]}
    assert f": 0000 {'x' * (195 - len(CUT))}{CUT}; its row says" in told[dates[0]]


def test_a_page_of_too_many_dates_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state, page = tmp_path / "state.db", tmp_path / "page.html"
    dates = ("2020-01-01", "2023-01-01")
    write_state(state, (("ads", "c1", "q1", date, "success", "r1", "v3", 1, None, None, 1) for date in dates))
    page.write_text("the page of yesterday")
    monkeypatch.setattr(block, "MOST_CELLS", 1096)
    assert main(["coverage", "--state", str(state), "--until", dates[1], "--html", str(page)]) == 2
    assert capsys.readouterr().err == (
        "readyfs: a page holds at most 1,096 dates; the 1,097 from ads/c1/q1/2020-01-01 on are too many for this one; "
        "narrow it with --since, --until, --customer, --query or --source\n"
    )
    assert page.read_text() == "the page of yesterday"
    monkeypatch.setattr(block, "MOST_CELLS", 1097)
    assert main(["coverage", "--state", str(state), "--until", dates[1], "--html", str(page)]) == 0


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_million_dates_take_at_most_ten_megabytes(tmp_path: Path, kind: str) -> None:
    state, page = tmp_path / "state.db", tmp_path / "page.html"
    make_state(state, kind, 1_000_000)
    assert main(["coverage", "--state", str(state), "--html", str(page)]) == 0
    assert page.stat().st_size <= 10_000_000
