"""DuckDB: one query that counts and adds up every record of the tree."""

from __future__ import annotations

from benchmarks.work.timing import Timing, timed
from benchmarks.work.view import View

# Named columns spare the guess at a schema, which opens files twice; the raw store's directory names would be columns.
_QUERY = """
SELECT count(*) + sum(clicks) FROM read_json($files, hive_partitioning = false,
    columns = {customer_id: 'VARCHAR', clicks: 'BIGINT', cost_micros: 'BIGINT'})
"""


def duckdb(view: View) -> Timing:
    """Count and add up in a new connection; the count is the query's answer."""
    import duckdb

    files = view.payloads()
    with duckdb.connect() as connection:

        def query() -> int:
            row = connection.execute(_QUERY, {"files": files}).fetchone()
            assert row is not None
            return int(row[0])

        return timed(query)
