"""docs/coverage.md names exactly the options, characters, fields and levels of `readyfs coverage`."""

from __future__ import annotations

import re
from typing import Final

from readyfs.consumer.cell_letters import LETTERS
from readyfs.consumer.coverage import CELLS, Level
from tests.docs.test_docs import COMMANDS, SOURCE, dictionary_keys, options, read, section
from tests.docs.test_gaps import fields

PAGE: Final = "docs/coverage.md"


def tables(text: str) -> list[list[str]]:
    """Return of each table the names in its first cells, where one cell may hold several."""
    found: list[list[str]] = []
    for block in text.strip().split("\n\n"):
        lines = block.strip().splitlines()
        if lines[0].startswith("|"):
            cells = [line.split("|")[1] for line in lines[2:]]
            found.append([name.strip() for cell in cells for name in cell.replace("`", "").split(", ")])
    return found


def test_what_only_a_picture_has_is_documented() -> None:
    own = options(COMMANDS["readyfs coverage"]) - options(COMMANDS["readyfs gaps"])
    listed, codes = tables(read(PAGE).partition("\n## ")[0])
    assert (set(listed), codes) == (own | {"--json", "--format"}, ["0", "2", "3"])
    # What it has not is of alarms.
    missing = options(COMMANDS["readyfs gaps"]) - options(COMMANDS["readyfs coverage"])
    assert missing == {"--fail-on", "--limit"}


def test_each_character_is_documented() -> None:
    [listed] = tables(section(PAGE, "In the terminal"))
    assert set(listed) - {"blank"} == set(LETTERS) - {" "}
    rows = section(PAGE, "In the terminal").splitlines()
    for cell, letter in zip(CELLS, LETTERS, strict=True):
        if cell.status is not None:
            assert any(
                f"`{letter}`" in row.split("|")[1] and f" {cell.status}" in row for row in rows if row[:1] == "|"
            )


def test_the_fields_of_the_objects_are_documented() -> None:
    whole, of_range, levels = tables(section(PAGE, "JSON"))
    assert sorted(whole) == sorted(fields("cli/coverage_json.py", "describe_coverage"))
    assert sorted(of_range) == sorted(dictionary_keys("cli/coverage_json.py", "_describe_range"))
    assert sorted(levels) == sorted(Level)


def test_each_key_of_the_page_is_documented() -> None:
    script = (SOURCE / "page/assets/keys.js").read_text(encoding="utf-8")
    single = re.findall(r'\{ key: "(.)"', script)
    named = re.findall(r'^  \["([^"]+)"', script, re.MULTILINE)
    assert single
    assert named
    text = section(PAGE, "Keys")
    shown = re.findall(r"<kbd>([^<]+)</kbd>", text)
    assert {key for key in shown if len(key) == 1 and key not in "←→↑↓"} == set(single)
    for words in named:
        parts = re.findall(r"[←→↑↓]|[A-Z][a-z]+(?: up| down)?", words)
        assert set(parts) <= {*shown, "Ctrl"}, words
