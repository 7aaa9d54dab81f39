"""The pages that a newcomer reads first are written in sentences that can be read once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (
    "README.md",
    "docs/architecture.md",
    "docs/contract.md",
    "docs/development.md",
    "docs/glossary.md",
    "docs/install.md",
    "docs/limits.md",
    "docs/semantics.md",
)
MOST_WORDS: Final = 25

_NO_PROSE: Final = re.compile(r"^( *)```.*?^\1```$|<picture>.*?</picture>", re.MULTILINE | re.DOTALL)
_LIST_ITEM: Final = re.compile(r"^\s*(?:[-*]|\d+\.) ")
# A colon or semicolon ends what has to be read in one breath.
_END: Final = re.compile(r"(?<=[.!?:;])[\"*)]*\s+")


def paragraphs(text: str) -> Iterator[str]:
    """Yield what stands between blank lines, each item of a list apart; tables and headings are no prose."""
    lines: list[str] = []
    for line in [*_NO_PROSE.sub("", text).splitlines(), ""]:
        ends = not line.strip() or line.startswith(("|", "#"))
        if (ends or _LIST_ITEM.match(line)) and lines:
            yield " ".join(lines)
            lines = []
        if not ends:
            lines.append(_LIST_ITEM.sub("", line, count=1).strip())


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page; code counts as one word, and of a link its text alone."""
    for paragraph in paragraphs(text):
        if not paragraph.startswith("Tests: "):
            shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", paragraph)
            yield from _END.split(re.sub(r"`[^`]+`", "code", shown))


@pytest.mark.parametrize("page", PAGES)
def test_no_sentence_is_too_long(page: str) -> None:
    found = list(sentences((ROOT / page).read_text(encoding="utf-8")))
    assert found
    assert [sentence for sentence in found if len(sentence.split()) > MOST_WORDS] == []


def test_sentences_end_at_stops_list_items_and_blank_lines() -> None:
    text = "One `a b` [two](x y). Three:\n- four\n  five\n\n# Six\n\n```\nseven\n```\n| eight |\nTests: nine"
    assert list(sentences(text)) == ["One code two.", "Three:", "four five"]
