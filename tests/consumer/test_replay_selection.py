"""What rows say of ready partitions, and what goes to the backlog instead."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from readyfs.consumer.cadence import DAILY, parse_cadence
from readyfs.consumer.replay.backlog import NotReady, find_missing, write_backlog
from readyfs.consumer.replay.selection import RawPlaces, Selection, select_beside_view, select_rows
from readyfs.errors import FailedError
from readyfs.layout import RawLayout
from readyfs.partition import NOT_SET, PartitionStatus, SeriesKey, WithheldReason
from readyfs.state.reader import StateRow
from tests.consumer.replay_targets import key, target

SERIES = SeriesKey(b"s1", b"c1", b"q1")


def ordinal(day: int) -> int:
    return datetime.date(2024, 6, day).toordinal()


def row(day: int | None, status: PartitionStatus = PartitionStatus.READY, run_id: bytes = b"r1") -> StateRow:
    date = None if day is None else ordinal(day)
    return StateRow(SERIES, date, status, status.value, run_id, NOT_SET, NOT_SET, None, None, NOT_SET)


def select(*rows: StateRow) -> Selection:
    places = RawPlaces(b"/raw", RawLayout.parse())
    return select_rows(rows, ordinal(2), ordinal(9), places.refuse)


def statuses(selection: Selection) -> list[tuple[int | None, str, str]]:
    return [(one.date, str(one.status), one.detail) for one in selection.not_ready]


def test_two_ready_rows_of_one_key_are_both_withheld() -> None:
    found = select(row(2), row(2, run_id=b"r2"), row(3))
    assert found.ready == [target("2024-06-03")]
    assert statuses(found) == [(ordinal(2), "withheld", "ambiguous_path")]


def test_one_ready_row_beside_others_of_its_key_counts() -> None:
    assert select(row(2, PartitionStatus.FAILED), row(2, run_id=b"r2")).ready == [target("2024-06-02", b"r2")]


def test_run_without_a_place_is_withheld() -> None:
    found = select(row(2, run_id=b"a/b"))
    assert (found.ready, statuses(found)) == (
        [],
        [(ordinal(2), "withheld", "unusable_raw_path: run_id holds a slash or NUL")],
    )


def test_row_without_a_date_is_listed_and_other_dates_are_not() -> None:
    bad = row(None, PartitionStatus.WITHHELD)._replace(withheld=WithheldReason.BAD_ROW, detail="no date")
    found = select(bad, row(1), row(2), row(10, PartitionStatus.FAILED))
    assert statuses(found) == [(None, "withheld", "bad_row: no date")]
    assert found.seen == {SERIES: {ordinal(2)}}


def test_missing_are_expected_dates_of_which_nothing_was_seen() -> None:
    other = SeriesKey(b"s1", b"c2", b"q1")
    seen = {SERIES: {ordinal(3), ordinal(5)}, other: set[int]()}

    def missing(*arguments: object, cadence: str = "daily") -> list[tuple[bytes, int]]:
        found = find_missing(seen, parse_cadence(cadence), *arguments)  # type: ignore[arg-type]
        return [(one.series.customer_id, (one.date or 0) - ordinal(1) + 1) for one in found]

    assert missing(None, ordinal(6)) == [(b"c1", 4), (b"c1", 6)]
    assert missing(ordinal(2), ordinal(3)) == [(b"c1", 2), (b"c2", 2), (b"c2", 3)]
    assert missing(None, ordinal(10), cadence="weekly:MON") == [(b"c1", 10)]
    assert list(find_missing({SERIES: {ordinal(5)}}, DAILY, None, ordinal(2))) == []


def test_view_decides_what_is_ready_and_rows_explain_the_rest() -> None:
    shown = Selection(ready=[target("2024-06-02"), target("2024-06-03")], seen={SERIES: {ordinal(2), ordinal(3)}})
    rows = select(row(2, PartitionStatus.PENDING), row(3, run_id=b"r2"), row(4), row(5, PartitionStatus.FAILED))
    found = select_beside_view(rows, shown)
    assert found.ready == [target("2024-06-02"), target("2024-06-03")]
    assert sorted(statuses(found), key=str) == [
        (ordinal(4), "ready", "it is not in the view: it came later, or two rows claim its path"),
        (ordinal(5), "failed", ""),
    ]
    assert found.seen == {SERIES: {ordinal(day) for day in (2, 3, 4, 5)}}


def test_backlog_is_replaced_in_one_step(tmp_path: Path) -> None:
    backlog = tmp_path / "backlog"
    entries = [NotReady(SeriesKey(b"s", b"c\xff", b"q"), key().date, PartitionStatus.FAILED, "why", b"r")]
    assert write_backlog(backlog, entries) == 1
    before = backlog.read_bytes()
    assert json.loads(before)["status"] == "failed"

    def fails() -> object:
        yield entries[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(FailedError, match=r"cannot write the backlog .*: No space left on device"):
        write_backlog(backlog, fails())  # type: ignore[arg-type]
    assert backlog.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["backlog"]
