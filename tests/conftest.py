"""Fixtures of tests in several folders."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import pytest
import trio

from tests.mariadb.fixtures import mariadb, mariadb_server
from tests.postgres.fixtures import own_postgres, own_postgres_server, postgres, postgres_server, postgres_template

__all__ = [
    "mariadb",
    "mariadb_server",
    "own_postgres",
    "own_postgres_server",
    "postgres",
    "postgres_server",
    "postgres_template",
]

T = TypeVar("T")

WORKERS: Final = 4
"""Twice as many as there are processors where the limit of eight minutes holds: many tests wait for a while."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Ignored for whoever is started in the background by a shell, and by inheritance for whatever tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes run the tests: the one that is there for a few files, more for folders of them."""
    return WORKERS if any(Path(argument.partition("::")[0]).is_dir() for argument in config.args) else 0


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what goes to a worker thread in place, so that a mock clock decides every order."""

    async def run_sync(call: Callable[..., T], *arguments: object, **how: object) -> T:
        await trio.lowlevel.checkpoint()
        return call(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
