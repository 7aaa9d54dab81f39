"""The examples of pages on questions show what the commands print; `tests/docs/examples.py` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from readyfs.cli.main import cli
from tests.docs.examples import PAGES, commands, fill, render
from tests.docs.test_docs import section

QUESTIONS: Final = {"ls", "latest", "gaps", "coverage", "why", "wait", "changes", "replay"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_are_what_is_printed(page: Path, tmp_path: Path) -> None:
    fill(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert render(tmp_path, text) == text, "write it anew with `python -m tests.docs.examples`"


def test_each_question_has_an_example_and_is_named_in_the_readme() -> None:
    asked = {line.split()[2] for page in PAGES for line in commands(page.read_text(encoding="utf-8"))}
    assert asked == QUESTIONS <= set(cli.commands)
    assert set(re.findall(r"`readyfs (\w+)", section("README.md", "Ask it"))) == QUESTIONS
    assert "docs/questions.md" in section("README.md", "Documents")
