"""What the picture draws: the worst of what lies below each pixel, in colours and shapes that are told apart (V26)."""

from __future__ import annotations

import datetime
import random
import struct
import time
from itertools import combinations, product
from math import ceil, floor
from pathlib import Path
from typing import Any

import pytest

from readyfs.consumer.coverage import CELLS, STATUSES, Level
from readyfs.partition import PartitionStatus
from tests.page.browser import ANSWER_S
from tests.page.kinds import AGREEMENT, fill
from tests.page.pace import turn_wheel
from tests.page.program import ask
from tests.page.script import evaluate
from tests.page.states import write_state
from tests.page.tab import NARROW, Tab, open_tab

DRAWING = ("calendar.js", "glob.js", "cell.js", "sprites.js", "pyramid.js", "scene.js", "rows.js", "view.js")
FAKE = """
    const cells = asked.cells.map(([status, level, expected, letter]) => ({ status, level, expected, letter }));
    const all = asked.series.map(({ first, codes }) => ({ first, codes: Uint8Array.from(codes) }));
    const places = all.map((_, index) => index);
    const series = (index) => all[index];
    const coverage = { cells, count: all.length, series, places, first: asked.first, last: asked.last };
"""
"""A coverage with the cells and the series that a test asks about."""

Series = list[tuple[int, list[int]]]
"""The first day of each series, and its codes."""


def make_series(seed: int, count: int) -> Series:
    """Return series around 1970-01-01 of which some are empty, and whose bad dates are rare."""
    chance = random.Random(seed)
    series = []
    for _ in range(count):
        length = chance.choice((0, 1, 2, 40, 77))
        codes = [chance.randrange(3, len(CELLS)) if chance.random() < 0.1 else 2 for _ in range(length)]
        series.append((chance.randrange(-60, 60), codes))
    return series


def asked_of(series: Series, **further: object) -> dict[str, object]:
    days = [day for first, codes in series if codes for day in (first, first + len(codes) - 1)]
    return {
        "cells": [(cell.status, cell.level, cell.is_expected, letter_of(code)) for code, cell in enumerate(CELLS)],
        "series": [{"first": first, "codes": codes} for first, codes in series],
        "first": min(days),
        "last": max(days),
        **further,
    }


def letter_of(code: int) -> str:
    status, level, _ = CELLS[code]
    if status is None or level is None:
        return ""
    letter = status.value[0]
    return letter.upper() if level.is_late else letter


def test_the_pyramid_finds_the_worst_of_any_stretch_of_days(tab: Tab) -> None:
    series = make_series(1, 12)
    chance = random.Random(2)
    hidden = {code for code, cell in enumerate(CELLS) if cell.status is PartitionStatus.FAILED}
    asks = [(chance.randrange(len(series)), day, day + chance.randrange(90)) for day in range(-80, 140, 2)]
    found = evaluate(
        tab,
        ("pyramid.js",),
        FAKE
        + """
        return [[], asked.hidden].map((hidden) => {
            const pyramid = new Pyramid(coverage, cells.map((_, code) => !hidden.includes(code)));
            return asked.asks.map(([index, from, end]) => pyramid.worst(index, from, end));
        });
        """,
        asked_of(series, asks=asks, hidden=sorted(hidden)),
    )
    for left_out, worst in zip((set[int](), hidden), found, strict=True):
        naive = []
        for index, begin, end in asks:
            first, codes = series[index]
            below = [code for day, code in enumerate(codes, first) if begin <= day < end and code not in left_out]
            naive.append(max(below, default=0))
        assert worst == naive


