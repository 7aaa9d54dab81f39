"""Runs scripts of the page without the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.page.tab import Tab

ASSETS: Final = Path(__file__).parents[2] / "src/readyfs/page/assets"


def evaluate(tab: Tab, scripts: Sequence[str], body: str, asked: object) -> Any:
    """Return what a body of JavaScript returns, which has the scripts before it and the value `asked`."""
    source = "".join((ASSETS / name).read_text(encoding="utf-8") for name in scripts)
    return tab.ask(f'(() => {{ "use strict";\n{source}\n{body}\n}})()', asked=asked)
