"""V15: one bad row is one bad row."""

from __future__ import annotations

import os

import pytest

from tests.mount.daemon import Place, in_each_layout, mounted, partition

BAD_DATES = ["yesterday", "2024-13-45", "2024-06", 3.5, b"\xff\xff", "", "2024-06-01T05:00:00", 99999999]


def test_rows_that_cannot_be_parsed_are_withheld_one_by_one(place: Place, engine: str) -> None:
    """V15: each is counted and logged once, escaped; every other row is served, and nothing is an outage."""
    place.producer.write_and_publish(partition(), "r1", b"good\n")
    for number, date in enumerate(BAD_DATES):
        place.insert("s1", f"bad\n{number}", "q1", date, "r1")
    place.insert("s1", "bad-time", "q1", "2024-06-01", "r1", updated_at="soon")
    with mounted(place, engine=engine) as daemon:
        assert os.listdir(daemon.path) == ["c1"]
        assert daemon.of(partition()).read_bytes() == b"good\n"
        assert daemon.withheld() == {"bad_row": len(BAD_DATES) + 1}
        assert daemon.status()["state_error"] is None
        assert len(daemon.events("row is withheld")) == len(BAD_DATES) + 1
        daemon.refresh()
        assert len(daemon.events("row is withheld")) == len(BAD_DATES) + 1
        assert any("bad\\n0" in str(line["row"]) for line in daemon.events("row is withheld"))


@in_each_layout
def test_row_that_becomes_bad_while_mounted_is_withheld_and_mended(place: Place, engine: str) -> None:
    """V15: a bad value that comes later retracts its row and nothing else, until it is mended."""
    part, other = partition(), partition(date="2024-06-02")
    for one in (part, other):
        place.producer.write_and_publish(one, "r1", b"x\n")
    with mounted(place, engine=engine) as daemon:
        place.change("UPDATE partition_state SET record_count = 'many' WHERE logical_date = '2024-06-01'")
        daemon.refresh()
        assert daemon.is_all(other)
        assert daemon.withheld() == {"bad_row": 1}
        place.change("UPDATE partition_state SET record_count = 7")
        daemon.refresh()
        assert daemon.is_all(part, other)
        assert os.getxattr(daemon.directory(part), "user.readyfs.record_count") == b"7"


def test_dates_of_every_type_are_one_name(place: Place, engine: str) -> None:
    """V15: what can be understood is: a date is shown as YYYY-MM-DD however it is stored."""
    dates = ["2024-06-01", "20240601", 20240601, "2024-06-01T00:00:00+00:00", "2024-06-01 00:00:00", b"2024-06-01"]
    for customer, date in enumerate(dates):
        place.producer.write_run(partition(customer=str(customer)), "34", b"%d\n" % customer)
        place.insert("s1", customer, "q1", date, 34)
    with mounted(place, engine=engine) as daemon:
        for customer in range(len(dates)):
            assert os.listdir(daemon.path / f"{customer}/q1") == ["2024-06-01"]
            assert daemon.of(partition(customer=str(customer))).read_bytes() == b"%d\n" % customer
        assert daemon.withheld() == {}


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+00:00"])
def test_time_that_cannot_be_shown_withholds_nothing(place: Place, engine: str, moment: str) -> None:
    """V15: `updated_at` is only shown, so that another end of time is shown for it; what follows goes on as ever."""
    place.producer.write_run(partition(), "r1", b"x\n")
    place.insert("s1", "c1", "q1", "2024-06-01", "r1", updated_at=moment)
    with mounted(place, engine=engine) as daemon:
        assert daemon.withheld() == {}
        assert daemon.of(partition()).read_bytes() == b"x\n"
        expected = 2**63 - 1 if moment > "2024" else 0
        assert daemon.directory(partition()).stat().st_mtime_ns == expected
        before = (daemon.path / "c1/q1").stat().st_mtime_ns
        place.producer.write_and_publish(partition(date="2024-06-02"), "r1", b"y\n")
        daemon.refresh()
        assert (daemon.path / "c1/q1").stat().st_mtime_ns > before
        assert daemon.of(partition(date="2024-06-02")).read_bytes() == b"y\n"
        assert os.getxattr(daemon.directory(partition()), "user.readyfs.updated_at")[:4] in (b"2262", b"1970")
