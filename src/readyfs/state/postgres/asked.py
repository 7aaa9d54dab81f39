"""Asking a PostgreSQL server for facts, any of which it may withhold (`functions` has them).

All are asked for in one statement. Only if that fails is each asked for by itself, and the ways that work are
remembered. A function that is granted later is noticed: everything is tried again on each new connection, and every
`RETRY_S`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
import structlog

from readyfs.state.postgres.connection import PostgresConnection, is_of_statement
from readyfs.state.postgres.functions import Fact, join_losses

RETRY_S: Final = 600.0
"""A function that fails leaves a line in the server's log each time that it is tried."""

_log = structlog.get_logger("readyfs.state")


class Asker:
    """Asks one server for facts; kept for as long as the store, so that losses are told once."""

    def __init__(self, label: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._now_s = now_s
        self._way: dict[str, int] = {}
        self._tried_s = now_s()
        self._told: dict[Sequence[Fact], tuple[Fact, ...]] = {}

    def start_over(self) -> None:
        """Try everything again, as on a connection that is new."""
        self._way.clear()
        self._tried_s = self._now_s()

    def look(self, connection: PostgresConnection, facts: Sequence[Fact]) -> tuple[bytes | None, ...] | None:
        """Return the facts by a transaction of its own, in one message; None if that does not work any more."""
        self._age()
        try:
            return connection.look(f"SELECT {', '.join(map(self._expression, facts))}")
        except psycopg.Error as error:
            if connection.is_broken or not is_of_statement(error):
                raise
            return None

    def ask(
        self,
        connection: PostgresConnection,
        facts: Sequence[Fact],
        statement: str,
        alone: str,
        parameters: Sequence[object] = (),
    ) -> tuple[Any, ...]:
        """Return the only row of a statement that asks for facts, within the connection's transaction.

        `statement` has each fact's name in braces; `alone` has `{fact}` in the place of one fact and takes the same
        parameters.
        """
        self._age()
        try:
            with connection.attempt():
                row = connection.row(self._fill(statement, facts), parameters)
        except psycopg.Error as error:
            if connection.is_broken or not is_of_statement(error):
                raise
            for fact in facts:
                self._way[fact.name] = self._find_way(connection, fact, alone, parameters)
            try:
                row = connection.row(self._fill(statement, facts), parameters)
            except psycopg.Error:
                self.start_over()  # something else is wrong, and no way was tried fairly
                raise
        self._tell(facts)
        return row

    def _age(self) -> None:
        if self._way and self._now_s() - self._tried_s >= RETRY_S:
            self.start_over()

    def _expression(self, fact: Fact) -> str:
        number = self._way.get(fact.name, 0)
        return fact.ways[number] if number < len(fact.ways) else fact.worst

    def _fill(self, statement: str, facts: Sequence[Fact]) -> str:
        for fact in facts:
            statement = statement.replace("{" + fact.name + "}", self._expression(fact))
        return statement

    def _find_way(self, connection: PostgresConnection, fact: Fact, alone: str, parameters: Sequence[object]) -> int:
        """Return the number of the first way that works, and how many there are if none does."""
        for number, way in enumerate(fact.ways):
            try:
                with connection.attempt():
                    connection.rows(alone.replace("{fact}", way), parameters)
            except psycopg.Error as error:
                if connection.is_broken or not is_of_statement(error):
                    raise
            else:
                return number
        return len(fact.ways)

    def _tell(self, facts: Sequence[Fact]) -> None:
        """Log what cannot be had, once for as long as that is so."""
        missing = tuple(fact for fact in facts if self._way.get(fact.name, 0) >= len(fact.ways))
        if missing == self._told.get(facts, ()):
            return
        self._told[facts] = missing
        if missing:
            _log.warning(
                "the server does not tell all that readyfs asks for",
                store=self._label,
                functions=[function for fact in missing for function in fact.functions],
                lost=join_losses(missing),
            )
        else:
            _log.info("the server tells again what readyfs asks for", store=self._label)
