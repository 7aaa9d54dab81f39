"""Fixtures of tests in several folders."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

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


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what goes to a worker thread in place, so that a mock clock decides every order."""

    async def run_sync(call: Callable[..., T], *arguments: object, **how: object) -> T:
        await trio.lowlevel.checkpoint()
        return call(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
