"""A page of a small state is what it was; who changes that on purpose runs `python -m tests.page.gold`, and looks."""

from __future__ import annotations

from pathlib import Path

from tests.page.browser import Connection
from tests.page.gold import GOLD, make_gold


def test_a_page_is_what_it_was(browser: Connection, tmp_path: Path) -> None:
    for name, text in make_gold(browser, tmp_path).items():
        assert text == (GOLD / name).read_text(), f"{name} differs; `python -m tests.page.gold` writes it anew"
