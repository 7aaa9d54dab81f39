"""The page by keys and by ear: the cursor, the gaps, the tooltip, the summary, the commands and the address."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.page.program import NOW, ask
from tests.page.states import write_state
from tests.page.tab import Tab

DAYS: Final = 40
LAST: Final = NOW.date() - datetime.timedelta(1)
HOSTILE: Final = "<img src=x onerror=alert(1)>"
WAYS: Final = ("--cadence", "daily", "--sla", "30h")


def day(ago: int) -> str:
    """Return a date; 0 is the last that has ended."""
    return (LAST - datetime.timedelta(ago)).isoformat()


def rows() -> Iterator[tuple[object, ...]]:
    for customer, query in (("c1", "q1"), ("c1", HOSTILE), ("c2", "q1"), ("c3", "q1")):
        for ago in range(DAYS):
            status, run, message, attempts = "success", f"run {ago}", None, 1
            if customer == "c1" and query == "q1" and ago in (5, 6, 7, 20):
                continue
            if customer == "c2" and ago in (5, 9, 10):
                status, message, attempts = "failed", f"quota of {HOSTILE}", 3
            if customer == "c3" and ago == 0:
                status = "pending"
            moment = f"{day(ago - 1)}T04:05:06+00:00"
            yield "ads", customer, query, day(ago), status, run, "1", 1000 + ago, moment, message, attempts


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_state(tmp_path_factory.mktemp("state") / "state.db", rows())


@pytest.fixture(scope="module")
def page(state: Path) -> Path:
    path = state.with_name("coverage.html")
    ask("coverage", "--state", state, *WAYS, "--html", path)
    return path


@pytest.fixture(scope="module")
def gaps(state: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ask("gaps", "--state", state, *WAYS, "--json", codes=(12,)).splitlines()]


def open_at(tab: Tab, page: Path, fragment: str = "") -> None:
    tab.open(page, fragment)
    tab.wait_for("!document.querySelector('#summary').hidden")
    tab.ask("document.querySelector('#grid').focus()")
    tab.wait_for_frame()


def heard(tab: Tab) -> str:
    """Return what those who hear the page were told last."""
    return tab.text_of("#live")


def at(customer: str, query: str, ago: int) -> str:
    return f"#days={day(20)}..{day(0)}&cursor=ads/{customer}/{query}/{day(ago)}"


def test_keys_move_the_cursor_and_its_cell_is_read(tab: Tab, page: Path) -> None:
    open_at(tab, page, at("c2", "q1", 9))
    failed = (
        f"c2 / q1, {day(9)}: failed, late (crit), ended 9 days before this page; has failed after 3 attempts: quota of "
        f"{HOSTILE}; its row says failed since {day(8)} 04:05:06Z"
    )
    assert heard(tab) == failed
    assert tab.text_of("#grid [role=rowheader]") == "c2 / q1"
    assert tab.text_of("#active-cell") == f"{day(9)}: failed, late (crit)"
    moves = (
        ("ArrowLeft", f"c2 / q1, {day(10)}"),
        ("ArrowRight", f"c2 / q1, {day(9)}"),
        ("ArrowUp", f"c1 / q1, {day(9)}"),
        ("ArrowUp", f"c1 / {HOSTILE}, {day(9)}"),
        ("ArrowUp", f"c1 / {HOSTILE}, {day(9)}"),
        ("PageDown", f"c3 / q1, {day(9)}"),
        ("PageUp", f"c1 / {HOSTILE}, {day(9)}"),
        ("End", f"c1 / {HOSTILE}, {day(0)}"),
        ("ArrowRight", f"c1 / {HOSTILE}, {day(0)}"),
        ("Home", f"c1 / {HOSTILE}, {day(DAYS - 1)}"),
        ("Control+End", f"c3 / q1, {day(0)}"),
        ("Control+Home", f"c1 / {HOSTILE}, {day(DAYS - 1)}"),
    )
    for key, place in moves:
        tab.press(key)
        assert heard(tab).startswith(f"{place}: "), key
        column = tab.ask("document.querySelector('#active-cell').ariaColIndex")
        assert day(DAYS - int(column) + 1) == place[-10:]
    tab.press("Shift+ArrowDown", "Shift+ArrowRight")
    assert heard(tab) == f"2 series, {day(DAYS - 1)} to {day(DAYS - 2)}: 4 ready"


@pytest.mark.long
def test_zoomed_out_keys_move_by_the_unit_and_the_worst_is_read(tab: Tab, page: Path) -> None:
    # On a narrow window a day has no room.
    tab.resize((390, 844))
    open_at(tab, page, f"#cursor=ads/c1/q1/{day(6)}")
    monday = LAST - datetime.timedelta(6 + (LAST - datetime.timedelta(6)).weekday())
    week = [monday + datetime.timedelta(number) for number in range(7)]
    missing = sum((LAST - one).days in (5, 6, 7) for one in week)
    assert tab.text_of("#active-cell") == f"week of {monday}: worst missing, late (crit)"
    assert heard(tab) == f"c1 / q1, week of {monday}: {missing} missing, late (crit), {7 - missing} ready"
    tab.press("ArrowLeft")
    assert heard(tab).startswith(f"c1 / q1, week of {monday - datetime.timedelta(7)}: ")


def test_next_and_previous_gap_visit_what_gaps_lists(tab: Tab, page: Path, gaps: list[dict[str, Any]]) -> None:
    listed = [f"{one['customer_id']} / {one['query_name']}, {gap['first_date']}" for one in gaps for gap in one["gaps"]]
    assert len(listed) == 4
    open_at(tab, page, f"#days={day(20)}..{day(0)}")
    tab.press("Control+Home")
    visited: list[str] = []
    for _ in listed:
        tab.press("n")
        visited.append(heard(tab)[: len(listed[len(visited)])])
    assert visited == listed
    tab.press("n")
    assert heard(tab) == "There is no gap after this place."
    for place in reversed(listed[:-1]):
        tab.press("p")
        assert heard(tab).startswith(place)
    tab.press("p")
    assert heard(tab) == "There is no gap before this place."
    first, second, other, _ = listed
    assert first[:7] == second[:7] != other[:7]
    tab.press("Shift+N")
    assert heard(tab).startswith(second)
    tab.press("Shift+N")
    assert heard(tab) == "There is no gap after this place in the series."
    tab.press("Shift+P")
    assert heard(tab).startswith(first)


def test_the_tooltip_tells_what_why_says(tab: Tab, page: Path, state: Path) -> None:
    open_at(tab, page, at("c2", "q1", 9))
    tab.press("Enter")
    told = tab.text_of("#tooltip")
    answer = json.loads(ask("why", f"c2/q1/{day(9)}", "--state", state, "--json", codes=(12,)))
    for text in (answer["sentence"], f"Remedy: {answer['remedy']}", "run 9", "1,009", "failed, late (crit)", "3"):
        assert text in told
    assert tab.ask("document.querySelector('#tooltip img')") is None
    tab.press("ArrowRight")
    assert "run 8" in tab.text_of("#tooltip")
    tab.press("Escape")
    assert tab.ask("document.querySelector('#tooltip').hidden")
    assert tab.ask("document.querySelector('#grid').getAttribute('aria-describedby')") is None


@pytest.mark.long
def test_the_pointer_opens_the_tooltip_and_a_click_keeps_it(tab: Tab, page: Path) -> None:
    open_at(tab, page, f"#days={day(20)}..{day(0)}")
    left, top = tab.point_of("#heat", (4.0, 4.0))
    tab.move(left, top)
    tab.wait_for("!document.querySelector('#tooltip').hidden")
    assert tab.text_of("#tooltip strong") == f"c1 / {HOSTILE}"
    tab.click("#heat", at=(4.0, 4.0))
    tab.move(5, 5)
    tab.wait_for_frame()
    assert not tab.ask("document.querySelector('#tooltip').hidden")
    hidden = "document.querySelector('#tooltip').hidden"
    tab.resize((1280, 300))
    tab.ask("scrollTo(0, document.body.scrollHeight)")
    tab.wait_for(hidden)
    tab.ask("scrollTo(0, 0)")
    tab.wait_for_frame()
    tab.press("Escape")
    tab.click("#heat", at=(4.0, 4.0))
    assert not tab.ask(hidden)
    tab.click("#extent")
    assert tab.ask(hidden)


def test_the_summary_says_what_gaps_says(tab: Tab, page: Path, state: Path, gaps: list[dict[str, Any]]) -> None:
    def line(*filters: str) -> str:
        return ask("gaps", "--state", state, *WAYS, *filters, codes=(0, 12)).splitlines()[-1]

    open_at(tab, page)
    assert tab.text_of("#summary-body .sum") == f"All, over all dates: {line()}."
    worst = sorted((one for one in gaps if one["status"] != "pass"), key=lambda one: -one["error_dates"])
    rows_of = (
        "[...document.querySelectorAll('#summary tbody tr')].map(row => [...row.cells].map(one => one.textContent))"
    )
    assert tab.ask(rows_of) == [
        [
            f"{one['customer_id']} / {one['query_name']}",
            one["first_late_date"],
            str(one["error_dates"]),
            str(one["warn_dates"]),
            f"{int(one['complete'] * 1000) / 10:.1f}%",
            one["newest_date"],
        ]
        for one in worst
    ]
    tab.click("#summary thead th:nth-child(3) button")
    assert tab.ask("document.querySelector('#summary [aria-sort]').ariaSort") == "ascending"
    assert [row[2] for row in tab.ask(rows_of)] == sorted(str(one["error_dates"]) for one in worst)
    tab.ask("document.querySelector('#filter-customer').focus()")
    tab.type("c[23]")
    shown = f"Shown, over all dates: {line('--customer', 'c[23]')}."
    tab.wait_for("document.querySelector('#summary-body .sum').textContent === shown", shown=shown)


@pytest.mark.long
def test_a_late_series_leads_to_its_first_late_date_and_back(tab: Tab, page: Path) -> None:
    open_at(tab, page)
    tab.wait_for("location.hash.includes('cursor')")  # the focus chose a cell
    before = tab.ask("location.hash")
    tab.click("#summary tbody tr:last-child button")
    assert heard(tab).split(": ")[0] in (f"c2 / q1, {day(10)}", f"c2 / q1, week of {day(10)}")
    tab.wait_for("location.hash !== before", before=before)
    assert tab.ask("location.hash").endswith(f"cursor=ads/c2/q1/{day(10)}")
    tab.ask("history.back()")
    tab.wait_for("location.hash === before", before=before)
    tab.wait_for("!document.querySelector('#live').textContent.startsWith('c2')")


def test_an_address_leads_to_the_same_place_on_a_page_that_is_opened_anew(tab: Tab, page: Path) -> None:
    address = (
        f"#days={day(28)}..{day(2)}&cursor=ads/c2/q1/{day(9)}&height=30&customer=c*&since={day(30)}&show=rFM&sort=worst"
    )
    open_at(tab, page, address)
    assert heard(tab).startswith(f"c2 / q1, {day(9)}: ")
    tab.press("ArrowLeft", "ArrowRight", "ArrowLeft")
    moved = address.replace(f"q1/{day(9)}", f"q1/{day(10)}")
    tab.wait_for("location.hash === moved", moved=moved)
    assert tab.ask("document.querySelector('#filter-customer').value") == "c*"
    assert tab.ask("document.querySelector('#notice').hidden")


def test_what_an_address_cannot_mean_is_named_as_text(tab: Tab, page: Path) -> None:
    open_at(tab, page, "#days=<img/src=x>&cursor=ads/none/q1/2024-06-01&sort=worst")
    notice = tab.text_of("#notice")
    assert "cursor=ads/none/q1" in notice
    assert "days=" in notice
    assert tab.ask("document.querySelector('#notice').children.length") == 0
    assert tab.ask("document.querySelector('#sort').value") == "worst"


def test_however_much_an_address_cannot_mean_the_picture_stays_in_sight(tab: Tab, page: Path) -> None:
    open_at(tab, page, f"#{'x' * 5000}&{'&'.join(['a=b'] * 500)}")
    assert tab.text_of("#notice").endswith(f": {'x' * 80}…, a=b, a=b and 498 more")
    assert tab.ask("document.querySelector('#notice').offsetHeight") < 100


def test_the_link_to_the_picture_changes_nothing_that_is_shown(tab: Tab, page: Path) -> None:
    open_at(tab, page, "#sort=worst&problems=only")
    tab.focus(".skip")
    tab.press("Enter")
    assert tab.ask("document.activeElement.id") == "picture"
    assert tab.ask("location.hash") == "#sort=worst&problems=only"
    assert tab.ask("document.querySelector('#problems-only').checked")
    assert tab.ask("document.querySelector('#notice').hidden")


def test_the_selection_is_copied_as_a_command(tab: Tab, page: Path) -> None:
    open_at(tab, page, at("c1", "q1", 6))
    tab.press("c")
    lines = tab.ask("[...document.querySelectorAll('#commands pre')].map(one => one.textContent)")
    assert [line.split()[:2] for line in lines] == [["readyfs", "why"], ["readyfs", "gaps"], ["readyfs", "ls"]]
    assert lines[0].split()[2] == f"c1/q1/{day(6)}"
    tab.press("Enter")
    tab.wait_for("document.querySelector('#commands output').textContent")
    assert tab.text_of("#commands output") == "Copied."
    tab.ask(
        "navigator.clipboard.writeText = () => Promise.reject(new DOMException('no')),"
        " document.execCommand = () => false"
    )
    tab.press("Enter")
    tab.wait_for("document.querySelector('#commands output').textContent.includes('Ctrl+C')")
    assert tab.ask("getSelection().toString()") == lines[0]
    tab.press("Escape")
    assert not tab.ask("document.querySelector('#commands').open")


@pytest.mark.long
def test_the_shortcuts_are_listed_and_can_be_switched_off(tab: Tab, page: Path) -> None:
    open_at(tab, page, at("c1", "q1", 6))
    tab.press("?")
    told = tab.text_of("#shortcuts")
    for key in ("n", "p", "N", "P", "?", "Home, End"):
        assert key in told
    tab.click("#shortcuts input")
    tab.press("Escape")
    before = heard(tab)
    tab.press("n")
    assert heard(tab) == before
    tab.click("#open-shortcuts")
    tab.click("#shortcuts input")
    tab.press("Escape", "n")
    assert heard(tab) != before


@pytest.mark.long
@pytest.mark.parametrize("width", [1280, 390])
def test_letters_that_are_typed_are_no_shortcuts_until_enter(tab: Tab, page: Path, width: int) -> None:
    tab.resize((width, 844))
    open_at(tab, page, at("c1", "q1", 6))
    tab.press("/")
    tab.press("n", "?", "*")
    assert tab.ask("document.activeElement.value") == "n?*"
    assert not tab.ask("document.querySelector('#shortcuts').open")
    tab.press("Enter")
    assert tab.ask("document.activeElement.id") == "grid"
    assert heard(tab) == "Nothing is shown: the filters let no series pass."


@pytest.mark.long
def test_paper_shows_the_picture_in_the_light_palette_and_no_controls(tab: Tab, page: Path) -> None:
    tab.emulate(prefers_color_scheme="dark")
    open_at(tab, page, at("c2", "q1", 9))
    tab.ask("dispatchEvent(new Event('beforeprint'))")
    corner = "[...document.querySelector('.printed').getContext('2d').getImageData(2, 2, 1, 1).data]"
    assert tab.ask(corner) == [255, 255, 255, 255]
    tab.call("Emulation.setEmulatedMedia", media="print")
    tab.resize((600, 900))
    assert tab.ask("document.documentElement.scrollWidth") == 600
    seen = (
        "[...document.querySelectorAll(names)].filter(one => one.checkVisibility()).map(one => one.id || one.className)"
    )
    assert tab.ask(seen, names=".printed, #summary table, #legend") == ["legend", "printed", ""]
    assert tab.ask(seen, names="button:not(table button), input, select, #picture, #tooltip") == []
    tab.ask("dispatchEvent(new Event('afterprint'))")
    tab.call("Emulation.setEmulatedMedia", media="")
    assert tab.ask(seen, names=".printed, #picture") == ["picture"]
    assert tab.ask("document.documentElement.dataset.palette") == "system"


@pytest.mark.long
def test_a_click_with_shift_selects_and_escape_takes_back_step_by_step(tab: Tab, page: Path) -> None:
    open_at(tab, page, at("c1", "q1", 6))
    left, top = tab.point_of("#heat", (60.0, 4.0))
    for kind in ("mousePressed", "mouseReleased"):
        tab.call("Input.dispatchMouseEvent", type=kind, x=left, y=top, button="left", clickCount=1, modifiers=8)
    tab.wait_for("document.querySelector('#live').textContent.startsWith('2 series, ')")
    assert not tab.ask("document.querySelector('.selected').hidden")
    tab.press("c")
    assert tab.ask("document.querySelectorAll('#commands pre').length") == 2
    tab.press("Escape")
    state = "['#tooltip', '.selected', '#cursor'].map(name => document.querySelector(name).hidden)"
    assert tab.ask(state) == [False, False, False]
    for left_over in ([True, False, False], [True, True, False], [True, True, True]):
        tab.press("Escape")
        assert tab.ask(state) == left_over
    tab.press("c")
    assert tab.text_of("#commands p").startswith("All that is shown: 4 of 4 series")
