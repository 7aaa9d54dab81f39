"""The kinds of change that a refresh has to find: how many rows, which, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from random import Random
from typing import Final

from benchmarks.state.generate import RefusalError
from benchmarks.state.shape import Shape
from benchmarks.state.stores import Store
from readyfs.demo.producer import LogicalPartition


class Where(StrEnum):
    """Which rows: all over the table, those of the newest days, or those of one customer."""

    SCATTERED = "scattered"
    NEWEST = "of the newest days"
    CUSTOMER = "of one customer"


class Act(StrEnum):
    """What becomes of them."""

    NOTHING = "nothing"
    SWITCH = "switch"
    RETRY = "retry"
    DELETE = "delete"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Change:
    """One kind of change."""

    key: str
    title: str
    act: Act
    count: int = 0
    where: Where = Where.SCATTERED

    def fits(self, shape: Shape, first: int) -> bool:
        """Return whether a table has enough rows for it, the first ones left out."""
        slots = shape.rows // shape.customers if self.where is Where.CUSTOMER else shape.rows
        return self.count * 2 <= slots - first


CHANGES: Final = (
    Change("none", "nothing changed, asked for", Act.NOTHING),
    Change("one", "1 row", Act.SWITCH, 1),
    Change("retry", "1 row, a retry that leaves updated_at", Act.RETRY, 1),
    Change("thousand", "1,000 rows, scattered", Act.SWITCH, 1000),
    Change("thousand-newest", "1,000 rows of the newest days", Act.SWITCH, 1000, Where.NEWEST),
    Change("thousand-customer", "1,000 rows of one customer", Act.SWITCH, 1000, Where.CUSTOMER),
    Change("many", "100,000 rows, scattered", Act.SWITCH, 100_000),
    Change("many-newest", "100,000 rows of the newest days", Act.SWITCH, 100_000, Where.NEWEST),
    Change("deleted", "1,000 rows deleted, scattered", Act.DELETE, 1000),
    Change("returned", "the same 1,000 rows inserted again", Act.RETURN, 1000),
)


@dataclass(slots=True)
class Changer:
    """Changes a store, turn by turn; rows before `first` stay as they are, for they have files."""

    store: Store
    shape: Shape
    first: int
    _turn: int = 0
    _deleted: tuple[int, ...] = ()

    def prepare(self, change: Change) -> tuple[LogicalPartition | None, Callable[[], None], Callable[[], None] | None]:
        """Return a partition that will show it, what commits it, and what mends the table where later turns do not."""
        self._turn += 1
        turn, positions = f"turn-{self._turn}", self._choose(change)
        keys = [self.shape.key(position) for position in positions]
        last = keys[-1] if keys else None

        match change.act:
            case Act.NOTHING:
                return None, lambda: None, None
            case Act.SWITCH:
                return last, lambda: self.store.switch(keys, turn), None
            case Act.RETRY:
                return last, lambda: self.store.requeue(keys), lambda: self.store.switch(keys, turn)
            case Act.DELETE:
                self._deleted = tuple(positions)
                return last, lambda: self.store.delete(keys), None
            case Act.RETURN:
                self._deleted = ()
                return last, lambda: self.store.insert([self.shape.row(position) for position in positions]), None

    def _choose(self, change: Change) -> Sequence[int]:
        if change.act is Act.RETURN:
            return self._deleted
        if not change.count:
            return ()
        shape, random = self.shape, Random(f"{change.key}/{self._turn}")
        if change.where is Where.NEWEST:
            candidates: Sequence[int] = range(shape.rows - 1, self.first - 1, -1)
        elif change.where is Where.CUSTOMER:
            slots, customer = shape.customers * shape.queries, random.randrange(shape.customers)
            days = range(0, shape.rows, slots)
            candidates = [
                day + customer * shape.queries + query
                for day in reversed(days)
                for query in range(shape.queries)
                if self.first <= day + customer * shape.queries + query < shape.rows
            ]
        else:
            # Enough that those which are not ready can be left out.
            wanted = min(change.count * 2 + 100, shape.rows - self.first)
            candidates = random.sample(range(self.first, shape.rows), wanted)
        chosen = list(islice(shape.ready_positions(candidates), change.count))
        if len(chosen) < change.count:
            raise RefusalError(f"{change.title}: only {len(chosen):,} rows can be changed")
        return chosen
