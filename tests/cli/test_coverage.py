"""`readyfs coverage` on real states of each kind: it counts as `gaps` does, and shows the worst (V26)."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections import Counter
from pathlib import Path

import pytest

from readyfs.errors import ExitCode
from tests.cli.conftest import SOURCE, Run
from tests.cli.states import STORES, Row, State, days_ago, make_state

Objects = list[dict[str, object]]

READY = [Row(number) for number in range(20, -2, -1)]
LATE = {"warn": "warn_dates", "error": "error_dates", "known": "known_dates", "guessed": "guessed_dates"}


@pytest.fixture(params=STORES)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> State:
    return make_state(request.param, tmp_path, request)


@pytest.fixture
def sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> State:
    return make_state("sqlite", tmp_path, request)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def without(*days: int, customer: str = "c1") -> list[Row]:
    return [Row(row.days_ago, customer=customer) for row in READY if row.days_ago not in days]


def read(output: str) -> Objects:
    return [json.loads(line) for line in output.splitlines()]


def count(one: dict[str, object]) -> Counter[object]:
    """Return how many dates the ranges of a series have of each level; of those that are ready, by expected or not."""
    found: Counter[object] = Counter()
    ranges = one["ranges"]
    assert isinstance(ranges, list)
    for span in ranges:
        found[span["level"] or ("ready", span["expected"])] += span["dates"]
    return found


def fill(state: State, path: Path) -> tuple[str, ...]:
    """Write dates of each kind, and return the options with which there are some of each level."""
    state.write(without(14, 13, 10, 9, 8, 7, 5, 2, 1, 0, -1))
    state.write([Row(10, "failed", None), Row(9, "pending", None), Row(8, "success", None), Row(0, "pending", None)])
    state.write([Row(7, "pending", "r1"), Row(2, "failed", None), *without(customer="c2"), Row(3, customer="c4")])
    (path / "expect.csv").write_text(
        f"source,customer_id,query_name,first_date,cadence\nads,c3,q1,{days_ago(4)},\nads,c2,q1,{days_ago(20)},weekdays\n"
    )
    (path / "known.csv").write_text(
        "source,customer_id,query_name,first_date,last_date,reason\n"
        f"ads,*,q1,{days_ago(5)},{days_ago(5)},holiday\nads,*,q1,{days_ago(9)},{days_ago(9)},\n"
    )
    files = ("--expect", str(path / "expect.csv"), "--known", str(path / "known.csv"))
    return ("--state", state.url, "--warn", "36h", "--crit", "96h", *files)


def test_a_picture_counts_as_gaps_does(state: State, run: Run, tmp_path: Path) -> None:
    filled = fill(state, tmp_path)
    for more in ((), ("--cadence", "auto"), ("--cadence", "weekdays"), ("--customer", "c1")):
        options = (*filled, *more)
        _, gaps, _ = run("gaps", *options, "--json")
        code, output, errors = run("coverage", *options, "--json")
        assert (code, errors) == (ExitCode.OK, "")
        found, told = read(output), read(gaps)
        assert [one["unique_id"] for one in found] == [one["unique_id"] for one in told]
        for one, other in zip(found, told, strict=True):
            for moment in ("snapshotted_at", "max_loaded_at_time_ago_in_s"):
                one.pop(moment), other.pop(moment)
            counts = count(one)
            assert {name: one[name] for name in other} == other
            assert {field: counts[level] for level, field in LATE.items()} == {
                field: other[field] for field in LATE.values()
            }
            assert (counts["ready", True], counts["waiting"]) == (other["ready_dates"], other["waiting_dates"])
        # The line that sums up is the very one of gaps.
        code, picture, errors = run("coverage", *options)
        assert (code, errors) == (ExitCode.OK, "")
        assert picture.splitlines()[-1] == run("gaps", *options)[1].splitlines()[-1]


def test_each_date_is_a_letter_in_its_place(sqlite: State, run: Run, tmp_path: Path) -> None:
    options = fill(sqlite, tmp_path)
    _, output, _ = run("coverage", *options, "--until", days_ago(3))
    lines = output.splitlines()
    head = lines[1]
    assert head.split()[:3] == ["LEVEL", "CUSTOMER", "QUERY"]
    begin = lines[2].index("....")
    pictures = {line[:begin].split()[-2]: line[begin:] for line in lines[2:6]}
    assert pictures == {
        "c1": "......MM..FpWR.m..",
        "c2": "." * 18,
        "c3": " " * 16 + "MM",
        "c4": " " * 17 + ".",
    }
    assert [line[:5].strip() for line in lines[2:6]] == ["crit", "", "warn", ""]
    legend = " ".join(lines[6:-2])
    assert "p pending, known" in legend
    assert "R reprocessing, late (warn)" in legend
    assert ". ready" in legend
    assert "guess" not in legend


@pytest.mark.parametrize("by", ["day", "week", "month", "quarter", "year"])
def test_every_late_date_is_seen_by_every_unit(
    sqlite: State, run: Run, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite.write([Row(number) for number in range(900, 2, -1) if number != 450])
    for width in ("20", "60", "400"):
        monkeypatch.setenv("COLUMNS", width)
        _, output, _ = run("coverage", "--state", sqlite.url, "--by", by, "--until", days_ago(3))
        row = output.splitlines()[2]
        assert re.sub(r"^.*q1 *", "", row).strip(".") == "M", (width, by, row)


def test_ranges_are_the_dates_of_the_table(sqlite: State, run: Run) -> None:
    sqlite.write([*(row for row in without(12, 11, 9) if row.days_ago > 4), Row(9, "failed", None)])
    code, output, _ = run("coverage", "--state", sqlite.url, "--until", days_ago(5), "--cadence", "daily", "--json")
    [one] = read(output)
    assert (code, one["first_date"], one["last_date"]) == (0, days_ago(20), days_ago(5))
    ready = {"status": "ready", "level": None, "expected": True}
    assert one["ranges"] == [
        {**ready, "first_date": days_ago(20), "last_date": days_ago(13), "dates": 8},
        {
            "status": "missing", "level": "error", "expected": None,
            "first_date": days_ago(12), "last_date": days_ago(11), "dates": 2,
        },
        {**ready, "first_date": days_ago(10), "last_date": days_ago(10), "dates": 1},
        {
            "status": "failed", "level": "error", "expected": None,
            "first_date": days_ago(9), "last_date": days_ago(9), "dates": 1,
        },
        {**ready, "first_date": days_ago(8), "last_date": days_ago(5), "dates": 4},
    ]  # fmt: skip


def test_dates_of_which_nothing_is_expected_are_in_no_range(sqlite: State, run: Run) -> None:
    sqlite.execute(
        "INSERT INTO partition_state(source, customer_id, query_name, logical_date, status, current_run_id)"
        " VALUES ('ads', 'c1', 'q1', '2024-06-03', 'success', 'r'), ('ads', 'c1', 'q1', '2024-06-17', 'success', 'r'),"
        " ('ads', 'c1', 'q1', '2024-06-18', 'success', 'r'), ('ads', 'c2', 'q1', 'never', 'failed', NULL)",
        (),
    )
    options = ("--state", sqlite.url, "--cadence", "weekly:MON", "--until", "2024-06-20")
    one, two = read(run("coverage", *options, "--json")[1])
    ranges = one["ranges"]
    assert isinstance(ranges, list)
    assert [(span["first_date"], span["dates"], span["status"], span["expected"]) for span in ranges] == [
        ("2024-06-03", 1, "ready", True),
        ("2024-06-10", 1, "missing", None),
        ("2024-06-17", 1, "ready", True),
        ("2024-06-18", 1, "ready", False),
    ]
    # Its only row has no date.
    assert (two["first_date"], two["last_date"], two["ranges"]) == (None, None, [])


def test_problems_are_the_series_of_which_a_date_is_late(sqlite: State, run: Run) -> None:
    sqlite.write([*without(), *without(9, customer="c2"), *without(9, 8, customer="c3"), Row(1, "failed", None, "c4")])
    options = ("--state", sqlite.url, "--crit", "36h")

    def customers(*more: str) -> list[str]:
        lines = run("coverage", *options, *more)[1].splitlines()
        assert lines[-1].startswith("3 dates of 2 series late")  # of all, whatever is drawn
        return re.findall(r"\b(c\d)\b", "\n".join(lines))

    assert customers() == ["c1", "c2", "c3", "c4"]
    assert customers("--problems") == ["c2", "c3"]
    assert customers("--problems", "--sort", "worst") == ["c3", "c2"]
    assert customers("--sort", "worst") == ["c3", "c2", "c4", "c1"]  # of c4 a date is not late yet


def test_without_problems_only_the_sum_is_said(sqlite: State, run: Run) -> None:
    sqlite.write(READY)
    code, output, _ = run("coverage", "--state", sqlite.url, "--problems")
    assert (code, output) == (0, "nothing is late; 1 of 1 series complete; 100% of the expected dates ready\n")


def test_where_nothing_is_found_the_filter_is_named(sqlite: State, run: Run) -> None:
    sqlite.write(READY)
    said = "the state table has nothing of customer nobody, and nothing is expected\n"
    assert run("coverage", "--state", sqlite.url, "--customer", "nobody") == (0, said, "")
    assert run("coverage", "--state", sqlite.url, "--customer", "nobody", "--json") == (0, "", "")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--by", "day", "--json"), "--by would do nothing: JSON has each date of each series"),
        (("--problems", "--sort", "worst", "--format", "json"), "--problems, --sort would do nothing"),
        (("--by", "decade"), "'decade' is not one of 'day', 'week', 'month', 'quarter', 'year'"),
        (("--expect", "/nonexistent"), "--expect"),
        (("--fail-on", "crit"), "No such option '--fail-on'"),
        (("/mnt/ready",), "a mount does not answer this"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_that_says_why(
    sqlite: State, run: Run, words: tuple[str, ...], named: str
) -> None:
    code, output, errors = run("coverage", "--state", sqlite.url, *words)
    assert (code, output, errors.count("\n"), named in errors) == (ExitCode.USAGE, "", 1, True), errors


def test_dates_at_both_ends_of_the_calendar_are_drawn(sqlite: State, run: Run) -> None:
    sqlite.execute(
        "INSERT INTO partition_state(source, customer_id, query_name, logical_date, status, current_run_id) VALUES"
        " ('ads', 'c1', 'q1', '0001-01-01', 'success', 'r'), ('ads', 'c1', 'q1', '9999-12-31', 'failed', NULL)",
        (),
    )
    _, output, _ = run("coverage", "--state", sqlite.url, "--since", "0001-01-01", "--cadence", "L 12 *")
    upper, lower, row, *_ = output.splitlines()
    assert (lower[24], lower[-2:]) == ("<", "/9")
    assert (row[24], row[-2:]) == ("M", " f")
    assert upper.endswith("2020")


def test_a_terminal_gets_its_own_width_and_colours(sqlite: State) -> None:
    sqlite.write(without(9))
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 47, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    done = subprocess.run(
        [sys.executable, "-m", "readyfs", "coverage", "--state", sqlite.url, "--until", days_ago(2)],
        env={**environment, "PYTHONPATH": str(SOURCE)},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        timeout=60,
        check=True,
    )
    os.close(terminal)
    output = b""
    try:
        while some := os.read(control, 65536):
            output += some
    except OSError:
        pass  # the terminal is closed, and all of it was read
    os.close(control)
    assert done.returncode == 0
    lines = output.decode().replace("\r\n", "\n").splitlines()
    assert "\x1b[97;41mM\x1b[0m" in lines[2]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", lines[2])
    assert plain == f"c1        q1     {'.' * 11}M{'.' * 7}"
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines[:-1]) <= 47
