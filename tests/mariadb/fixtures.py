"""Fixtures that give tests a real MariaDB; imported by the topmost conftest, so that every test can name them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.mariadb.database import MariadbDatabase
from tests.mariadb.server import MariadbServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """The server that all tests share: whoever stops it starts it again."""
    with MariadbServer() as server:
        yield server.start()


@pytest.fixture
def mariadb(mariadb_server: MariadbServer) -> Iterator[MariadbDatabase]:
    """A database of the test's own, with an empty state table."""
    database = MariadbDatabase.create(mariadb_server, f"state_{next(_numbers)}")
    try:
        yield database
    finally:
        database.drop()
