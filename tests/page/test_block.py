"""What the page's own reader of its data says of each date is what `gaps` and `why` say of it (V26)."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from readyfs.cli.main import main
from readyfs.consumer.address_key import render_key
from readyfs.consumer.coverage import CELLS
from readyfs.text import escape_text
from tests.page.browser import Connection
from tests.page.program import ask
from tests.page.states import AGREEMENT, HOSTILE, KNOWN, every_kind, hostile, write_state
from tests.page.told import Told, iso, read_page


def make_page(browser: Connection, directory: Path, *arguments: str) -> Told:
    page = directory / "page.html"
    ask("coverage", "--state", str(directory / "state.db"), "--html", str(page), *arguments)
    return read_page(browser, page)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("every")
    write_state(directory / "state.db", every_kind())
    (directory / "known.csv").write_text(KNOWN)
    return directory


@pytest.fixture(scope="module")
def told(browser: Connection, every: Path) -> Told:
    return make_page(browser, every, *AGREEMENT, "--known", str(every / "known.csv"))


def raw(name: str) -> bytes:
    """Return a name as the state holds it; what is no UTF-8 is there as lone surrogates."""
    return name.encode("utf-8", "surrogateescape")


def why(capsys: pytest.CaptureFixture[str], state: Path, series: dict[str, Any], day: int) -> dict[str, Any]:
    date = datetime.date.fromisoformat(iso(day)).toordinal()
    key = os.fsdecode(render_key(raw(series["customer"]), raw(series["query"]), date))
    main(["why", "--state", str(state), "--source", os.fsdecode(raw(series["source"])), "--json", "--", key])
    answer = json.loads(capsys.readouterr().out)
    assert isinstance(answer, dict)
    return answer


def dates_told(series: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each date that differs in kind or text from the one before it, with its series."""
    for one in series:
        before = None
        for told in one["details"]:
            kind = told["cell"], told["sentence"].replace(iso(told["day"]), "")
            if kind != before:
                yield one["series"], told
            before = kind


def check_words(capsys: pytest.CaptureFixture[str], state: Path, series: list[dict[str, Any]]) -> set[Any]:
    """Hold each date to what `why` says of it; return the kinds of dates that there were."""
    kinds = set()
    for one, told in dates_told(series):
        answer = why(capsys, state, one, told["day"])
        assert told["sentence"] == answer["sentence"]
        assert told["remedy"] == answer["remedy"]
        assert told["attempts"] == answer["attempt_count"] or answer["status"] in ("ready", "withheld", None)
        kinds.add((told["cell"]["status"], told["cell"]["level"]))
    return kinds


def test_each_kind_of_date_is_told_in_the_words_of_why(
    browser: Connection, every: Path, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    head, series = told
    kinds = check_words(capsys, every / "state.db", series)
    _, guessed = make_page(browser, every, "--cadence", "auto", *AGREEMENT, "--reprocessing-crit", "36h")
    kinds |= check_words(capsys, every / "state.db", guessed)
    all_kinds = {(cell.status, cell.level) for cell in CELLS}
    # A date that nobody expects is not missing, and what has a row is no guess.
    impossible = {("missing", "outside")} | {(status, "guessed") for status, _ in all_kinds if status != "missing"}
    assert kinds == all_kinds - impossible
    described = [(cell["status"], cell["level"], cell["expected"]) for cell in head["cells"]]
    assert described == [tuple(cell) for cell in CELLS]


def test_hostile_texts_are_told_in_the_words_of_why(
    browser: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = write_state(tmp_path / "state.db", hostile())
    _, series = make_page(browser, tmp_path)
    assert {raw(one["series"]["customer"]) for one in series} == {*map(str.encode, HOSTILE), b"latin \xe9\xff"}
    assert {one["series"]["shown"]["query"] for one in series} == {*map(escape_text, HOSTILE), r"latin \xe9\xff"}
    check_words(capsys, state, series)


def test_the_page_counts_as_gaps_does(every: Path, told: Told) -> None:
    known = str(every / "known.csv")
    head, series = told
    printed = ask("gaps", "--state", str(every / "state.db"), *AGREEMENT, "--known", known, "--json", codes=(12,))
    lines = [json.loads(line) for line in printed.splitlines()]
    assert len(lines) == len(series) == head["count"] == head["head"]["totals"]["series"]
    for line, page in zip(lines, series, strict=True):
        one = page["series"]
        assert [one["source"], one["customer"], one["query"]] == [
            line["source"],
            line["customer_id"],
            line["query_name"],
        ]
        levels = [CELLS[code].level for code in one["codes"]]
        for name, level in (("waiting", "waiting"), ("warn", "warn"), ("error", "error"), ("known", "known")):
            assert one[name] == line[f"{name}_dates"] == levels.count(level)
        assert one["ready"] == line["ready_dates"] == sum(CELLS[code].is_expected for code in one["codes"])
        assert one["expected"] == line["expected_dates"]
        for name, field in (("newest", "newest_date"), ("firstLate", "first_late_date")):
            assert (None if one[name] is None else iso(one[name])) == line[field]
        assert one["cadence"] == line["cadence"]
        assert one["guessedCadence"] is line["cadence_guessed"]
        assert (one["newestUpdate"] is None) == (line["max_loaded_at"] is None)
    for name in ("expected_dates", "ready_dates", "waiting_dates", "warn_dates", "error_dates", "known_dates"):
        assert head["head"]["totals"][name] == sum(line[name] for line in lines)


def test_what_is_known_is_told_with_its_reason(told: Told) -> None:
    _, series = told
    dates = [date for one in series for date in one["details"]]
    reasons = {(iso(date["day"]), date["knownReason"]) for date in dates if date["cell"]["level"] == "known"}
    assert reasons == {("2024-06-06", "moved <b>house</b>"), ("2024-06-07", "")}
    assert {date["knownReason"] for date in dates if date["cell"]["level"] != "known"} == {None}


def test_a_row_is_told_with_its_run_records_and_time(told: Told) -> None:
    _, series = told
    rows = {
        (one["series"]["query"], iso(date["day"])): date
        for one in series
        if one["series"]["source"] == "ads"
        for date in one["details"]
    }
    ready = rows["failed", "2024-05-22"]
    assert (ready["run"], ready["records"]) == ("2024-05-22T06:00:00.002Z", 2000)
    assert ready["updated"] == 1_716_420_600_000
    assert rows["odd", "2024-06-10"]["records"] == "bigint 9007199254740993"
    assert rows["odd", "2024-06-10"]["updated"] is None
    assert rows["odd", "2024-06-14"]["run"] == "r" * 200
    assert rows["odd", "2024-06-08"]["updated"] == 946_598_400_000
    assert rows["reprocessing", "2024-06-11"]["run"] == "2024-06-01T04:00:00.250Z"
    assert rows["failed_silently", "2024-06-11"]["attempts"] is None
    assert rows["missing", "2024-06-11"]["run"] is None


def test_what_no_series_has_is_none_of_each(browser: Connection, tmp_path: Path) -> None:
    rows = [("ads", f"c{n}", "q1", "2024-06-11", "failed", None, "v3", 1, None, "no quota", 1) for n in (1, 2)]
    write_state(tmp_path / "state.db", rows)
    _, series = make_page(browser, tmp_path, *AGREEMENT)
    for one in series:
        assert (one["series"]["newest"], one["series"]["newestUpdate"]) == (None, None)
