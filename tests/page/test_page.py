"""The page of `readyfs coverage --html`, opened in a real browser."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.page.kinds import AGREEMENT, HOSTILE, fill
from tests.page.program import ask
from tests.page.states import write_state
from tests.page.tab import NARROW, WIDE, Tab, open_coverage


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a state that has each kind of date, its known gaps, and the page of it."""
    directory = tmp_path_factory.mktemp("world")
    fill(directory)
    ask("coverage", *options(directory), "--html", directory / "coverage.html")
    return directory


def options(world: Path) -> tuple[str | Path, ...]:
    return ("--state", world / "state.db", "--known", world / "known.csv", *AGREEMENT)


def open_page(tab: Tab, world: Path, fragment: str = "") -> None:
    open_coverage(tab, world / "coverage.html", fragment)


def test_the_figures_are_those_of_gaps(tab: Tab, world: Path) -> None:
    said = ask("gaps", *options(world), codes=(12,)).splitlines()[-1]
    series = [json.loads(line) for line in ask("gaps", *options(world), "--json", codes=(12,)).splitlines()]
    open_page(tab, world)
    assert tab.text_of(".sum") == f"All, over all dates: {said}."
    rows = tab.ask(
        "[...document.querySelectorAll('#summary tbody tr')].map(row => [...row.cells].map(c => c.textContent))"
    )
    late = [one for one in series if one["status"] in ("warn", "error")]
    assert len(rows) == len(late) > len(HOSTILE)
    assert sorted(row[1:] for row in rows) == sorted(
        [
            one["first_late_date"],
            str(one["error_dates"]),
            str(one["warn_dates"]),
            share(one),
            one["newest_date"] or "-",
        ]
        for one in late
    )
    # The worst comes first.
    assert [rows[0][0], rows[0][2]] == ["ads / c2 / q1", max((row[2] for row in rows), key=int)]


def share(one: dict[str, Any]) -> str:
    """Return the share of a series that is complete as the terminal shows it."""
    return f"{int(one['complete'] * 1000) / 10:.1f}%" if one["complete"] != 1 else "100%"


def test_a_date_has_ended_when_it_ended_where_its_days_end(tab: Tab, world: Path, tmp_path: Path) -> None:
    page = tmp_path / "coverage.html"
    # Ten in the evening of the 13th there.
    now = datetime.datetime(2024, 6, 14, 5, tzinfo=datetime.UTC)
    ask("coverage", *options(world), "--day-tz", "America/Los_Angeles", "--html", page, now=now)
    told = {}
    for day in (12, 13):
        open_coverage(tab, page, f"#days=2024-06-08..2024-06-13&cursor=ads/c1/q1/2024-06-{day}")
        told[day] = tab.text_of("#live")
    assert "ended less than a day before this page" in told[12]
    assert "failed, not judged" in told[13]
    assert "ended" not in told[13]


def test_keys_move_and_what_they_reach_is_read_aloud(tab: Tab, world: Path) -> None:
    reason = ask("why", "c1/q1/2024-06-04", "--source", "ads", "--state", world / "state.db", codes=(12,))
    sentence, remedy = reason.splitlines()[:2]
    open_page(tab, world, "#customer=c1")
    tab.press("g", "Control+Home")
    assert tab.ask("document.activeElement.getAttribute('role')") == "grid"
    assert tab.text_of("#live").startswith("ads / c1 / q1, 2024-06-01: ready")
    tab.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert tab.text_of("#live").startswith("ads / c1 / q1, 2024-06-04: failed, late (crit)")
    assert sentence.removeprefix("c1/q1/2024-06-04 ") in tab.text_of("#live")
    tab.press("Enter")
    told = tab.text_of("#tooltip")
    assert sentence in told
    assert f"R{remedy[1:]}" in told
    tab.press("Escape")
    assert tab.ask("document.querySelector('#tooltip').hidden")
    tab.press("n")
    assert "2024-06-07: withheld" in tab.text_of("#live")
    tab.press("p", "p")
    assert "2024-06-03: missing, known" in tab.text_of("#live")
    tab.press("ArrowDown", "End")
    assert tab.text_of("#live").startswith("ads / c1 / q2, 2024-06-14: ")


def test_names_stay_text_wherever_they_are_shown(tab: Tab, world: Path) -> None:
    kinds = """
        [...new Set([...document.querySelectorAll("*")].flatMap(one => [one.localName, ...one.getAttributeNames()]))]
    """
    open_page(tab, world, "#customer=c1")
    tell_all(tab)
    harmless = set(tab.ask(kinds))
    open_page(tab, world)
    for name in HOSTILE:
        tab.press("/")
        tab.ask("document.activeElement.select()")
        tab.type(as_pattern(name))
        shown = shown_as(name)
        tab.wait_for("document.querySelector('#grid [role=rowheader]').textContent.includes(shown)", shown=shown)
        tell_all(tab)
        assert shown in tab.text_of("#live")
        assert set(tab.ask(kinds)) <= harmless
    assert tab.ask("window.harm") is None
    assert tab.ask("document.scripts.length") == 2


def tell_all(tab: Tab) -> None:
    """Have everything told of a gap: read aloud, in the tooltip, as a command, in a list of names."""
    tab.focus("#grid")
    tab.press("Control+Home", "n", "i", "c", "Escape", "?", "Escape")
    tab.focus("#filter-customer")
    tab.focus("#grid")


def as_pattern(name: str) -> str:
    """Return what is typed into a filter to find one name; a field takes no line breaks."""
    return "".join("?" if one in "*?[\n\t" else one for one in name)


