"""A page as HTML: the markup, one style, one script and the data, in a form that no value of the data can leave.

The data is base64, whose alphabet has no markup. Beside it only the totals in words depend on the state: escaped text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Final

from readyfs.page.block import BlockMaker

SCRIPTS: Final = (
    "calendar.js",
    "columns.js",
    "block.js",
    "glob.js",
    "palette.js",
    "cell.js",
    "sprites.js",
    "pyramid.js",
    "scene.js",
    "rows.js",
    "view.js",
    "axis.js",
    "heat.js",
    "selection.js",
    "words.js",
    "labels.js",
    "overview.js",
    "gestures.js",
    "picture.js",
    "element.js",
    "masthead.js",
    "toolbar.js",
    "names.js",
    "command.js",
    "address.js",
    "gaps.js",
    "grid.js",
    "tooltip.js",
    "place.js",
    "summary.js",
    "copying.js",
    "keys.js",
    "printing.js",
    "start.js",
)
"""The scripts, in the order in which they are joined: each may use what those before it declare."""
STYLES: Final = ("page.css", "grid.css")

_LARGEST: Final = 10_000_000
"""How large a page may be, in bytes, unless it holds very many dates."""
_BYTES_A_CELL: Final = 10
_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'"
_DATA: Final = "<!--coverage-->"
_PLACE: Final = re.compile(r"<!--(\w+)-->")
_ASSETS: Final = resources.files("readyfs.page") / "assets"


def render_page(maker: BlockMaker, head: Mapping[str, object], totals: str) -> Iterator[bytes]:
    """Yield the pieces of a page, with the totals in words for a browser that runs no scripts."""
    script = f'(() => {{\n"use strict";\n{_join(SCRIPTS)}}})();\n'
    style = _join(STYLES)
    policy = f"{_POLICY}; script-src {_hash(script)}; style-src {_hash(style)}"
    places = {"policy": policy, "style": style, "script": script, "totals": html.escape(totals)}
    before, after = (
        _PLACE.sub(lambda place: places[place[1]], part).encode() for part in _read("page.html").split(_DATA)
    )
    largest = max(_LARGEST, maker.cells * _BYTES_A_CELL)
    yield before
    yield base64.b64encode(maker.make(head, (largest - len(before) - len(after)) // 4 * 3))
    yield after


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _join(names: tuple[str, ...]) -> str:
    return "".join(map(_read, names))


def _read(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
