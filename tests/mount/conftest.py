"""Fixtures of the mount tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.mount.daemon import ENGINES, Place

IN_TURN: Final = frozenset({"test_raw_trouble.py", "test_sources.py"})
"""Files of many like cases: each case runs on one engine, the engines in turn, and on all under `make test-long`."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    turns: dict[str, int] = {}
    for item in items:
        if item.path.parent != Path(__file__).parent or item.path.name not in IN_TURN:
            continue
        assert isinstance(item, pytest.Function)
        engine = str(item.callspec.params["engine"])
        case = item.nodeid.replace(engine, "")
        turn = turns.setdefault(case, len(turns))
        if engine != list(ENGINES)[turn % len(ENGINES)]:
            item.add_marker(pytest.mark.long)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)
