"""The examples of docs/questions.md show what the commands print; `tests/docs/examples.py` writes them anew."""

from __future__ import annotations

from pathlib import Path

from readyfs.cli.main import cli
from tests.docs.examples import PAGE, commands, fill, render


def test_examples_are_what_is_printed(tmp_path: Path) -> None:
    fill(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    assert render(tmp_path, text) == text, "write it anew with `python -m tests.docs.examples`"


def test_each_question_has_an_example() -> None:
    asked = {line.split()[2] for line in commands(PAGE.read_text(encoding="utf-8"))}
    assert asked == {"ls", "latest", "gaps", "why", "wait", "changes", "replay"} <= set(cli.commands)
