"""A world in which every partition changes every 50 ms, in two layouts, and what was ready at each of its moments.

A client plans over a tree, everything flips, and then the client reads. What it owes is the rows of one moment. The
world goes round through a few *steps*. From one step to the next each partition becomes longer, becomes shorter,
vanishes, or appears with another run.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import orjson
import pyarrow
import pyarrow.parquet

from tests.clients.conftest import HIVE_LAYOUT
from tests.mount.daemon import Daemon, Place, mounted, partition, wait_until

PARQUET_NAME: Final = "rows.parquet"
"""Beside the payload of each run: the same rows."""
PERIOD_S: Final = 0.05
STEPS: Final = 8
PARTITIONS: Final = tuple(
    partition(customer, query, date)
    for customer in ("0012345678", "0098765432")
    for query in ("campaign_daily", "keyword_daily")
    for date in ("2024-06-01", "2024-06-02", "2024-06-03")
)
_ROWS_BY_PHASE: Final = (20, 60, 5, 0)
"""What a partition goes through: longer, shorter, vanished, new."""


class Row(NamedTuple):
    """One record: the partition that it is in, and a number that no other record of any run has."""

    customer_id: str
    query_name: str
    logical_date: str
    clicks: int


def rows_of(index: int, step: int) -> list[Row]:
    """Return the records of one partition at one step; none where it is not ready."""
    part = PARTITIONS[index]
    count = _ROWS_BY_PHASE[(index + step) % len(_ROWS_BY_PHASE)]
    first = (index * STEPS + step) * 1000
    return [Row(*part[1:], first + number) for number in range(count)]


def truth_at(step: int) -> list[Row]:
    """Return all records that are ready at one step, in order."""
    return sorted(row for index in range(len(PARTITIONS)) for row in rows_of(index, step))


def payload_of(rows: Sequence[Row]) -> bytes:
    """Return records as lines of JSON; what stands in the path is not in them."""
    return b"".join(orjson.dumps({"clicks": row.clicks, "text": "x" * 20}) + b"\n" for row in rows)


def parquet_of(rows: Sequence[Row]) -> bytes:
    """Return records as a Parquet file, in groups small enough that the footer of another run may fit."""
    stream = io.BytesIO()
    table = pyarrow.table({"clicks": [row.clicks for row in rows], "text": ["x" * 20 for _ in rows]})
    pyarrow.parquet.write_table(table, stream, row_group_size=10)
    return stream.getvalue()


@dataclass(slots=True)
class Flips:
    """The world, its mounts, and the thread that goes from step to step."""

    mounts: dict[str, Daemon]
    """By layout."""
    step: int = 0
    count: int = 0
    """How many flips there were."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ending: threading.Event = field(default_factory=threading.Event)
    _trouble: list[BaseException] = field(default_factory=list)

    def flip(self) -> None:
        """Go to the next step, and return once both mounts show it."""
        with self._lock:
            self._go_to((self.step + 1) % STEPS)

    @contextmanager
    def held(self) -> Iterator[list[Row]]:
        """Let nothing flip during the body, which gets what is ready meanwhile."""
        with self._lock:
            yield truth_at(self.step)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Flip again and again during the body."""
        self._ending.clear()
        thread = threading.Thread(target=self._go_on, name="flips")
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join()
        assert not self._trouble, self._trouble

    def wait_for(self, count: int) -> None:
        """Return once there were so many flips more."""
        enough = self.count + count
        wait_until(lambda: self.count >= enough or bool(self._trouble), f"{count} flips")

    def _go_on(self) -> None:
        try:
            due = time.monotonic() + PERIOD_S
            # Whoever waits to hold the world gets his turn, even where flips take longer than that.
            while not self._ending.wait(max(due - time.monotonic(), PERIOD_S / 5)):
                due += PERIOD_S
                self.flip()
        except BaseException as error:  # noqa: BLE001  # told by `going_on`, in the thread of the test
            self._trouble.append(error)

    def _go_to(self, step: int) -> None:
        producer = self.mounts["plain"].place.producer
        with producer.one_transaction():
            for index, part in enumerate(PARTITIONS):
                rows = rows_of(index, step)
                if rows:
                    producer.set_ready(part, f"r{step}", record_count=len(rows))
                else:
                    producer.fail(part)
        for daemon in self.mounts.values():
            daemon.refresh()
        self.step = step
        self.count += 1


def write_runs(place: Place) -> None:
    """Write every run that any step shows, so that a flip changes rows of the state table only."""
    for step in range(STEPS):
        for index, part in enumerate(PARTITIONS):
            rows = rows_of(index, step)
            if rows:
                run = place.producer.begin_run(part, f"r{step}", payload_of(rows))
                (run.directory / PARQUET_NAME).write_bytes(parquet_of(rows))
                place.producer.seal_run(run)


@contextmanager
def flipping(base: Path, engine: str) -> Iterator[Flips]:
    """Make the world and mount it in both layouts, at its first step."""
    with ExitStack() as stack:
        place = Place(base)
        stack.enter_context(closing(place.producer))
        write_runs(place)
        plain = stack.enter_context(mounted(place, engine=engine))
        (base / "hive").mkdir()
        other = Place(base / "hive")
        stack.enter_context(closing(other.producer))
        same = ("--state", str(place.state), "--raw", str(place.raw))
        hive = stack.enter_context(mounted(other, *same, "--layout", HIVE_LAYOUT, engine=engine))
        flips = Flips({"plain": plain, "hive": hive})
        flips.flip()
        yield flips
