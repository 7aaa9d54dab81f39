"""Fixtures of the mount tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.mount.daemon import ENGINES, SHADOW, Place, partition


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        yield found


@pytest.fixture
def open_place() -> Iterator[Place]:
    """A place with one partition that others can walk down to, which they cannot to pytest's own."""
    with tempfile.TemporaryDirectory(prefix="readyfs-") as directory:
        Path(directory).chmod(0o755)
        found = Place(Path(directory))
        with closing(found.producer):
            found.producer.write_and_publish(partition(), "r1", b"first\n")
            yield found


WITH_SHADOW: Final = frozenset(
    f"test_{name}"
    for name in (
        *("attributes", "broken", "file_times", "hung_raw", "hung_volume", "interruptions", "listing", "races"),
        *("raw_trouble", "requests", "resources", "run_files", "stop", "view_expiry", "view_runs", "views", "visible"),
        "written_again",
    )
)
"""Where it matters who answers a request: these run in the shadow, too."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the shadow out elsewhere."""
    needless = [item for item in items if _is_shadowed(item) and item.path.stem not in WITH_SHADOW]
    if needless:
        config.hook.pytest_deselected(items=needless)
        items[:] = [item for item in items if item not in needless]


def _is_shadowed(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function) or Path(__file__).parent not in item.path.parents:
        return False
    return hasattr(item, "callspec") and item.callspec.params.get("engine") == SHADOW


@pytest.fixture(params=[*ENGINES, SHADOW])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)
