"""Which dates are late: each is judged by its own end, and nothing alarms that nobody stated."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.consumer.agreement import Judge, Verdict
from readyfs.consumer.cadence import parse_cadence
from readyfs.consumer.deadline import parse_deadline
from readyfs.consumer.expected import Expectations, ExpectedSeries
from readyfs.consumer.gaps import SeriesGaps, find_gaps
from readyfs.consumer.known import KnownGap, KnownGaps
from readyfs.partition import PartitionStatus, SeriesKey, WithheldReason, render_date
from readyfs.state.filters import Filters
from readyfs.state.reader import SeriesDays
from tests.consumer.days import SERIES, UTC, between, day, days_of, hours, judge, row

PENDING, FAILED = PartitionStatus.PENDING, PartitionStatus.FAILED
REPROCESSING, WITHHELD = PartitionStatus.REPROCESSING, PartitionStatus.WITHHELD


def found(
    days: SeriesDays, by: Judge, expectations: Expectations | None = None, known: KnownGaps | None = None
) -> SeriesGaps:
    [one] = find_gaps([days], by, expectations or Expectations(), known or KnownGaps())
    return one


def shown(one: SeriesGaps) -> list[str]:
    """Return the gaps as texts: what, verdict, from, to, how many."""
    texts = []
    for gap in one.gaps:
        span = "..".join(dict.fromkeys(render_date(date).decode()[5:] for date in (gap.first, gap.last)))
        mark = " known" if gap.known else " guessed" if gap.guessed else ""
        texts.append(f"{gap.status} {gap.verdict} {span} {gap.dates}{mark}")
    return texts


def test_a_date_is_late_by_its_own_end_however_new_the_last_update_is() -> None:
    # A backfill of an old date moved the newest update; the yesterday that is missing is missing all the same.
    days = days_of(between("06-01", "06-09"))
    at_night = judge("06-11T23:59")
    assert (shown(found(days, at_night)), found(days, at_night).expected) == ([], 9)
    assert shown(found(days, judge("06-12T00:00"))) == ["missing warn 06-10 1"]
    assert shown(found(days, judge("06-12T12:00"))) == ["missing error 06-10 1"]
    assert shown(found(days, judge("06-13T00:00"))) == ["missing error 06-10 1", "missing warn 06-11 1"]


def test_the_day_ends_in_its_zone() -> None:
    days = days_of(between("06-01", "06-09"))
    berlin = ZoneInfo("Europe/Berlin")
    assert shown(found(days, judge("06-11T21:59", zone=berlin))) == []
    assert shown(found(days, judge("06-11T22:00", zone=berlin))) == ["missing warn 06-10 1"]


@pytest.mark.parametrize("status", [PENDING, FAILED, WITHHELD])
def test_rows_that_are_not_ready_are_late_as_what_they_are(status: PartitionStatus) -> None:
    days = days_of(between("06-01", "06-09"), row("06-10", status, "06-12T11:59", message="quota"))
    one = found(days, judge("06-12T12:00"))
    assert shown(one) == [f"{status} error 06-10 1"]
    assert one.gaps[0].detail == "quota"


def test_dates_are_grouped_by_what_they_are_and_counted() -> None:
    days = days_of(
        between("06-01", "06-20", "06-03", "06-04", "06-05", "06-06", "06-08", "06-19", "06-20"),
        row("06-05", FAILED),
        row("06-06", FAILED),
        row("06-19", PENDING),
    )
    one = found(days, judge("06-21T12:00"))
    assert shown(one) == [
        "missing error 06-03..06-04 2",
        "failed error 06-05..06-06 2",
        "missing error 06-08 1",
        "pending error 06-19 1",
    ]
    assert (one.verdict, one.first_gap, one.count(Verdict.ERROR), one.count(Verdict.WARN)) == (
        *(Verdict.ERROR, day("06-03"), 6, 0),
    )
    assert (one.ready, one.expected, one.complete) == (13, 19, 13 / 19)


def test_dates_in_a_row_are_those_of_the_cadence() -> None:
    mondays = [day("05-06"), day("05-13")]
    one = found(days_of(mondays), judge("06-12T12:00", cadence="weekly:MON"))
    assert shown(one) == ["missing error 05-20..06-10 4"]
    fridays = [day("06-06"), day("06-11")]
    assert shown(found(days_of(fridays), judge("06-20T12:00", cadence="weekdays")))[0] == "missing error 06-07..06-10 2"


def test_a_row_that_nobody_expects_is_judged_as_it_is_there() -> None:
    # A pending Saturday under weekdays: the pipeline has begun it, and the contract alerts on what stays pending.
    days = days_of(between("06-03", "06-07"), row("06-08", PENDING))
    assert shown(found(days, judge("06-10T12:00", cadence="weekdays"))) == ["pending error 06-08 1"]


def test_only_the_second_threshold_alarms_where_only_it_is_given() -> None:
    days = days_of(between("06-01", "06-09"))
    assert shown(found(days, judge("06-12T11:59", error=hours(36)))) == []
    assert shown(found(days, judge("06-12T12:00", error=hours(36)))) == ["missing error 06-10 1"]
    assert shown(found(days, judge("06-30T12:00", warn=hours(24), last="06-10"))) == ["missing warn 06-10 1"]


def test_a_deadline_on_the_clock_is_kept_across_both_changes_of_clocks() -> None:
    nine = parse_deadline("09:00", ZoneInfo("Europe/Berlin"), UTC)
    for last_ready, before, after, late in (
        ("03-29", "03-31T06:59", "03-31T07:00", "03-30"),
        ("10-25", "10-27T07:59", "10-27T08:00", "10-26"),
    ):
        days = days_of(between("03-01", last_ready))
        assert shown(found(days, judge(before, error=nine))) == []
        assert shown(found(days, judge(after, error=nine))) == [f"missing error {late} 1"]


@pytest.mark.parametrize(("now", "due"), [("03-31T01:29", False), ("03-31T01:30", True)])
def test_a_deadline_in_the_hour_that_is_skipped_is_told_by_the_offset_of_before(now: str, due: bool) -> None:
    skipped = parse_deadline("02:30", ZoneInfo("Europe/Berlin"), UTC)
    assert bool(found(days_of(between("03-01", "03-29")), judge(now, error=skipped)).gaps) is due


@pytest.mark.parametrize(("now", "due"), [("10-27T00:29", False), ("10-27T00:30", True)])
def test_a_deadline_in_the_hour_that_comes_twice_is_the_first(now: str, due: bool) -> None:
    doubled = parse_deadline("02:30", ZoneInfo("Europe/Berlin"), UTC)
    assert bool(found(days_of(between("10-01", "10-25")), judge(now, error=doubled)).gaps) is due


# ---- guesses ------------------------------------------------------------------------------------------------------


def test_a_guess_never_alarms() -> None:
    days = days_of(between("06-01", "06-20", "06-10"))
    one = found(days, judge("06-30T12:00", cadence=None))
    assert one.verdict is Verdict.PASS
    assert (one.cadence and one.cadence.text, one.guessed, one.first_gap) == ("daily", True, None)
    assert shown(one) == ["missing pass 06-10 1 guessed", "missing pass 06-21..06-28 8 guessed"]
    assert (one.guessed_dates, one.count(Verdict.ERROR)) == (9, 0)


def test_rows_alarm_though_the_cadence_is_a_guess() -> None:
    days = days_of(between("06-01", "06-09"), row("06-10", FAILED))
    assert shown(found(days, judge("06-12T12:00", cadence=None))) == ["failed error 06-10 1"]


def test_nothing_is_missing_where_nothing_can_be_guessed() -> None:
    one = found(days_of([day("06-01"), day("06-05")]), judge("06-12T12:00", cadence=None))
    assert (one.gaps, one.expected, one.complete, one.cadence) == ((), 0, None, None)


# ---- reprocessing -------------------------------------------------------------------------------------------------


def test_a_partition_that_is_reprocessed_is_judged_from_the_later_of_its_end_and_its_update() -> None:
    requeued = days_of(between("06-01", "06-09", "06-03"), row("06-03", REPROCESSING, "06-11T10:00"))
    assert shown(found(requeued, judge("06-11T12:00"))) == []
    assert shown(found(requeued, judge("06-12T09:59", last="06-09"))) == []
    assert shown(found(requeued, judge("06-12T10:00", last="06-09"))) == ["reprocessing warn 06-03 1"]
    early = days_of(between("06-01", "06-09"), row("06-10", REPROCESSING, "06-09T10:00"))
    assert shown(found(early, judge("06-11T23:59"))) == []
    assert shown(found(early, judge("06-12T00:00"))) == ["reprocessing warn 06-10 1"]


def test_a_requeue_that_did_not_touch_the_row_is_warned_of_and_never_alarmed_at_once() -> None:
    # The producer promises nothing of updated_at at a requeue: this one may have been a minute ago.
    requeued = days_of(between("01-01", "06-10", "03-01"), row("03-01", REPROCESSING, "03-02T05:00"))
    assert shown(found(requeued, judge("06-12T12:00"))) == ["reprocessing warn 03-01 1"]


def test_a_partition_that_is_reprocessed_alarms_after_the_time_that_was_agreed_for_it() -> None:
    requeued = days_of(between("06-01", "06-20", "06-03"), row("06-03", REPROCESSING, "06-11T10:00"))
    assert shown(found(requeued, judge("06-14T09:59", reprocessing=hours(72)))) == ["reprocessing warn 06-03 1"]
    assert shown(found(requeued, judge("06-14T10:00", reprocessing=hours(72)))) == ["reprocessing error 06-03 1"]


def test_a_time_that_no_clock_shows_does_not_keep_anybody_from_being_warned() -> None:
    # PostgreSQL's infinity is read as a time in the year 2262.
    requeued = days_of(between("06-01", "06-09"), row("06-10", REPROCESSING, "2262-04-11T23:47"))
    assert shown(found(requeued, judge("06-12T12:00"))) == ["reprocessing warn 06-10 1"]
    ahead = days_of(between("06-01", "06-09"), row("06-10", REPROCESSING, "06-12T12:01"))
    assert shown(found(ahead, judge("06-12T12:00", reprocessing=hours(1)))) == []


def test_a_partition_that_is_reprocessed_without_a_time_is_judged_from_its_end() -> None:
    requeued = days_of(between("06-01", "06-09"), row("06-10", REPROCESSING))
    assert shown(found(requeued, judge("06-12T00:00"))) == ["reprocessing warn 06-10 1"]


# ---- what is not late yet -------------------------------------------------------------------------------------------


def test_dates_that_have_ended_and_are_not_late_are_counted_once_each() -> None:
    days = days_of(between("06-01", "06-09", "06-08"), row("06-08", REPROCESSING, "06-11T10:00"), row("06-10", FAILED))
    one = found(days, judge("06-12T00:00", error=hours(60)))
    # Due is up to 06-08. That is reprocessed, 06-10 failed and 06-11 is missing, each within its time.
    assert (one.gaps, one.waiting, one.expected, one.ready) == ((), 3, 8, 7)
    assert found(days, judge("06-12T00:00", error=hours(60), last="06-10")).waiting == 2
    assert found(days, judge("06-12T00:00", error=hours(60), first="06-09")).waiting == 2
    # Nobody expects Tuesday 06-11 of what comes for Mondays.
    assert found(days_of([day("06-01")]), judge("06-12T00:00", cadence="weekly:MON", error=hours(72))).waiting == 1


def test_nothing_waits_of_what_only_a_guess_expects_or_what_has_no_first_date() -> None:
    days = days_of(between("06-01", "06-09"), row("06-11", PENDING))
    assert found(days, judge("06-12T12:00", cadence=None, error=hours(72))).waiting == 1
    assert found(days_of([]), judge("06-12T12:00", error=hours(72))).waiting == 0
    assert found(days_of([]), judge("06-12T12:00", error=hours(72), since="06-11")).waiting == 1


# ---- what must exist, and what is known -----------------------------------------------------------------------------


def test_a_series_that_never_delivered_is_missing_from_its_first_date_on() -> None:
    other = SeriesKey(b"ads", b"c2", b"q1")
    expectations = Expectations({SERIES: ExpectedSeries(day("06-01")), other: ExpectedSeries(day("06-08"))})
    delivered = days_of(between("06-01", "06-10"))
    one, never = find_gaps([delivered], judge("06-12T12:00"), expectations, KnownGaps())
    assert (one.series, shown(one)) == (SERIES, [])
    assert (never.series, shown(never), never.newest) == (other, ["missing error 06-08..06-10 3"], None)
    assert (never.ready, never.expected, never.complete) == (0, 3, 0.0)


def test_an_expectation_says_first_and_last_date_and_cadence() -> None:
    days = days_of([day("06-10")], row("06-05", FAILED), row("06-25", FAILED))
    expectations = Expectations({SERIES: ExpectedSeries(day("06-06"), day("06-20"), parse_cadence("weekly:MON"))})
    assert shown(found(days, judge("06-30T12:00"), expectations)) == ["missing error 06-17 1"]
    # Stated for the series, so it may alarm where all others are guessed.
    assert shown(found(days, judge("06-30T12:00", cadence=None), expectations)) == ["missing error 06-17 1"]


def test_a_series_that_is_not_due_yet_is_complete() -> None:
    expectations = Expectations({SERIES: ExpectedSeries(day("07-01"))})
    [one] = find_gaps([], judge("06-12T12:00"), expectations, KnownGaps())
    assert (one.verdict, one.gaps, one.expected, one.complete) == (Verdict.PASS, (), 0, None)


def test_a_known_gap_is_counted_and_never_alarms() -> None:
    days = days_of(between("06-01", "06-09", "06-03", "06-04", "06-05"), row("06-04", FAILED))
    known = KnownGaps([KnownGap(Filters(("ads",), ("c1",), ("q1",)), day("06-03"), day("06-04"), "outage")])
    one = found(days, judge("06-11T23:00"), known=known)
    assert shown(one) == ["missing pass 06-03 1 known", "failed pass 06-04 1 known", "missing error 06-05 1"]
    assert (one.known, one.first_gap, one.count(Verdict.ERROR)) == (2, day("06-05"), 1)
    assert one.gaps[0].known is not None
    assert one.gaps[0].known.reason == "outage"
    assert one.ready == 6, "what is known is not there all the same"


def test_a_date_that_a_guess_misses_and_that_is_known_counts_once() -> None:
    days = days_of(between("06-01", "06-20", "06-10", "06-12"))
    known = KnownGaps([KnownGap(Filters(("ads",), ("c1",), ("q1",)), day("06-10"), day("06-10"))])
    one = found(days, judge("06-21T12:00", cadence=None), known=known)
    assert shown(one) == ["missing pass 06-10 1 known", "missing pass 06-12 1 guessed"]
    assert (one.known, one.guessed_dates) == (1, 1)


def test_a_known_gap_of_a_pattern_is_one_of_every_series_that_matches() -> None:
    known = KnownGaps([KnownGap(Filters(("ads",), ("*",), ("q?",)), day("06-03"), day("06-03"))])
    days = days_of(between("06-01", "06-09", "06-03"))
    assert found(days, judge("06-11T23:00"), known=known).verdict is Verdict.PASS
    other = days_of(between("06-01", "06-09", "06-03"), series=SeriesKey(b"ads", b"c1", b"other"))
    assert found(other, judge("06-11T23:00"), known=known).verdict is Verdict.ERROR


# ---- bounds -------------------------------------------------------------------------------------------------------


def test_dates_are_expected_from_the_first_row_or_from_since() -> None:
    days = days_of(between("06-05", "06-10"), row("06-04", PENDING, withheld=WithheldReason.NO_RUN_ID))
    assert found(days, judge()).expected == 7
    assert shown(found(days, judge(since="06-02"))) == ["missing error 06-02..06-03 2", "pending error 06-04 1"]


def test_a_contract_bounds_the_dates_and_invents_none() -> None:
    days = days_of(between("06-05", "06-08"))
    assert shown(found(days, judge(first="01-01"))) == ["missing error 06-09..06-10 2"]
    assert shown(found(days, judge(first="06-10"))) == ["missing error 06-10 1"]
    assert shown(found(days, judge(last="06-09"))) == ["missing error 06-09 1"]


def test_a_series_without_a_date_has_no_gap() -> None:
    one = found(days_of([], row(None, WITHHELD, withheld=WithheldReason.BAD_ROW)), judge())
    assert (one.gaps, one.expected) == ((), 0)


@given(
    ready=st.sets(st.integers(0, 40)),
    others=st.dictionaries(st.integers(0, 40), st.sampled_from([PENDING, FAILED, WITHHELD])),
    cadence=st.sampled_from(["daily", "weekdays", "weekly:WED", "1,15 * *"]),
    now=st.integers(0, 45),
)
def test_ranges_hold_exactly_the_dates_that_are_late(
    ready: set[int], others: dict[int, PartitionStatus], cadence: str, now: int
) -> None:
    base = day("06-01")
    by = judge("06-01T12:00", cadence=cadence, warn=hours(0))
    by = Judge(by.agreement, by.now_ns + now * 86_400 * 10**9)
    rows = {base + number: status for number, status in others.items() if number not in ready}
    days = days_of(
        sorted(base + number for number in ready),
        *(row(render_date(date).decode(), status) for date, status in rows.items()),
    )
    one = found(days, by)
    start = min([*days.ready, *rows], default=by.last_due + 1)
    wanted = set(parse_cadence(cadence).expected(start, by.last_due))
    missing = wanted - set(days.ready) - rows.keys()
    late = dict.fromkeys(missing, PartitionStatus.MISSING) | {
        date: status for date, status in rows.items() if date <= by.last_due
    }
    expanded: dict[int, PartitionStatus] = {}
    for gap in one.gaps:
        inside = [date for date in range(gap.first, gap.last + 1) if date in late]
        assert len(inside) == gap.dates
        assert {late[date] for date in inside} == {gap.status}
        assert not wanted & set(range(gap.first, gap.last + 1)) - late.keys(), "a ready date lies in a range"
        expanded.update(dict.fromkeys(inside, gap.status))
    assert expanded == late
    assert (one.expected, one.ready) == (len(wanted), len(wanted & set(days.ready)))
