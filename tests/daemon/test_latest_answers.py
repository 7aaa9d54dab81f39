"""A mount's answers to `latest`, page by page."""

from __future__ import annotations

import pytest

from readyfs.control.latest_request import LatestRequest
from readyfs.daemon import latest_answers
from readyfs.daemon.latest_answers import Moment, describe_page
from tests.catalog.rows import JUNE_1, NOW_NS, Row, build

NOW = Moment(NOW_NS, NOW_NS)
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


def test_a_series_that_came_and_went_between_pages_moves_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest_answers, "PAGE", 2)
    before = build([Row(customer=customer) for customer in (b"a", b"b", b"c", b"d")])
    position = describe_page(before, LatestRequest(), NOW)["next"]
    after = build([Row(customer=customer) for customer in (b"aa", b"c", b"d")])
    answer = describe_page(after, LatestRequest(after=str(position)), NOW)
    series = answer["series"]
    assert isinstance(series, list)
    assert [one["customer_id"] for one in series] == ["c", "d"]
