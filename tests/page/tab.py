"""One tab of the browser: what a person does there, what they see, and what the browser complains of."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.page.browser import ANSWER_S, BrowserError, Connection, Message

WIDE: Final = (1280, 800)
"""A laptop's window, in CSS pixels."""
NARROW: Final = (390, 844)
"""A telephone, held upright."""

_MODIFIERS: Final = {"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}
_VIRTUAL_KEYS: Final = {
    "Backspace": 8,
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    " ": 32,
    "PageUp": 33,
    "PageDown": 34,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}
_TEXT_OF: Final = {"Enter": "\r", " ": " "}


@dataclass(frozen=True)
class Tab:
    """A tab with a profile of its own: nothing of another one is remembered in it."""

    connection: Connection
    session: str

    def call(self, method: str, /, **parameters: Any) -> Message:
        """Send a command of the protocol to this tab."""
        return self.connection.call(method, self.session, **parameters)

    def open(self, page: Path, fragment: str = "") -> None:
        """Open a file anew, and wait until its scripts ran and it was drawn."""
        # Another fragment of the same file alone would load nothing.
        self._go("about:blank")
        self._go(page.as_uri() + fragment)
        self.wait_for_frame()

    def _go(self, url: str) -> None:
        answer = self.call("Page.navigate", url=url)
        if "errorText" in answer:
            raise BrowserError(f"{url}: {answer['errorText']}")
        loader = answer["loaderId"]
        self.connection.wait_for_event(
            self.session,
            lambda event: (
                event["method"] == "Page.lifecycleEvent"
                and event["params"]["loaderId"] == loader
                and event["params"]["name"] == "load"
            ),
            f"loading {url}",
        )

    def ask(self, expression: str, **values: Any) -> Any:
        """Return what an expression in JavaScript gives, promises awaited; `values` are variables in it."""
        given = "".join(f"const {name} = {json.dumps(value)}; " for name, value in values.items())
        answer = self.call(
            "Runtime.evaluate",
            expression=f"(async () => {{ {given}return ({expression}); }})()",
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(f"{expression}: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    def wait_for(self, expression: str, **values: Any) -> Any:
        """Wait until an expression gives something true, and return that."""
        deadline = time.monotonic() + ANSWER_S
        while not (value := self.ask(expression, **values)):
            if time.monotonic() > deadline:
                raise BrowserError(f"not within {ANSWER_S:.0f} s: {expression} {values or ''}")
            time.sleep(0.01)
        return value

    def text_of(self, selector: str) -> str:
        """Return the text of the first element that a selector names."""
        text = self.ask("document.querySelector(selector).textContent", selector=selector)
        assert isinstance(text, str)
        return text

    def wait_for_frame(self) -> None:
        """Wait until what was changed has been drawn."""
        self.ask("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))")

    def press(self, *keys: str) -> None:
        """Press keys one after the other, each as "ArrowLeft", "a", "Shift+N" or "Control+Home"."""
        for key in keys:
            self._press(key)
        self.wait_for_frame()

    def _press(self, written: str) -> None:
        *held, key = written.split("+") if len(written) > 1 and not written.endswith("+") else [written]
        modifiers = sum(_MODIFIERS[one] for one in held)
        text = key if len(key) == 1 else _TEXT_OF.get(key, "")
        if modifiers & ~_MODIFIERS["Shift"]:
            text = ""
        code = "Space" if key == " " else f"Key{key.upper()}" if len(key) == 1 and key.isalpha() else key
        number = _VIRTUAL_KEYS.get(key, ord(key.upper()) if len(key) == 1 else 0)
        what: Message = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers}
        down: Message = {**what, "type": "keyDown", "text": text} if text else {**what, "type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **down)
        self.call("Input.dispatchKeyEvent", **what, type="keyUp")

    def focus(self, selector: str) -> None:
        """Give an element the focus."""
        self.ask("document.querySelector(selector).focus()", selector=selector)

    def type(self, text: str) -> None:
        """Put text into the field that has the focus."""
        self.call("Input.insertText", text=text)
        self.wait_for_frame()

    def click(self, selector: str, *, at: tuple[float, float] | None = None) -> None:
        """Click on an element, in its middle or at a point within it."""
        x, y = self.point_of(selector, at)
        self.move(x, y)
        what: Message = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", **what)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **what)
        self.wait_for_frame()

    def move(self, x: float, y: float, *, pressed: bool = False) -> None:
        """Move the mouse, with its left button held down or not."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left" if pressed else "none")

    def point_of(self, selector: str, at: tuple[float, float] | None = None) -> tuple[float, float]:
        """Return a point of an element in the window, its middle unless told."""
        box = self.ask(
            "(element => { element.scrollIntoView({block: 'nearest', behavior: 'instant'});"
            " const box = element.getBoundingClientRect();"
            " return [box.left, box.top, box.width, box.height]; })(document.querySelector(selector))",
            selector=selector,
        )
        assert box[2] > 0, f"{selector} is not shown"
        return (box[0] + box[2] / 2, box[1] + box[3] / 2) if at is None else (box[0] + at[0], box[1] + at[1])

    def resize(self, size: tuple[int, int], *, scale: float = 1.0) -> None:
        """Give the window another size in CSS pixels, each of them `scale` pixels of the screen wide."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=scale, mobile=False
        )
        self.wait_for_frame()

    def emulate(self, **features: str) -> None:
        """Have the system ask for what media queries ask about, for example `prefers_color_scheme="dark"`."""
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": name.replace("_", "-"), "value": value} for name, value in features.items()],
        )
        self.wait_for_frame()

    def screenshot(self, path: Path) -> None:
        """Write a picture of what the window shows."""
        self.wait_for_frame()
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[str]:
        """Take what the browser complained of since the last time: errors, warnings, and what a policy refused."""
        found = []
        for event in self.connection.events(self.session):
            parameters = event["params"]
            match event["method"]:
                case "Log.entryAdded" if parameters["entry"]["level"] in ("warning", "error"):
                    found.append(f"{parameters['entry']['source']}: {parameters['entry']['text']}")
                case "Runtime.consoleAPICalled" if parameters["type"] in ("warning", "error", "assert"):
                    found.append(" ".join(str(one.get("value", one.get("description"))) for one in parameters["args"]))
                case "Runtime.exceptionThrown":
                    details = parameters["exceptionDetails"]
                    found.append(str(details.get("exception", {}).get("description", details["text"])))
                case "Audits.issueAdded":
                    found.append(json.dumps(parameters["issue"]))
                case "Page.javascriptDialogOpening":
                    found.append(f"a dialog: {parameters['message']}")
                case "Network.requestWillBeSent" if parameters.get("type") != "Document":
                    # What is made in memory, a blob, is fetched from nowhere.
                    if not parameters["request"]["url"].startswith("blob:"):
                        found.append(f"a request: {parameters['request']['url'][:200]}")
        return found


@contextmanager
def open_tab(connection: Connection, size: tuple[int, int] = WIDE) -> Iterator[Tab]:
    """Open a tab that remembers nothing of any other, and close it."""
    context = connection.call("Target.createBrowserContext", disposeOnDetach=True)["browserContextId"]
    try:
        target = connection.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = connection.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(connection, session)
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            tab.call(f"{domain}.enable")
        tab.call("Page.setLifecycleEventsEnabled", enabled=True)
        tab.resize(size)
        yield tab
    finally:
        connection.call("Target.disposeBrowserContext", browserContextId=context)


def open_coverage(tab: Tab, page: Path, fragment: str = "") -> None:
    """Open a page of the coverage, and wait until all of it stands there: a large one takes a while to be read."""
    tab.open(page, fragment)
    tab.wait_for("!document.querySelector('#picture').hidden && document.querySelector('.sum')?.textContent")
    tab.wait_for_frame()
