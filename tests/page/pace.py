"""How long a page takes to open, and how much of each frame its scripts take.

Of frames the CPU time of the page's own thread counts, which does not grow when others use the machine, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.page.browser import Message
from tests.page.tab import Tab

_SCRIPT: Final = frozenset(
    ("EventDispatch", "FireAnimationFrame", "FireIdleCallback", "FunctionCall", "RunMicrotasks", "TimerFire")
)
"""What the browser calls the times in which it runs scripts; some lie within others."""
_FRAME: Final = ("AnimationFrame", "e")
"""The end of a frame: what came since the end of the one before belongs to it."""
_OPENED: Final = """
    (() => {
        const look = () => {
            const picture = document.querySelector("#picture");
            if (picture === null || picture.hidden) return requestAnimationFrame(look);
            // In the frame after the next one it has been drawn.
            requestAnimationFrame(() => requestAnimationFrame(() => { window.openedAfterMs = performance.now(); }));
        };
        requestAnimationFrame(look);
    })();
"""


@dataclass(frozen=True)
class Frames:
    """Milliseconds of CPU that scripts took in each frame, the least first."""

    scripts_ms: tuple[float, ...]

    def share(self, part: float) -> float:
        """Return what so great a part of all frames does not exceed."""
        return self.scripts_ms[min(len(self.scripts_ms) - 1, int(part * len(self.scripts_ms)))]

    @property
    def most(self) -> float:
        """The most that a frame took."""
        return self.scripts_ms[-1]


def open_timed(tab: Tab, page: Path) -> float:
    """Open a page, and return after how many seconds its picture had been drawn."""
    script = tab.call("Page.addScriptToEvaluateOnNewDocument", source=_OPENED)["identifier"]
    try:
        tab.open(page)
        after_ms = tab.wait_for("window.openedAfterMs")
    finally:
        tab.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    assert isinstance(after_ms, float | int)
    return after_ms / 1000


def trace_frames(tab: Tab, act: Callable[[], None]) -> Frames:
    """Do something, and return what scripts took in each frame meanwhile."""
    tab.connection.call(
        "Tracing.start",
        traceConfig={"includedCategories": ["devtools.timeline", "disabled-by-default-devtools.timeline"]},
        transferMode="ReportEvents",
    )
    act()
    tab.connection.call("Tracing.end")
    tab.connection.wait_for_event("", lambda event: event["method"] == "Tracing.tracingComplete", "a trace")
    events = [
        one
        for event in tab.connection.events("")
        if event["method"] == "Tracing.dataCollected"
        for one in event["params"]["value"]
    ]
    return _frames_of(events)


def _frames_of(events: list[Message]) -> Frames:
    """Return the frames of the thread that ran most scripts, which is that of the page."""
    scripts = [one for one in events if one["name"] in _SCRIPT and one["ph"] == "X"]
    threads = [(one["pid"], one["tid"]) for one in scripts]
    page = max(set(threads), key=threads.count)
    ours = sorted(
        (one["ts"], one["ts"] + one["dur"], one["tdur"]) for one in scripts if (one["pid"], one["tid"]) == page
    )
    ends = sorted(
        one["ts"] for one in events if (one["name"], one["ph"]) == _FRAME and (one["pid"], one["tid"]) == page
    )
    outermost, end = [], 0
    for begin, until, cpu in ours:
        if begin >= end:
            outermost.append((begin, cpu))
            end = until
    sums = [sum(cpu for begin, cpu in outermost if one <= begin < other) / 1000 for one, other in pairwise(ends)]
    return Frames(tuple(sorted(sums)))


def drag(tab: Tab, selector: str, by: tuple[int, int], steps: int) -> None:
    """Drag with the mouse from the middle of an element to and fro, `steps` times as far as told."""
    x, y = tab.point_of(selector)
    tab.move(x, y)
    tab.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
    for step in range(steps):
        # A triangle, so that a long way fits into the window.
        far = abs((step % 20) - 10) - 10
        tab.move(x + far * by[0], y + far * by[1], pressed=True)
    tab.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)


def turn_wheel(tab: Tab, selector: str, by: tuple[float, float], steps: int, *, control: bool = False) -> None:
    """Turn the wheel over the middle of an element, with the control key held or not."""
    x, y = tab.point_of(selector)
    for _ in range(steps):
        tab.call(
            "Input.dispatchMouseEvent",
            type="mouseWheel",
            x=x,
            y=y,
            deltaX=by[0],
            deltaY=by[1],
            modifiers=2 if control else 0,
        )
