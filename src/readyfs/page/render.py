"""A page as HTML: the markup, one style, one script and the data, in a form that no value of the data can leave.

The data is base64, whose alphabet has no markup. Nothing else of the page depends on the state.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib import resources
from typing import Final

SCRIPTS: Final = (
    "block.js",
    "calendar.js",
    "glob.js",
    "palette.js",
    "cell.js",
    "pyramid.js",
    "rows.js",
    "view.js",
    "heat.js",
    "axis.js",
    "labels.js",
    "overview.js",
    "gestures.js",
    "picture.js",
    "masthead.js",
    "toolbar.js",
    "names.js",
    "selection.js",
    "words.js",
    "command.js",
    "address.js",
    "gaps.js",
    "grid.js",
    "tooltip.js",
    "place.js",
    "summary.js",
    "copying.js",
    "keys.js",
    "start.js",
)
"""The scripts, in the order in which they are joined: each may use what those before it declare."""
STYLES: Final = ("page.css", "grid.css")

_ASSETS: Final = resources.files("readyfs.page") / "assets"


def render_page(block: bytes) -> Iterator[bytes]:
    """Yield the pieces of a page."""
    script = _join(SCRIPTS)
    script = f'(() => {{\n"use strict";\n{script}}})();\n'
    style = _join(STYLES)
    policy = f"default-src 'none'; img-src data: blob:; script-src {_hash(script)}; style-src {_hash(style)}"
    places = {"policy": policy, "style": style, "script": script}
    markup = _read("page.html")
    for name, text in places.items():
        markup = markup.replace(f"<!--{name}-->", text)
    before, after = markup.split("<!--coverage-->")
    yield before.encode()
    yield base64.b64encode(block)
    yield after.encode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _join(names: tuple[str, ...]) -> str:
    return "".join(map(_read, names))


def _read(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
