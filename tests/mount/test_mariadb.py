"""V3 and V11 on a real MariaDB, which has no row versions: what a watermark shows, and what a refresh adds."""

from __future__ import annotations

from tests.mariadb.database import MariadbDatabase
from tests.mount.daemon import Place, mounted, partition, wait_until


def set_row(database: MariadbDatabase, date: str, run: str, updated_at: str) -> None:
    """Write the row of a date of the partition that tests use by default."""
    source, customer, query, _ = partition()
    database.put(date, updated_at, source=source, customer_id=customer, query_name=query, current_run_id=run)


def test_mariadb_is_served_and_a_refresh_finds_what_moved_no_time(place: Place, mariadb: MariadbDatabase) -> None:
    first, second = partition(), partition(date="2024-06-02")
    place.producer.write_run(first, "r1", b"one\n")
    place.producer.write_run(first, "r2", b"two\n")
    place.producer.write_run(second, "r1", b"new\n")
    set_row(mariadb, "2024-06-01", "r1", "2024-06-02 05:00:00")
    with mounted(place, "--state", mariadb.url(), "--interval", "100ms", "--full-interval", "1h") as daemon:
        assert daemon.of(first).read_bytes() == b"one\n"
        set_row(mariadb, "2024-06-02", "r1", "2024-06-02 06:00:00")
        wait_until(daemon.of(second).exists, "what the timer finds appears")
        assert daemon.of(second).read_bytes() == b"new\n"
        set_row(mariadb, "2024-06-01", "r2", "2024-06-02 04:00:00")
        daemon.refresh()
        assert daemon.of(first).read_bytes() == b"two\n"
        mariadb.execute("DELETE FROM partition_state WHERE logical_date = '2024-06-02'")
        wait_until(lambda: not daemon.of(second).exists(), "a deletion is seen")
