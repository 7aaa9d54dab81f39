"""Fixtures that give tests a real PostgreSQL; imported by the topmost conftest, so that every test can name them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.postgres.database import StateDatabase, prepare
from tests.postgres.server import PostgresServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[PostgresServer]:
    """A stopped server with the role `reader` and an empty state table, for others to copy."""
    with PostgresServer.make() as server:
        server.start()
        prepare(server)
        server.stop()
        yield server


@pytest.fixture(scope="session")
def postgres_server(postgres_template: PostgresServer) -> Iterator[PostgresServer]:
    """The server that all tests share: whoever breaks it, or changes its roles, takes `own_postgres_server`."""
    with postgres_template.copy() as server:
        yield server.start()


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[StateDatabase]:
    """A database of the test's own, with an empty state table, in the server that all tests share."""
    database = StateDatabase.create(postgres_server, f"state_{next(_numbers)}")
    try:
        with database.keeping_a_session() as kept:
            yield kept
    finally:
        database.drop()


@pytest.fixture
def own_postgres_server(postgres_template: PostgresServer) -> Iterator[PostgresServer]:
    """A server for one test, which may do with it what it likes."""
    with postgres_template.copy() as server:
        yield server.start()


@pytest.fixture
def own_postgres(own_postgres_server: PostgresServer) -> StateDatabase:
    """A database with an empty state table in a server that the test may break."""
    return StateDatabase.create(own_postgres_server, "state")
