"""The imports in the source are those that the tables of docs/architecture.md allow, no more and no fewer.

A room is a package of `readyfs`, or a module beside the packages. Imports inside functions and for type checking count
like any other: all of them say what a reader of one room has to know of another.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "src" / "readyfs"
PAGE: Final = ROOT / "docs" / "architecture.md"

FOR_EVERYBODY: Final = frozenset({"errors.py", "text.py"})
"""What every other room may import, so that no row has to name it. These two import nothing of ours."""


def find_rooms() -> list[str]:
    packages = [f"{path.parent.name}/" for path in SOURCE.glob("*/__init__.py")]
    modules = [path.name for path in SOURCE.glob("*.py")]
    return sorted([*packages, *modules])


ROOMS: Final = find_rooms()


def room_of(path: Path) -> str:
    """Return the room that a file of the source lies in."""
    first, *rest = path.relative_to(SOURCE).parts
    return f"{first}/" if rest else first


@cache
def imported_modules(path: Path) -> list[str]:
    """Return the full name of everything that a file imports, wherever the statement stands."""
    return list(_imported_modules(path))


def _imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imports_between_rooms() -> dict[str, dict[str, set[str]]]:
    """Return by room which rooms it imports, each with the files that do."""
    found: dict[str, dict[str, set[str]]] = {room: defaultdict(set) for room in ROOMS}
    for path in SOURCE.rglob("*.py"):
        for name in imported_modules(path):
            if not name.startswith("readyfs."):
                continue
            word = name.split(".")[1]
            target = f"{word}/" if f"{word}/" in ROOMS else f"{word}.py"
            if target in ROOMS and target != room_of(path):
                found[room_of(path)][target].add(str(path.relative_to(SOURCE)))
    return found


@cache
def imports_of_libraries() -> dict[str, set[str]]:
    """Return by library, those of Python itself left out, the rooms that import it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in SOURCE.rglob("*.py"):
        for name in imported_modules(path):
            library = name.split(".")[0]
            if library not in sys.stdlib_module_names and library not in ("readyfs", "__future__"):
                found[library].add(room_of(path))
    return found


def table(title: str) -> dict[str, list[str]]:
    """Return the rows of the table under a heading: by the name in the first cell, all cells."""
    text = PAGE.read_text(encoding="utf-8")
    part = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert part is not None, f"architecture.md has no heading {title!r}"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part[1].splitlines() if line[:1] == "|"]
    found = {row[0].strip("`"): row for row in rows[2:]}
    assert len(found) == len(rows) - 2, f"a name stands twice under {title!r}"
    return found


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_the_table_has_one_row_for_each_room() -> None:
    assert sorted(table("Rooms")) == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_exactly_what_its_row_allows(room: str) -> None:
    actual = imports_between_rooms()[room]
    for_free = FOR_EVERYBODY if room not in FOR_EVERYBODY else frozenset()
    allowed = names(table("Rooms")[room][2])
    unlisted = {target: sorted(files) for target, files in actual.items() if target not in allowed | for_free}
    assert not unlisted, f"the row of {room} in docs/architecture.md does not allow these imports: {unlisted}"
    unused = allowed - (actual.keys() - for_free)
    assert not unused, f"the row of {room} in docs/architecture.md names what it need not: {sorted(unused)}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_that_stand_above_it(room: str) -> None:
    rows = list(table("Rooms"))
    below = {target for target in imports_between_rooms()[room] if rows.index(target) > rows.index(room)}
    assert not below, f"{room} imports rooms that stand below it in docs/architecture.md: {sorted(below)}"


def test_the_libraries_are_imported_exactly_where_their_rows_say() -> None:
    said = {library: names(row[1]) for library, row in table("Libraries").items()}
    everywhere = {library for library, row in table("Libraries").items() if row[1] == "anywhere"}
    actual = imports_of_libraries()
    assert sorted(said) == sorted(actual)
    assert {library: rooms for library, rooms in said.items() if library not in everywhere} == {
        library: rooms for library, rooms in actual.items() if library not in everywhere
    }
