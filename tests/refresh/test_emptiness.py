"""Explaining an empty catalog: when the table is asked, and what is said."""

from __future__ import annotations

from readyfs.errors import StateError
from readyfs.partition import WithheldReason, WithheldTally
from readyfs.refresh.emptiness import ASK_AGAIN_S, EmptinessWatch
from readyfs.state.survey import StatusSurvey


class Table:
    """A table that counts how often it is asked; `now_s` is the time."""

    def __init__(self, rows: int = 0, ready: int = 0) -> None:
        self.rows, self.ready = rows, ready
        self.asked = 0
        self.now_s = 0.0
        self.is_down = False
        self.watch = EmptinessWatch(self.survey, "success", lambda: self.now_s)

    def survey(self) -> StatusSurvey:
        self.asked += 1
        if self.is_down:
            raise StateError("it took too long", "")
        return StatusSurvey("status", "text", self.rows, self.ready, (("'done'", self.rows),) if self.rows else ())

    def cause(self, partitions: int = 0, rows: int = 0, withheld: WithheldTally | None = None) -> str | None:
        found = self.watch.explain(partitions, rows, withheld or WithheldTally())
        return None if found is None else found.cause


def test_table_is_asked_once_while_nothing_becomes_ready() -> None:
    table = Table(rows=7)
    assert len({table.cause() for _ in range(5)}) == 1
    assert table.asked == 1
    table.now_s = ASK_AGAIN_S
    table.cause()
    assert table.asked == 2
    assert table.cause(partitions=1, rows=1) is None
    table.cause()
    assert table.asked == 3


def test_empty_table_needs_no_explanation_and_is_asked_again() -> None:
    table = Table()
    assert [table.cause(), table.cause()] == [None, None]
    table.rows = 3
    assert (
        table.cause() == "0 of 3 rows are ready: column status (text) holds 'done' (3), and --ready-status is 'success'"
    )
    assert table.asked == 3


def test_table_that_cannot_be_counted_in_time_is_not_asked_at_each_refresh() -> None:
    table = Table()
    table.is_down = True
    assert table.cause() == table.cause()
    assert table.asked == 1
    assert "could not be counted: it took too long" in str(table.cause())


def test_filters_that_leave_nothing_are_no_fault() -> None:
    table = Table(rows=9, ready=4)
    found = table.watch.explain(0, 0, WithheldTally())
    assert found is not None
    assert (found.cause, found.is_fault) == ("the filters leave none of 4 ready rows", False)


def test_withheld_rows_are_counted_by_reason_without_asking() -> None:
    table, tally = Table(), WithheldTally()
    tally.add(WithheldReason.BAD_ROW, "ads/c/q/x", "logical_date is not a date: 'x'")
    tally.add(WithheldReason.NO_RUN_ID, "ads/c/q/2024-06-01", "the row is ready and has no run id")
    assert table.cause(rows=2, withheld=tally) == (
        "0 of 2 ready rows are shown, all are withheld: bad_row 1, no_run_id 1; the first is ads/c/q/x: "
        "logical_date is not a date: 'x'"
    )
    assert table.asked == 0


def test_words_beyond_those_listed_are_counted_together() -> None:
    survey = StatusSurvey("st", "", 1_204_332, 0, (("'true'", 1_200_000), ("NULL", 4_000)))
    assert survey.describe("suc\ncess") == (
        "0 of 1,204,332 rows are ready: column st (of no declared type) holds 'true' (1,200,000), NULL (4,000), "
        "other words (332), and --ready-status is 'suc\\ncess'"
    )
