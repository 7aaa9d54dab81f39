"""Random histories of a state table, held against a dictionary; the stores' tests say where the table is."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from readyfs.partition import NOT_SET, SeriesKey, WithheldReason
from tests.state.comparing import Contents, Follower

NOW_NS = 1_717_304_400_123_456_000
NOW = "2024-06-02T05:00:00.123456+00:00"
NEVER = "infinity"
CUSTOMERS = ("c0", "c1", "c2", "", "é\x1f")
DAYS = ("2024-01-01", "2024-01-02", "2024-12-31", NEVER)

Key: TypeAlias = tuple[str, str]


class Value(NamedTuple):
    """What a row says beside its key."""

    status: str
    run: str | None
    records: int | None
    version: str | None


KEYS = st.tuples(st.sampled_from(CUSTOMERS), st.sampled_from(DAYS))
VALUES = st.builds(
    Value,
    st.sampled_from(("success", "success", "success", "pending")),
    st.sampled_from(("r1", "r2", "r3", "1", "2", "", None)),
    st.sampled_from((0, 7, None)),
    st.sampled_from(("1", "2", None)),
)


def literal(value: object) -> str:
    """Return a value as SQL."""
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def where(key: Key) -> str:
    """Return the condition of a row."""
    return f"customer_id = {literal(key[0])} AND logical_date = {literal(key[1])}"


def upsert(key: Key, value: Value) -> str:
    """Return the statement that writes a row."""
    return (
        "INSERT INTO partition_state (source, customer_id, query_name, logical_date, status, current_run_id, "
        "record_count, schema_version, updated_at) VALUES "
        f"('s', {literal(key[0])}, 'q', {literal(key[1])}, {', '.join(map(literal, value))}, '{NOW}') "
        "ON CONFLICT (source, customer_id, query_name, logical_date) DO UPDATE SET status = excluded.status, "
        "current_run_id = excluded.current_run_id, record_count = excluded.record_count, "
        "schema_version = excluded.schema_version"
    )


class ChangeMachine(RuleBasedStateMachine):
    """Changes of one session, any number of them between two loads."""

    def __init__(self, follower: Follower, execute: Callable[[str], object]) -> None:
        super().__init__()
        self.follower = follower
        self.execute = execute
        self.rows: dict[Key, Value] = {}

    @rule(key=KEYS, value=VALUES)
    def set_row(self, key: Key, value: Value) -> None:
        """Write a row."""
        self.execute(upsert(key, value))
        self.rows[key] = value

    @rule(day=st.sampled_from(DAYS), value=VALUES)
    def set_day(self, day: str, value: Value) -> None:
        """Write the rows of all customers."""
        for customer in CUSTOMERS:
            self.set_row((customer, day), value)

    @rule(key=KEYS)
    def delete(self, key: Key) -> None:
        """Delete a row."""
        self.execute(f"DELETE FROM partition_state WHERE {where(key)}")
        self.rows.pop(key, None)

    @rule(customer=st.sampled_from(CUSTOMERS))
    def delete_customer(self, customer: str) -> None:
        """Delete the rows of a customer."""
        self.execute(f"DELETE FROM partition_state WHERE customer_id = {literal(customer)}")
        self.rows = {key: value for key, value in self.rows.items() if key[0] != customer}

    @rule(one=KEYS, other=KEYS)
    def replace(self, one: Key, other: Key) -> None:
        """Give a row the key of another one."""
        if one == other or one not in self.rows:
            return
        self.delete(other)
        self.execute(
            f"UPDATE partition_state SET customer_id = {literal(other[0])}, logical_date = {literal(other[1])} "
            f"WHERE {where(one)}"
        )
        self.rows[other] = self.rows.pop(one)

    @rule(key=KEYS)
    def rewrite(self, key: Key) -> None:
        """Delete a row and write it again as it was."""
        value = self.rows.get(key)
        if value is not None:
            self.delete(key)
            self.set_row(key, value)

    @rule()
    def load(self) -> None:
        """Load what changed and compare."""
        load = self.follower.check()
        assert self.follower.held == self.expected()
        counts = Counter(reason for reason in map(self.withheld, self.rows.items()) if reason is not None)
        assert load.withheld.counts == counts

    @precondition(lambda self: self.rows)
    @rule()
    def load_anew(self) -> None:
        """Compare the next load with nothing."""
        self.follower.store.start_over()

    @staticmethod
    def withheld(row: tuple[Key, Value]) -> WithheldReason | None:
        """Tell why a row is ready and not served."""
        (_, day), value = row
        if value.status != "success":
            return None
        if day == NEVER:
            return WithheldReason.BAD_ROW
        return None if value.run else WithheldReason.NO_RUN_ID

    def expected(self) -> Contents:
        """Return the rows that are to be served."""
        found: Contents = {}
        for (customer, day), value in self.rows.items():
            if value.status == "success" and value.run and day != NEVER:
                row = (
                    datetime.date.fromisoformat(day).toordinal(),
                    value.run.encode(),
                    NOW_NS,
                    NOT_SET if value.records is None else value.records,
                    None if value.version is None else value.version.encode(),
                )
                found.setdefault(SeriesKey(b"s", customer.encode(), b"q"), []).append(row)
        return {key: sorted(rows, key=repr) for key, rows in found.items()}

    def teardown(self) -> None:
        """Load once more and empty the table."""
        self.load()
        self.execute("DELETE FROM partition_state")
        self.rows = {}
        self.load()
