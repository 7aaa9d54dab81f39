"""Looking at the state table of a server that has no inspector of its own: a real MariaDB."""

from __future__ import annotations

from readyfs.partition import parse_date
from readyfs.state.filters import Filters
from readyfs.state.inspect import open_inspector
from readyfs.state.store import StateTable
from tests.mariadb.database import RUN, MariadbDatabase
from tests.state.state_files import KEY, UPDATED_NS


def test_table_keys_rows_and_times_are_told(mariadb: MariadbDatabase) -> None:
    mariadb.put("2024-05-01", "2024-05-02 05:00:00")
    mariadb.put("2024-06-01", "2024-06-02 05:00:00.123456")
    mariadb.put("2024-06-02", "2024-06-02 05:00:00", status="failed")
    inspector = open_inspector(mariadb.url(), StateTable(), 5)
    assert inspector.dialect == "mariadb"
    assert inspector.columns()["current_run_id"] == "current_run_id"
    assert not inspector.is_view()
    key = ("source", "customer_id", "query_name", "logical_date")
    assert any(index.is_unique and index.columns == key for index in inspector.indexes())
    assert (inspector.count_rows(), inspector.newest()) == (3, UPDATED_NS)
    sample = inspector.sample(Filters(since=parse_date(b"2024-06-01")), rows=10)
    assert [(one.key.series, one.run_id) for one in sample] == [(KEY, RUN.encode())]