def test_each_pixel_shows_the_worst_below_it(tab: Tab) -> None:
    series = make_series(3, 40)
    sizes = list(product((1 / 64, 0.25, 0.75, 1, 1.5, 9.25), (1 / 16, 0.5, 1, 3)))
    frames = [frame_of(series, per_day, per_row) for per_day, per_row in sizes]
    painted = evaluate(
        tab,
        DRAWING,
        FAKE
        + """
        const view = {
            rows: Uint32Array.from(all.keys()), extent: { first: asked.first, last: asked.last },
            pyramid: new Pyramid(coverage, cells.map(() => true)),
        };
        const sprites = { of: (code, width, height) => new Uint32Array(width * height).fill(code) };
        return asked.sizes.map(([perDay, perRow], place) => {
            const { left, width, height } = asked.frames[place];
            const scene = new Scene(view, sprites, perDay, perRow);
            // Two tiles that meet in the middle of the picture, as they do on a screen.
            const middle = width >> 1;
            return [[left, middle], [left + middle, width - middle]].map(([begin, columns]) => {
                const pixels = new Uint32Array(columns * height);
                scene.paint(pixels, begin, 0, columns, height);
                return Array.from({ length: height }, (_, line) => (
                    Array.from(pixels.subarray(line * columns, (line + 1) * columns))
                ));
            });
        });
        """,
        asked_of(series, sizes=sizes, frames=frames),
    )
    worst = max(code for _, codes in series for code in codes)
    for (per_day, per_row), frame, (one, other) in zip(sizes, frames, painted, strict=True):
        naive = [[0] * frame["width"] for _ in range(frame["height"])]
        for row, (first, codes) in enumerate(series):
            for day, code in enumerate(codes, first):
                for line in pixels_of(row, per_row):
                    for column in pixels_of(day, per_day):
                        shown = naive[line][column - frame["left"]]
                        naive[line][column - frame["left"]] = max(shown, code)
        assert [[*begin, *end] for begin, end in zip(one, other, strict=True)] == naive, (per_day, per_row)
        # The worst of all is not lost, however far out.
        assert max(map(max, naive)) == worst


def frame_of(series: Series, per_day: float, per_row: float) -> dict[str, int]:
    """Return the pixels that all series take, with some beside them."""
    days = [day for first, codes in series if codes for day in (first, first + len(codes))]
    left = floor(min(days) * per_day) - 2
    width = ceil(max(days) * per_day) + 2 - left
    return {"left": left, "width": width, "height": max(1, ceil(len(series) * per_row))}


def pixels_of(number: int, size: float) -> range:
    """Return the pixels of a day or a row of a size: one for several, or several for one."""
    if size < 1:
        return range(floor(number * size), floor(number * size) + 1)
    return range(ceil(number * size), ceil((number + 1) * size))


def test_statuses_are_told_apart_without_colour(tab: Tab) -> None:
    """All colours are one here; what is left are shapes where a cell is narrow, and letters where it is not."""
    drawn = evaluate(
        tab,
        DRAWING,
        FAKE
        + """
        const palette = { ofCell: () => ({ fill: "#000", on: "#fff" }), isForced: false };
        return asked.sizes.map(([width, height]) => cells.map((_, code) => {
            const sprites = new Sprites(cells, palette, 1);
            return Array.from(sprites.of(code, width, height)).join();
        }));
        """,
        asked_of([(0, [2])], sizes=[(1, 18), (3, 12), (20, 18)]),
    )
    for size in drawn:
        late = [
            next(code for code, cell in enumerate(CELLS) if cell == (status, Level.ERROR, False)) for status in STATUSES
        ]
        for one, other in combinations([0, 2, *late], 2):
            assert size[one] != size[other], (CELLS[one], CELLS[other])
        for code in late:
            calm = next(place for place, cell in enumerate(CELLS) if cell == (CELLS[code].status, Level.KNOWN, False))
            assert size[code] != size[calm], CELLS[code]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a state that has each kind of date."""
    directory = tmp_path_factory.mktemp("picture")
    fill(directory)
    known = directory / "known.csv"
    ask("coverage", "--state", directory / "state.db", "--known", known, *AGREEMENT, "--html", directory / "page.html")
    return directory / "page.html"


def open_page(tab: Tab, page: Path, fragment: str = "") -> None:
    tab.open(page, fragment)
    tab.wait_for("!document.querySelector('#picture').hidden")
    tab.wait_for_frame()


COLOURS = """
    (() => {
        const probe = document.body.appendChild(document.createElement("span"));
        const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const found = {};
        for (const name of names) {
            probe.style.color = `var(--${name})`;
            canvas.fillStyle = getComputedStyle(probe).color;
            canvas.fillRect(0, 0, 1, 1);
            found[name] = Array.from(canvas.getImageData(0, 0, 1, 1).data.slice(0, 3));
        }
        probe.remove();
        return found;
    })()
