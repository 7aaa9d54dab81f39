"""A mount's answers to `latest`, page by page."""

from __future__ import annotations

from fnmatch import _compile_pattern  # type: ignore[attr-defined]

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from readyfs.control.latest_request import LatestRequest
from readyfs.daemon import latest_answers
from readyfs.daemon.latest_answers import Moment, describe_page
from readyfs.errors import UsageError
from readyfs.state.filters import Filters
from readyfs.text import decode_text
from tests.catalog.rows import JUNE_1, NOW_NS, Row, build

NOW = Moment(NOW_NS, NOW_NS)
KEYS = build([Row(customer=one, query=two) for one in (b"a", b"b", b"ab", b"\xff") for two in (b"a", b"c", b"[")])
CUSTOMERS = [b"a", b"b %", b"c%2F", b"d\xff", b"e\n", b"f"]


def test_pages_hold_every_series_once_in_the_order_of_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest_answers, "PAGE", 2)
    catalog = build([Row(customer=customer, date=JUNE_1 + day) for customer in CUSTOMERS for day in (0, 1)])
    found: list[object] = []
    after: str | None = None
    for page in range(3):
        answer = describe_page(catalog, LatestRequest(after=after), NOW)
        series, following = answer["series"], answer["next"]
        assert isinstance(series, list)
        found.extend(one["customer_id"] for one in series)
        assert (following is None) is (page == 2)
        after = None if following is None else str(following)
    assert found == ["a", "b %", "c%2F", "d\\xff", "e\n", "f"]


LISTS = st.lists(st.text("abc*?[]!-", max_size=4), max_size=3)


@given(customers=LISTS, queries=LISTS)
@example(customers=["*"], queries=["[!a]"])
def test_the_filters_of_a_client_let_pass_what_those_of_a_state_let_pass(
    customers: list[str], queries: list[str]
) -> None:
    request = LatestRequest(patterns={"customers": tuple(customers), "queries": tuple(queries)})
    answer = describe_page(KEYS, request, NOW)["series"]
    assert isinstance(answer, list)
    filters = Filters(customers=tuple(customers), queries=tuple(queries))
    wanted = sorted(
        (decode_text(key.customer_id), decode_text(key.query_name)) for key in filter(filters.admits, KEYS.by_key)
    )
    assert sorted((one["customer_id"], one["query_name"]) for one in answer) == wanted


def test_no_pattern_of_a_client_is_kept() -> None:
    """What anybody may send must not stay in the daemon's memory."""
    kept = _compile_pattern.cache_info().currsize
    for number in range(100):
        describe_page(KEYS, LatestRequest(patterns={"customers": (f"{number}*",), "queries": (f"?{number}",)}), NOW)
    assert _compile_pattern.cache_info().currsize == kept


@pytest.mark.parametrize("patterns", [("*" * 2049,), ("?" * 1025, "*" * 1024)])
def test_too_long_patterns_are_refused_and_long_names_are_not(patterns: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="at most 2048 characters of patterns"):
        describe_page(KEYS, LatestRequest(patterns={"customers": patterns}), NOW)
    assert describe_page(KEYS, LatestRequest(patterns={"sources": tuple("x" * 255 + str(n) for n in range(20))}), NOW)


def test_a_series_that_came_and_went_between_pages_moves_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest_answers, "PAGE", 2)
    before = build([Row(customer=customer) for customer in (b"a", b"b", b"c", b"d")])
    position = describe_page(before, LatestRequest(), NOW)["next"]
    after = build([Row(customer=customer) for customer in (b"aa", b"c", b"d")])
    answer = describe_page(after, LatestRequest(after=str(position)), NOW)
    series = answer["series"]
    assert isinstance(series, list)
    assert [one["customer_id"] for one in series] == ["c", "d"]
