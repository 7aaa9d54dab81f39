"""Floods of like events in the log."""

from __future__ import annotations

from collections import Counter

from readyfs.vfs.log_budget import LINES, WINDOW_S, LogBudget, Verdict


def test_flood_is_written_up_to_a_number_and_then_named_once_until_the_next_minute() -> None:
    now_s = 0.0
    budget = LogBudget(lambda: now_s)
    flood = Counter(budget.ask() for _ in range(3 * LINES))
    assert flood == {Verdict.WRITE: LINES, Verdict.SAY_THERE_ARE_MORE: 1, Verdict.LEAVE_OUT: 2 * LINES - 1}
    now_s = WINDOW_S
    assert Counter(budget.ask() for _ in range(LINES)) == {Verdict.WRITE: LINES}