"""


@pytest.mark.parametrize("palette", ["light", "dark"])
def test_colours_have_contrast_in_each_palette(tab: Tab, page: Path, palette: str) -> None:
    open_page(tab, page)
    while palette not in tab.text_of("#palette"):
        tab.click("#palette")
        tab.wait_for_frame()
    levels = ["ready", *(level.value for level in Level)]
    names = [*levels, *(f"on-{name}" for name in levels), "ink", "soft", "accent", "paper", "sheet"]
    colours = tab.ask(COLOURS, names=names)
    for bad in ("warn", "error"):
        assert contrast(colours[bad], colours["ready"]) >= 3, bad
        assert contrast(colours[bad], colours["sheet"]) >= 3, bad
    for name in levels:
        assert contrast(colours[name], colours[f"on-{name}"]) >= 4.5, name
    for text in ("ink", "soft", "accent"):
        for ground in ("paper", "sheet"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def contrast(one: list[int], other: list[int]) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: list[int]) -> float:
    shares = [value / 255 for value in colour]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


PIXELS = """
    (() => {
        const { width, height } = document.querySelector("#cells");
        const copy = Object.assign(document.createElement("canvas"), { width, height });
        const context = copy.getContext("2d", { willReadFrequently: true });
        context.drawImage(document.querySelector("#cells"), 0, 0);
        const data = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
        const counts = {};
        for (const pixel of data) counts[pixel] = (counts[pixel] ?? 0) + 1;
        return counts;
    })()
