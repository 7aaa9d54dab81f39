from __future__ import annotations

from collections.abc import Callable

from readyfs.check.findings import Example, Finding, Kind, Tally


def describing(order: int) -> Callable[[str], Example]:
    return lambda detail: Example(order, f"p{order}", "r", "/p", detail)


def test_the_first_examples_are_kept_in_whatever_order_they_come() -> None:
    tally = Tally(3)
    for order in (7, 2, 9, 4, 1, 8):
        tally.add([Finding(Kind.RUN_MISSING, "gone")], order, describing(order))
    found = tally.by_kind[Kind.RUN_MISSING]
    assert found.count == 6
    assert [one.order for one in found.examples] == [1, 2, 4]


def test_a_limit_of_0_counts_alone() -> None:
    tally = Tally(0)
    for order in range(5):
        tally.add([Finding(Kind.RUN_MISSING, "gone")], order, describing(order))
    assert (tally.by_kind[Kind.RUN_MISSING].count, tally.by_kind[Kind.RUN_MISSING].examples) == (5, [])


def test_a_run_counts_once_however_much_is_wrong_with_it() -> None:
    tally = Tally(3)
    tally.add([Finding(Kind.METADATA_MISMATCH, "a"), Finding(Kind.COUNT_MISMATCH, "b")], 1, describing(1))
    tally.add([Finding(Kind.FILE_MISSING, "c")], 2, describing(2))
    assert (tally.broken, tally.mismatched) == (1, 1)


def test_nothing_is_counted_after_the_end() -> None:
    tally = Tally(3)
    tally.close()
    tally.add([Finding(Kind.FILE_MISSING, "late")], 1, describing(1))
    assert not tally.by_kind
