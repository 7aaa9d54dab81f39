"""V21: reasons are complete, whatever the facts: each status, each way to be withheld, each error of a reader."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs import errors
from readyfs.catalog.tree import AMBIGUOUS, Meaning
from readyfs.consumer.address_text import parse_address
from readyfs.consumer.explanation import NO_FIELDS, REMEDIES, Explanation, Reason
from readyfs.consumer.facts import NOT_ASKED, Look, Recorded, Rules, Shown
from readyfs.consumer.wait import Verdict, Wait, Wish
from readyfs.consumer.why import explain, explain_filtered
from readyfs.errors import FailedError, FilesystemError, ImpossibleError, NotInTimeError, UsageError
from readyfs.layout import MountLayout
from readyfs.partition import NOT_SET, Partition, PartitionKey, PartitionStatus, SeriesKey, WithheldReason
from readyfs.state.filters import Filters
from readyfs.state.reader import StateRow

LAYOUT: Final = MountLayout.parse()
RULES: Final = Rules(Filters(), LAYOUT, with_messages=True)
KEY: Final = "c1/q1/2024-06-01"
ADDRESS: Final = parse_address(KEY, LAYOUT)
SERIES: Final = SeriesKey(b"s1", b"c1", b"q1")
DATE: Final = ADDRESS.date or 0
READY: Final = Partition(PartitionKey(SERIES, DATE), b"r1", 0, 5, None)
WHOLE: Final = Look()
EPOCH: Final = "1970-01-01T00:00:00.000000+00:00"
LIVE: Final = Shown(refreshed_at_ns=0)

REASONS_OF_ERRORS: Final[dict[str, Reason | None]] = {
    "BrokenRunError": Reason.BROKEN,
    "StaleCatalogError": Reason.STALE,
    "UnreadableHistoryError": Reason.EXPIRED,
    "StaleHandleError": Reason.EXPIRED,
    "UnreadablePinStoreError": Reason.NOT_SEEN_YET,
    "NameTooLongError": Reason.IMPOSSIBLE,
    # What follows says nothing of whether anything is there.
    "NotADirectoryNodeError": None,
    "IsADirectoryNodeError": None,
    "NoSuchAttributeError": None,
    "AttributesUnsupportedError": None,
    "AttributesDisabledError": None,
    "TooManyHandlesError": None,
    "RawStoreUnresponsiveError": None,
    "RequestInterruptedError": None,
    "NotALinkError": None,
    "WouldBlockError": None,
    "PostponedError": None,
}
"""What a reader is refused with, and the reason that `why` tells then."""


def row(status: PartitionStatus, word: str = "x", **more: object) -> StateRow:
    run = b"" if status is PartitionStatus.PENDING else b"r1"
    made = StateRow(SERIES, DATE, status, word, run, 0, 5, None, "boom", 2)
    return made._replace(**more)  # type: ignore[arg-type]


def tell(shown: Shown | None, *rows: StateRow, look: Look = WHOLE) -> Explanation:
    return explain(KEY, ADDRESS, RULES, shown, Recorded(rows), look)


def test_every_error_of_a_reader_has_a_reason_or_is_of_none() -> None:
    found = {
        name
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, FilesystemError) and one is not FilesystemError
    }
    assert found == REASONS_OF_ERRORS.keys()


@pytest.mark.parametrize("why", list(WithheldReason))
def test_every_way_to_be_withheld_is_told(why: WithheldReason) -> None:
    if why is WithheldReason.AMBIGUOUS_PATH:
        told = tell(replace(LIVE, meaning=AMBIGUOUS, claims=(READY, READY)))
        assert told.reason is Reason.AMBIGUOUS
        claim = row(PartitionStatus.WITHHELD, withheld=why, detail="claimed by s1 and s2")
        told = tell(LIVE, claim)
        assert (told.reason, "claimed by s1 and s2" in told.detail) == (Reason.AMBIGUOUS, True)
        assert tell(LIVE, claim, claim).fields["claims"] == [{"source": "s1", "run_id": "r1", "updated_at": EPOCH}] * 2
        return
    told = tell(LIVE, row(PartitionStatus.WITHHELD, withheld=why, detail="d"))
    assert (told.reason, told.fields["withheld"]) == (Reason.WITHHELD, why.value)
    assert told.detail.startswith(f"{why.value}: ")


@pytest.mark.parametrize("status", list(PartitionStatus))
def test_every_status_of_a_row_has_its_reason(status: PartitionStatus) -> None:
    reasons = {
        PartitionStatus.READY: Reason.NOT_SEEN_YET,
        PartitionStatus.PENDING: Reason.PENDING,
        PartitionStatus.FAILED: Reason.FAILED,
        PartitionStatus.REPROCESSING: Reason.PENDING,
        PartitionStatus.WITHHELD: Reason.WITHHELD,
    }
    if status not in reasons:  # no row says so
        assert status in (PartitionStatus.MISSING, PartitionStatus.BROKEN)
        return
    withheld = WithheldReason.BAD_ROW if status is PartitionStatus.WITHHELD else None
    assert tell(LIVE, row(status, withheld=withheld)).reason is reasons[status]


def test_what_keeps_a_reader_out_first_is_told_first() -> None:
    """A view that expired, then a whole mount that is stale, then what the path means, then what the state says."""
    facts = Shown(AMBIGUOUS, stale_s=5.0, expired=True)
    assert tell(facts).reason is Reason.EXPIRED
    assert tell(replace(facts, expired=False)).reason is Reason.STALE
    assert tell(replace(facts, expired=False, stale_s=None)).reason is Reason.AMBIGUOUS
    assert tell(Shown(READY), look=Look("gone")).reason is Reason.BROKEN
    assert tell(Shown(READY), look=Look(lacks_file=True)).reason is Reason.MISSING
    assert tell(Shown(READY), row(PartitionStatus.FAILED)).reason is Reason.READY
    assert tell(Shown(held_back="h"), row(PartitionStatus.READY)).reason is Reason.HELD_BACK
    assert tell(Shown(held_back="h"), row(PartitionStatus.PENDING)).reason is Reason.PENDING
    assert tell(None, row(PartitionStatus.READY)).reason is Reason.READY
    assert tell(None, row(PartitionStatus.READY), look=Look("gone")).reason is Reason.BROKEN
    assert tell(None, row(PartitionStatus.READY), row(PartitionStatus.READY)).reason is Reason.AMBIGUOUS
    assert tell(LIVE).reason is tell(Shown(taken_at_ns=0)).reason is Reason.MISSING
    assert explain(KEY, ADDRESS, RULES, LIVE, Recorded(problem="p"), Look()).reason is Reason.NOT_SEEN_YET


def test_a_filter_is_told_before_anything_is_known() -> None:
    filters = Filters(customers=("c2",), since=DATE + 1)
    told = explain_filtered(KEY, ADDRESS, replace(RULES, filters=filters), shows_file=True)
    assert told is not None
    assert (told.reason, told.detail) == (Reason.FILTERED, "its customer_id is outside of --customer")
    assert explain_filtered(KEY, ADDRESS, RULES, shows_file=True) is None


_ROWS = st.builds(
    row,
    st.sampled_from(list(PartitionStatus)[:5]),
    st.text(max_size=4),
    series=st.sampled_from([SERIES, SERIES._replace(source=b"\xff\n")]),
    run_id=st.binary(max_size=3),
    updated_at_ns=st.sampled_from([NOT_SET, 10**18]),
    error_message=st.none() | st.text(max_size=4),
    withheld=st.none() | st.sampled_from(list(WithheldReason)),
)
_MEANINGS: st.SearchStrategy[Meaning | None] = st.sampled_from([None, AMBIGUOUS, READY])
_SHOWN = st.none() | st.builds(
    Shown,
    _MEANINGS,
    st.sampled_from([(), (READY, READY)]),
    st.booleans(),
    refreshed_at_ns=st.none() | st.just(0),
    stale_s=st.none() | st.just(2.0),
    trouble=st.none() | st.just("t"),
    held_back=st.none() | st.just("h"),
    taken_at_ns=st.none() | st.just(0),
    expired=st.booleans(),
)
_LOOKS = st.builds(Look, st.none() | st.just("gone"), st.booleans(), st.none() | st.just("p"))


@given(
    shown=_SHOWN,
    rows=st.lists(_ROWS, max_size=3),
    problem=st.none() | st.just("p"),
    look=_LOOKS,
    with_messages=st.booleans(),
)
def test_whatever_the_facts_there_is_one_answer_that_can_be_shown(
    shown: Shown | None, rows: list[StateRow], problem: str | None, look: Look, with_messages: bool
) -> None:
    recorded = NOT_ASKED if problem and rows else Recorded(tuple(rows), problem)
    told = explain(KEY, ADDRESS, replace(RULES, with_messages=with_messages), shown, recorded, look)
    assert told.sentence.isprintable()
    assert told.detail.isprintable()
    assert set(told.describe()) == {"reason", "detail", "note", "sentence", "remedy", *NO_FIELDS}
    if not with_messages:
        assert told.describe()["error_message"] is None
    if told.reason is Reason.READY:
        assert told.describe()["looked_at"] is (look.problem is None)
    if told.reason is Reason.READY and shown is not None:
        assert shown.meaning is READY


# ---- what answers mean for who waits ------------------------------------------------------------------------------

ANSWER: Final = {
    **NO_FIELDS,
    "reason": "ready",
    "kind": "partition",
    "note": "",
    "run_id": "r1",
    "updated_at": "2024-06-02T05:00:00+00:00",
    "looked_at": True,
}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_verdict(reason: Reason) -> None:
    verdict = Wish().judge({**ANSWER, "reason": reason.value})
    never = (Reason.IMPOSSIBLE, Reason.FILTERED, Reason.EXPIRED)
    expected = {Reason.READY: Verdict.MET, Reason.FAILED: Verdict.FAILED, **dict.fromkeys(never, Verdict.IMPOSSIBLE)}
    assert verdict is expected.get(reason, Verdict.WAITING)


@pytest.mark.parametrize(
    ("newer_than", "is_met"),
    [
        ("r1", False),
        ("r0", True),
        ("2024-06-02T04:59:59Z", True),
        ("2024-06-02T05:00:00Z", False),
        ("2024-06-02T07:30:00+03:00", True),
        ("2024-06-02", True),
        ("2024-06-03", False),
    ],
)
def test_newer_is_another_run_or_a_later_time(newer_than: str, is_met: bool) -> None:
    assert (Wish(newer_than).judge(ANSWER) is Verdict.MET) == is_met


def test_a_run_id_that_is_a_time_is_a_run_first() -> None:
    run = "2024-06-02T04:05:06.789Z"
    assert Wish(run).judge({**ANSWER, "run_id": run}) is Verdict.WAITING
    assert Wish(run).judge({**ANSWER, "run_id": "2024-06-02T04:30:00.000Z"}) is Verdict.MET
    assert Wish("2024-06-02").judge({**ANSWER, "updated_at": None}) is Verdict.WAITING
    # Without a time of its row, and with one that is before its run: run ids that are times tell which is newer.
    for updated_at in (None, "2024-06-01T00:00:00+00:00"):
        later = {**ANSWER, "run_id": "2024-06-02T05:00:00Z", "updated_at": updated_at}
        assert Wish(run).judge(later) is Verdict.MET
        assert Wish(run).judge({**later, "run_id": "2024-06-01T05:00:00Z"}) is Verdict.WAITING


def test_what_was_seen_as_a_run_is_one_although_it_reads_as_a_time() -> None:
    """Then another run is enough, if it is an older one, too: the producer went back to it."""
    run = "2024-06-02T04:05:06.789Z"
    older = {**ANSWER, "run_id": "2024-06-01T04:05:06.789Z", "updated_at": "2024-06-02T04:00:00+00:00"}
    wait = Wait(["a"], 1, Wish(run))
    assert wait.note("a", older) is Verdict.WAITING
    assert wait.note("a", {**ANSWER, "run_id": run}) is Verdict.WAITING
    assert wait.note("a", older) is Verdict.MET


def test_a_run_that_was_not_looked_at_is_waited_for() -> None:
    wait = Wait(["a"], 1, Wish())
    unlooked = {**ANSWER, "looked_at": False, "sentence": "a is ready", "note": "the run was not looked at: x"}
    assert wait.note("a", unlooked) is Verdict.WAITING
    assert "a is ready (the run was not looked at: x)" in str(wait.explain_unmet("now", None))


def test_a_directory_is_not_waited_for() -> None:
    with pytest.raises(UsageError, match="a names no date"):
        Wait(["a"], 1, Wish()).note("a", {**ANSWER, "kind": "directory"})


def test_the_remedy_is_that_of_the_reason() -> None:
    told = {"broken": "another run", "ambiguous": "mend it", "withheld": "mend the row", "pending": "--timeout"}
    for reason, remedy in told.items():
        wait = Wait(["a"], 1, Wish())
        wait.note("a", {**ANSWER, "reason": reason, "sentence": "x"})
        assert remedy in wait.explain_unmet("now", None).remedy
    assert set(REMEDIES) == set(Reason)


def test_what_is_not_another_run_is_told_so() -> None:
    wait = Wait(["a"], 1, Wish("r1"))
    wait.note("a", {**ANSWER, "sentence": "a is ready"})
    assert wait.explain_unmet("now", None).message == "not ready now: a still has run r1, and another is wanted"


def test_a_newer_attempt_that_failed_ends_the_wait() -> None:
    failed = {**ANSWER, "state_status": "failed"}
    assert Wish("r1").judge(failed) is Verdict.FAILED
    assert Wish("r1", through_failures=True).judge(failed) is Verdict.WAITING
    assert Wish().judge(failed) is Verdict.MET


def test_so_many_may_fail_that_the_rest_is_enough() -> None:
    failed = {**ANSWER, "reason": "failed", "sentence": "it failed"}
    wait = Wait(["a", "b", "c"], 2, Wish())
    assert wait.note("a", failed) is Verdict.FAILED
    assert wait.unmet == ["a", "b", "c"]
    with pytest.raises(FailedError, match="it failed; it failed"):
        wait.note("b", failed)


def test_what_can_never_be_ends_a_wait_only_if_the_rest_is_too_few() -> None:
    never = {**ANSWER, "reason": "impossible", "sentence": "never"}
    wait = Wait(["a", "b"], 1, Wish())
    assert wait.note("a", never) is Verdict.IMPOSSIBLE
    assert wait.unmet == ["b"]
    with pytest.raises(FailedError, match="never; it failed"):
        wait.note("b", {**ANSWER, "reason": "failed", "sentence": "it failed"})
    wait.note("b", ANSWER)
    assert wait.is_over
    with pytest.raises(ImpossibleError, match="never"):
        Wait(["a", "b"], 2, Wish()).note("a", never)


def test_what_is_unmet_is_named_when_the_time_is_up() -> None:
    wait = Wait(["a", "b"], 2, Wish())
    wait.note("a", ANSWER)
    wait.note("b", {**ANSWER, "reason": "pending", "sentence": "b is not ready yet"})
    assert not wait.is_over
    error = wait.explain_unmet("after 2h", "the daemon is gone")
    assert isinstance(error, NotInTimeError)
    assert "1 of 2 ready, 2 wanted: b is not ready yet (the daemon is gone)" in str(error)
