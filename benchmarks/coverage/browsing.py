"""How a page opens in a real browser, and what its scripts take of each frame while somebody goes through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.page.browser import running_browser
from tests.page.pace import Frames, drag, open_timed, trace_frames, turn_wheel
from tests.page.tab import Tab, open_coverage, open_tab

WAYS: Final[Mapping[str, Callable[[Tab], None]]] = {
    "dragging": lambda tab: drag(tab, "#heat", (20, 9), 100),
    "turning the wheel": lambda tab: turn_wheel(tab, "#heat", (0, 120), 100),
    "going by keys": lambda tab: tab.press(*["ArrowDown", "ArrowRight", "PageDown", "n"] * 25),
}
"""How the picture is moved under the window."""

ZOOMS: Final[Mapping[str, int]] = {"all dates": 0, "months": 8, "days": 40}
"""What is in sight, and by how many turns of the wheel one comes there."""

STEADY: Final = 0.97
"""The part of all frames that a bar is for: in some of the others the browser compiles, or collects garbage."""


@dataclass(frozen=True, slots=True)
class Panning:
    """What was in sight, how it was moved, and what scripts took of each frame."""

    zoom: str
    way: str
    frames: Frames

    def describe(self) -> str:
        """Return it as a line."""
        frames = self.frames
        return (
            f"{self.zoom}, {self.way}: {len(frames.scripts_ms)} frames; scripts took {frames.share(0.5):.1f} ms of the"
            f" processor in half of them, {frames.share(STEADY):.1f} ms in {STEADY:.0%}, {frames.most:.1f} ms at most"
        )


def zoom_in(tab: Tab, zoom: str) -> None:
    """Zoom a page that was just opened until what is named is in sight."""
    tab.focus("#grid")
    turn_wheel(tab, "#heat", (0, -60), ZOOMS[zoom], control=True)
    tab.wait_for_frame()


def measure_opening(page: Path, rounds: int) -> float:
    """Return after how many seconds the picture stood in the window, the best of some rounds."""
    with running_browser() as browser, open_tab(browser) as tab:
        return min(open_timed(tab, page) for _ in range(rounds))


def measure_panning(page: Path) -> Iterator[Panning]:
    """Yield what each way of going through a page takes, at each zoom."""
    with running_browser() as browser:
        for zoom in ZOOMS:
            for way, move in WAYS.items():
                with open_tab(browser) as tab:
                    open_coverage(tab, page)
                    zoom_in(tab, zoom)
                    yield Panning(zoom, way, trace_frames(tab, partial(move, tab)))
