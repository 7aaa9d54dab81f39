"""What takes longer to find out of the page: very many dates, every key, paper, and what systems ask for."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

import pytest

from benchmarks.coverage.browsing import STEADY, WAYS, ZOOMS, zoom_in
from benchmarks.coverage.states import make_state
from tests.page.axe import fetch_axe, violations
from tests.page.browser import Connection
from tests.page.kinds import AGREEMENT, fill
from tests.page.pace import open_timed, trace_frames
from tests.page.picture import fill_world, make_page
from tests.page.program import ask
from tests.page.tab import NARROW, WIDE, Tab, open_coverage, open_tab

MILLION: Final = 1_000_000
OPENED_S: Final = 2.0
FRAME_MS: Final = 16.0


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a year and a half of a pipeline."""
    directory = tmp_path_factory.mktemp("world")
    fill_world(directory)
    return make_page(directory)


@pytest.fixture(scope="module")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a million dates, each with a run of its own."""
    directory = tmp_path_factory.mktemp("large")
    make_state(directory / "state.db", "own", MILLION)
    ask("coverage", "--state", directory / "state.db", "--cadence", "daily", "--html", directory / "coverage.html")
    return directory / "coverage.html"


@pytest.mark.long
def test_a_million_dates_open_within_two_seconds(tab: Tab, large_page: Path) -> None:
    assert large_page.stat().st_size <= 10_000_000
    # The quickest of some, because the machine may be busy.
    assert min(open_timed(tab, large_page) for _ in range(5)) <= OPENED_S


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("zoom", ZOOMS)
def test_scripts_leave_room_in_each_frame_of_panning(tab: Tab, large_page: Path, zoom: str, way: str) -> None:
    open_coverage(tab, large_page)
    zoom_in(tab, zoom)
    frames = trace_frames(tab, lambda: WAYS[way](tab))
    assert len(frames.scripts_ms) >= 20
    assert frames.share(STEADY) <= FRAME_MS, frames.scripts_ms[-8:]


@pytest.mark.long
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("palette", ["light", "dark"])
def test_each_palette_is_drawn_at_each_size(tab: Tab, page: Path, size: tuple[int, int], palette: str) -> None:
    tab.resize(size)
    tab.emulate(prefers_color_scheme=palette)
    open_coverage(tab, page)
    assert tab.ask("document.documentElement.scrollWidth") <= size[0]
    background = tab.ask("getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number)")
    assert (max(background[:3]) < 64) if palette == "dark" else (min(background[:3]) > 192)


@pytest.mark.long
def test_whoever_has_a_keyboard_alone_reaches_everything(tab: Tab, page: Path) -> None:
    open_coverage(tab, page)
    wanted = tab.ask(
        "[...document.querySelectorAll('button, input, select, [role=grid]')]"
        ".filter(one => one.checkVisibility() && !one.disabled).length"
    )
    tab.ask("window.reached = new Set(), window.hidden = [], true")
    for _ in range(wanted + 20):
        tab.press("Tab")
        tab.ask(
            "(one => { if (one === document.body) return; reached.add(one);"
            " const style = getComputedStyle(one); const box = one.getBoundingClientRect();"
            " const isMarked = [style, getComputedStyle(one.parentElement)]"
            "   .some(style => style.outlineStyle !== 'none' || style.boxShadow !== 'none');"
            " if (!isMarked || box.bottom < 0 || box.top > innerHeight) hidden.push(one.outerHTML.slice(0, 200)); }"
            ")(document.activeElement)"
        )
    reached = tab.ask("[...reached].filter(one => one.matches('button, input, select, [role=grid]')).length")
    assert (reached, tab.ask("hidden")) == (wanted, [])


@pytest.mark.long
def test_the_page_can_be_printed(tab: Tab, page: Path) -> None:
    open_coverage(tab, page)
    printed = base64.b64decode(tab.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert printed.startswith(b"%PDF-")
    # The picture is on it, and the table of series goes over more than one sheet.
    assert b"/Subtype /Image" in printed
    assert printed.count(b"/Type /Page\n") >= 2


@pytest.mark.long
def test_nothing_moves_for_those_who_ask_for_that(tab: Tab, page: Path) -> None:
    tab.emulate(prefers_reduced_motion="reduce")
    open_coverage(tab, page)
    tab.press("g", "n", "Enter", "+", "?")
    moving = "document.getAnimations().filter(one => one.effect.getComputedTiming().duration > 1).length"
    assert tab.ask(moving) == 0
    assert tab.ask("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


@pytest.mark.long
def test_forced_colours_keep_what_is_late_apart(tab: Tab, page: Path) -> None:
    tab.emulate(forced_colors="active")
    open_coverage(tab, page)
    # The letters of the legend stand in colours of the system.
    assert tab.ask("matchMedia('(forced-colors: active)').matches")
    assert tab.ask("[...document.querySelectorAll('#legend canvas')].length") > 5


@pytest.mark.clients
def test_nothing_keeps_people_from_reading_the_page(browser: Connection, tmp_path: Path) -> None:
    axe = fetch_axe(tmp_path)
    fill(tmp_path)
    page = tmp_path / "coverage.html"
    known = tmp_path / "known.csv"
    ask("coverage", "--state", tmp_path / "state.db", "--known", known, *AGREEMENT, "--html", page)
    states = {
        "opened": [],
        "at a gap": ["g", "n"],
        "told": ["g", "n", "Enter"],
        "shortcuts": ["?"],
        "a command": ["g", "n", "c"],
        "problems only": ["o"],
        "zoomed in": ["g", "Control+Home", "+", "+", "+", "+"],
    }
    found = {}
    for size in (WIDE, NARROW):
        for palette in ("light", "dark"):
            with open_tab(browser, size) as tab:
                tab.emulate(prefers_color_scheme=palette)
                for name, keys in states.items():
                    open_coverage(tab, page)
                    tab.press(*keys)
                    if wrong := violations(tab, axe):
                        found[size, palette, name] = wrong
    assert found == {}
