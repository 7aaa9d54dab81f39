"""A page of a small state is what it was; who changes that on purpose runs `python -m tests.page.gold`, and looks."""

from __future__ import annotations

from pathlib import Path

from tests.page.gold import GOLD, make_gold
from tests.page.tab import Tab


def test_a_page_is_what_it_was(blank: Tab, tmp_path: Path) -> None:
    for name, text in make_gold(blank, tmp_path).items():
        assert text == (GOLD / name).read_text(), f"{name} differs; `python -m tests.page.gold` writes it anew"