"""


def pixels_of_colour(tab: Tab, name: str) -> int:
    """Return how many pixels of the picture have exactly a colour of the palette."""
    tab.wait_for_frame()
    red, green, blue = tab.ask(COLOURS, names=[name])[name]
    counts: dict[str, Any] = tab.ask(PIXELS)
    return int(counts.get(str(struct.unpack("<I", bytes((red, green, blue, 255)))[0]), 0))


def wait_for_pixels(tab: Tab, name: str, count: int) -> None:
    """Wait until more than so many pixels have a colour: a busy machine needs several frames for a picture."""
    deadline = time.monotonic() + ANSWER_S
    while (found := pixels_of_colour(tab, name)) <= count:
        assert time.monotonic() < deadline, f"{found} pixels are {name}"


def test_the_picture_has_the_colours_of_its_palette_and_of_what_is_shown(tab: Tab, page: Path) -> None:
    open_page(tab, page)
    wait_for_pixels(tab, "ready", 1000)
    wait_for_pixels(tab, "error", 100)
    tab.click("#palette")
    tab.click("#palette")
    assert tab.text_of("#palette") == "Palette: dark"
    wait_for_pixels(tab, "ready", 1000)
    for status in ("ready", "F", "M", "W", "P", "R"):
        tab.click(f"#legend input[data-status='{status}']")
    assert pixels_of_colour(tab, "ready") == pixels_of_colour(tab, "error") == 0
    tab.click("#legend input[data-status='F']")
    wait_for_pixels(tab, "error", 100)
    assert pixels_of_colour(tab, "ready") == 0
    tab.click("#clear-filters")
    wait_for_pixels(tab, "ready", 1000)


def test_no_line_of_the_axis_hides_a_late_date(tab: Tab, tmp_path: Path) -> None:
    # Of all dates of four years, less than a pixel wide each, one is late in each row: those around a new year.
    dates = [datetime.date(2020, 6, 1) + datetime.timedelta(day) for day in range(1474)]
    late = [datetime.date(2021, 12, 25) + datetime.timedelta(day) for day in range(14)]
    rows = [
        ("ads", "c", f"q{row:02}", day.isoformat(), "failed" if day == bad else "success", "r", "1", 1, None, None, 1)
        for row, bad in enumerate(late)
        for day in dates
    ]
    ask("coverage", "--state", write_state(tmp_path / "state.db", rows), "--html", tmp_path / "page.html")
    open_page(tab, tmp_path / "page.html")
    error = tab.ask(COLOURS, names=["error"])["error"]
    assert tab.wait_for("document.querySelector('#extent').textContent").startswith("2020-06-01 to 2024-06-13")
    # A copy that is read often, so that the browser does not complain of it.
    seen = """
        (({ width, height }) => {
            const copy = Object.assign(document.createElement("canvas"), { width, height });
            const context = copy.getContext("2d", { willReadFrequently: true });
            context.drawImage(document.querySelector("#cells"), 0, 0);
            return rows.map((row) => {
                const { data } = context.getImageData(0, 18 * row, width, 18);
                const isError = (at) => error.every((part, place) => data[4 * at + place] === part);
                return Array.from({ length: 18 * width }, (_, at) => at).some(isError);
            });
        })(document.querySelector("#cells"))
    """
    found = tab.ask(seen, error=error, rows=list(range(len(late))))
    assert found == [True] * len(late)


def test_a_source_is_told_wherever_another_one_is(tab: Tab) -> None:
    # The last of so many series that not all of them are measured.
    sources = ["ads"] * 801 + ["web"]
    fields = evaluate(
        tab,
        (*DRAWING, "palette.js", "selection.js", "words.js", "labels.js"),
        """
        const all = asked.map((source) => ({ source, shown: { source, customer: "c", query: "q" } }));
        const coverage = { count: all.length, series: (index) => all[index] };
        return new Labels({ coverage }, null).fields;
        """,
        sources,
    )
    assert fields == ["source", "customer", "query"]


def test_filters_choose_rows_and_days(tab: Tab, page: Path) -> None:
    open_page(tab, page)
    extent = "document.querySelector('#extent').textContent"
    total = int(tab.ask(extent).rsplit(" of ")[1].split()[0])
    tab.focus("#filter-customer")
    tab.type("c[1-2]")
    tab.wait_for(f"{extent}.endsWith(end)", end=f"· 3 of {total} series")
    tab.click("#problems-only")
    tab.wait_for(f"{extent}.endsWith(end)", end=f"· 2 of {total} series")
    tab.focus("#filter-until")
    tab.type("2024-06-02")
    tab.press("Enter")
    # No date of the first two days is late.
    tab.wait_for(f"{extent}.endsWith(end)", end=f"· 0 of {total} series")
    assert tab.text_of("#empty") == "No series passes the filters."
    tab.click("#clear-filters")
    tab.wait_for(f"{extent}.endsWith(end)", end=f"· {total} of {total} series")


def test_a_wheel_with_control_holds_the_day_below_the_pointer(tab: Tab) -> None:
    found = evaluate(
        tab,
        DRAWING,
        FAKE
        + """
        const view = new View(coverage);
        view.set({ size: { width: 1000, height: 500, ratio: 1 } });
        view.zoomToAll();
        const days = [];
        for (const factor of [1.3, 2, 1.1, 0.9, 3]) {
            const before = view.placeAt(700, 1).day;
            view.zoomBy(factor, 700);
            days.push([before, view.placeAt(700, 1).day]);
        }
        view.zoomBy(1e-9);
        return { days, all: view.inSight, perPixel: view.x.perPixel };
        """,
        asked_of([(19000, [2] * 3000)]),
    )
    assert all(before == after for before, after in found["days"])
    # Out of all bounds, all days are in sight and no more.
    assert found["all"] == {"first": 19000, "last": 21999}
    assert found["perPixel"] == 3000 / 998


def test_a_telephone_has_names_of_two_lines_and_filters_behind_a_button(browser: Any, page: Path) -> None:
    with open_tab(browser, NARROW) as tab:
        open_page(tab, page)
        assert tab.ask("document.documentElement.scrollWidth") == NARROW[0]
        visible = "document.querySelector('#filter-customer').checkVisibility()"
        assert not tab.ask(visible)
        tab.click("#open-filters")
        assert tab.ask(visible)
        assert tab.ask("document.querySelector('#open-filters').getAttribute('aria-expanded')") == "true"
        assert tab.complaints() == []


def test_gestures_move_and_zoom(tab: Tab, page: Path) -> None:
    open_page(tab, page)
    sight = "document.querySelector('#extent').textContent.split(' · ')[0]"
    everything = tab.ask(sight)
    tab.press("w")
    newest = tab.ask(sight)
    assert newest == "2024-06-08 to 2024-06-14"
    # Rows so high that not all of them are in sight.
    tab.press("]", "]", "]")
    scrolled = "document.querySelector('#scroller').scrollTop"
    tab.ask(f"{scrolled} = 0")
    tab.wait_for_frame()
    # To the right, so that older days come into sight; and up, so that rows below do.
    x, y = tab.point_of("#heat")
    mouse(tab, "mousePressed", x, y)
    for step in range(1, 6):
        mouse(tab, "mouseMoved", x + 60 * step, y - 10 * step)
    mouse(tab, "mouseReleased", x + 300, y - 50)
    older = tab.wait_for(f"{sight} !== newest && {sight}", newest=newest)
    assert older < newest
    tab.wait_for(f"Math.round({scrolled}) === 50")
    # A drag chooses no cell; a click does.
    assert tab.ask("document.querySelector('#cursor').hidden")
    tab.click("#heat")
    tab.wait_for("!document.querySelector('#cursor').hidden")
    # The strip below goes to where it is pressed: to the newest days.
    box = tab.ask("document.querySelector('#overview').getBoundingClientRect().toJSON()")
    mouse(tab, "mousePressed", box["right"] - 2, box["top"] + 8)
    mouse(tab, "mouseReleased", box["right"] - 2, box["top"] + 8)
    tab.wait_for(f"{sight} === newest", newest=newest)
    turn_wheel(tab, "#heat", (0, 400), 12, control=True)
    tab.wait_for(f"{sight} === everything", everything=everything)


def mouse(tab: Tab, kind: str, x: float, y: float) -> None:
    tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)


def test_a_narrow_page_tells_the_customer_before_the_source(tab: Tab) -> None:
    """Names of rows on two lines, where a character is six pixels wide."""
    told = evaluate(
        tab,
        (*DRAWING, "words.js", "labels.js"),
        """
        const said = [];
        const context = {
            measureText: (text) => ({ width: 6 * text.length }),
            fillText: (text) => said.push(text),
            clearRect() {},
            fillRect() {},
        };
        for (const names of asked) {
            const shown = names.map(([source, customer, query]) => ({ source, customer, query }));
            const all = shown.map((one) => ({ ...one, shown: one }));
            const coverage = { count: all.length, series: (index) => all[index] };
            const rows = all.map((_, index) => index);
            const view = { coverage, rows, cursor: null, y: { start: 0, height: 30 } };
            const labels = new Labels(view, { colours: {} });
            labels.widthFor(390);
            labels.draw(context, 14 + 120, 100);
        }
        return said;
        """,
        [
            [["google_ads", "0012345678", "q1"], ["sap", "c" * 60, "q2"]],
            [["ads", "0012345678", "q1"], ["ads", "c2", "q1"]],
        ],
    )
    assert told == ["goog…_ads 0012345678", "q1", "sap ccccccc…cccccc", "q2", "0012345678", "q1", "c2", "q1"]
