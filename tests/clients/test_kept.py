"""What query engines keep of a Parquet file that they have seen, when its partition switches to a longer run (V3).

What they keep is theirs, and docs/clients.md says so. That a new plan sees the new run is what the mount owes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import duckdb
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest

from tests.mount.daemon import Daemon, Place, mounted, partition

GROUP: Final = 20_000
SPOT: Final = partition()


def parquet(rows: int) -> bytes:
    """Return a file whose first rows lie where they lie in a longer one, so that an old footer fits it."""
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"number": range(rows)}), stream, row_group_size=GROUP)
    return stream.getvalue()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Daemon]:
    place = Place(tmp_path_factory.mktemp("kept"))
    place.producer.write_and_publish(SPOT, "before the tests", parquet(GROUP))
    with closing(place.producer), mounted(place, engine=engine) as found:
        yield found


def switch(daemon: Daemon, run: str, rows: int) -> str:
    """Give the partition a new run; return its path."""
    daemon.place.producer.write_and_publish(SPOT, run, parquet(rows))
    daemon.refresh()
    return str(daemon.of(SPOT))


def lazy_frame(path: str) -> Callable[[], int]:
    frame = polars.scan_parquet(path)
    return lambda: int(frame.select(polars.len()).collect().item())


def dataset(path: str) -> Callable[[], int]:
    found = pyarrow.dataset.dataset(path, format="parquet")
    return lambda: int(found.count_rows())


def view(path: str) -> Callable[[], int]:
    connection = duckdb.connect()
    connection.execute(f"CREATE VIEW seen AS FROM read_parquet('{path}')")

    def count() -> int:
        (rows,) = connection.execute("SELECT count(number) FROM seen").fetchone() or (-1,)
        return int(rows)

    return count


@pytest.mark.parametrize(
    ("plan", "keeps"), [(lazy_frame, True), (dataset, True), (view, False)], ids=["polars", "pyarrow", "duckdb"]
)
def test_plan_over_parquet_keeps_its_footers_or_follows(
    daemon: Daemon, plan: Callable[[str], Callable[[], int]], keeps: bool
) -> None:
    """V3: an old plan may count what it knows; a new one sees what is ready."""
    path = switch(daemon, f"{plan.__name__}-1", GROUP)
    count = plan(path)
    assert count() == GROUP
    switch(daemon, f"{plan.__name__}-2", 3 * GROUP)
    assert count() == (GROUP if keeps else 3 * GROUP)
    assert plan(path)() == 3 * GROUP
    assert Path(path).read_bytes() == parquet(3 * GROUP)