def shown_as(name: str) -> str:
    """Return a name as it is shown, which turns nothing around and breaks no line."""
    return name.replace("\u202e", "\\u202e").replace("\n", "\\n").replace("\t", "\\t")


def test_the_address_leads_back_to_the_same_place(tab: Tab, world: Path) -> None:
    open_page(tab, world)
    tab.press("/")
    tab.type("c?")
    tab.wait_for("document.querySelector('#extent').textContent.includes('3 of ')")
    tab.focus("#grid")
    tab.press("Control+Home", "n", "+", "+")
    read = tab.text_of("#live")
    shown = tab.text_of("#extent")
    days = shown.split(" · ")[0].replace(" to ", "..")
    # The address follows when nothing moves any more; one of before may still stand there.
    address = tab.wait_for("location.hash.includes(days) && location.hash", days=f"days={days}")
    open_page(tab, world, address)
    assert tab.text_of("#extent") == shown
    assert tab.text_of("#live") == read
    assert tab.ask("location.hash") == address
    open_page(tab, world, "#cursor=<img src=x>&nothing=1")
    assert "nothing=1" in tab.text_of("#notice")
    assert tab.ask("document.querySelectorAll('img').length") == 0


def test_a_telephone_needs_no_scrolling_sideways(tab: Tab, world: Path) -> None:
    tab.resize(NARROW)
    open_page(tab, world)
    assert tab.ask("document.documentElement.scrollWidth") <= NARROW[0]


def test_a_series_without_a_row_stands_where_its_name_belongs(tab: Tab, tmp_path: Path) -> None:
    rows = [("ads", customer, "q1", "2024-06-12", "success", "r1") for customer in ("c1", "c3")]
    write_state(tmp_path / "state.db", [(*row, *[None] * 5) for row in rows])
    (tmp_path / "expect.csv").write_text(
        "source,customer_id,query_name,first_date\nads,c4,q1,2024-06-12\nads,c2,q1,2024-06-12\nads,c1,q0,2024-06-12\n"
    )
    options = ("--state", tmp_path / "state.db", "--expect", tmp_path / "expect.csv")
    ask("coverage", *options, "--html", tmp_path / "coverage.html")
    drawn = [line.split()[-3:-1] for line in ask("coverage", *options).splitlines()[2:7]]
    open_page(tab, tmp_path)
    tab.press("g", "Control+Home")
    read = [tab.text_of("#live")]
    while len(read) < 5:
        tab.press("ArrowDown")
        tab.wait_for("document.querySelector('#live').textContent !== before", before=read[-1])
        read.append(tab.text_of("#live"))
    shown = [text.split(",")[0].split(" / ")[-2:] for text in read]
    assert shown == drawn == [["c1", "q0"], ["c1", "q1"], ["c2", "q1"], ["c3", "q1"], ["c4", "q1"]]


def test_of_problems_only_the_gaps_that_are_known_are_passed_over(tab: Tab, world: Path) -> None:
    open_page(tab, world, "#customer=c1")
    tab.press("g", "Control+Home", "n")
    assert "2024-06-03: missing, known" in tab.text_of("#live")
    tab.press("o", "Control+Home", "n")
    assert "2024-06-04: failed, late (crit)" in tab.text_of("#live")


def test_a_page_says_how_old_it_is_once_that_is_a_day(tab: Tab, tmp_path: Path) -> None:
    write_state(tmp_path / "state.db", [("ads", "c1", "q1", "2024-06-12", "success", "r1", *[None] * 5)])
    day = datetime.timedelta(1)
    ages = []
    for age in (3.5 * day, day / 2):
        made = datetime.datetime.now(datetime.UTC) - age
        ask("coverage", "--state", tmp_path / "state.db", "--html", tmp_path / "coverage.html", now=made)
        open_page(tab, tmp_path)
        ages.append(re.findall(r"[^,·]* ago", tab.text_of("#made")))
    assert ages == [[" 3 days ago"], []]


@pytest.mark.parametrize(("size", "scale", "height"), [(NARROW, 1.0, "34px"), (WIDE, 1.1, "17.2727px")])
def test_rows_are_as_high_as_the_window_wants_them_until_somebody_changes_that(
    tab: Tab, world: Path, size: tuple[int, int], scale: float, height: str
) -> None:
    """An address that said so would make them too high, or too low, on another window."""
    tab.resize(size, scale=scale)
    open_page(tab, world)
    tab.press("g", "n")
    address = tab.wait_for("location.hash.includes('cursor=') && location.hash")
    assert "height=" not in address
    open_page(tab, world, address)
    assert tab.ask("document.querySelector('#cursor').style.height") == height


def test_where_there_is_no_series_nothing_is_called_well(tab: Tab, world: Path, tmp_path: Path) -> None:
    said = ask("coverage", *options(world), "--customer", "nobody", "--html", tmp_path / "coverage.html").strip()
    assert said == "the state table has nothing of customer nobody, and nothing is expected"
    open_page(tab, tmp_path)
    assert tab.text_of(".sum") == tab.text_of("#empty") == f"T{said[1:]}."
    open_page(tab, world, "#customer=nobody")
    assert tab.text_of(".sum") == tab.text_of("#empty") == "No series passes the filters."


def test_a_page_says_which_dates_there_should_be(tab: Tab, world: Path, tmp_path: Path) -> None:
    ask("coverage", *options(world), "--cadence", "auto", "--html", tmp_path / "coverage.html")
    for directory, words in ((world, "daily dates"), (tmp_path, "cadence guessed for each series")):
        open_page(tab, directory)
        assert tab.text_of("#made").split(" · ")[1] == words
