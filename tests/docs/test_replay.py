"""docs/questions.md names exactly the options, placeholders and fields of `readyfs replay`."""

from __future__ import annotations

import re
from typing import Final

import click

from readyfs.cli.command import GroupedOption
from readyfs.consumer.replay.command import PLACEHOLDERS, VARIABLE_PREFIX
from readyfs.consumer.replay.runner import Outcome
from tests.docs.test_docs import COMMANDS, SOURCE, section

TEXT: Final = section("docs/questions.md", "replay")
FILTERS: Final = {"--since", "--until", "--source", "--customer", "--query"}

OF_EVERY_QUESTION: Final = {"--format", "--json", "--debug", "--help-all", "--mount"}


def first_cells(header: str) -> list[str]:
    """Return the names in the first cells of the table with this header, where one cell may hold several."""
    table = TEXT.partition(f"| {header} |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_the_options_are_documented() -> None:
    own = {
        name
        for one in COMMANDS["readyfs replay"].params
        if isinstance(one, click.Option) and not isinstance(one, GroupedOption)
        for name in one.opts
        if name.startswith("--")
    }
    assert set(first_cells("option | means")) == (own - OF_EVERY_QUESTION) | FILTERS


def test_the_placeholders_and_variables_are_documented() -> None:
    assert first_cells("placeholder | variable | is") == [f"{{{name}}}" for name in PLACEHOLDERS]
    assert re.findall(r"`(REPLAY_\w+)`", TEXT) == [VARIABLE_PREFIX + name.upper() for name in PLACEHOLDERS]


def test_the_fields_are_documented() -> None:
    source = (SOURCE / "cli" / "replay_text.py").read_text(encoding="utf-8")
    assert sorted(first_cells("field | means")) == sorted(set(re.findall(r'"(\w+)": ', source)))
    assert all(f"`{outcome}`" in TEXT for outcome in Outcome)
