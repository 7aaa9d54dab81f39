"""Reading ahead: a walk in order opens the window, anything else closes it."""

from __future__ import annotations

from readyfs.vfs.look_ahead import MAX_WINDOW, LookAhead

HERE, THERE = (b"c1", b"q1"), (b"c1", b"q2")


def test_first_question_reads_nothing_ahead() -> None:
    assert LookAhead().window(HERE, 0) == 0


def test_window_doubles_while_dates_are_asked_for_in_order() -> None:
    ahead, index, windows = LookAhead(), 0, []
    for _ in range(8):
        window = ahead.window(HERE, index)
        windows.append(window)
        ahead.advance(window)
        index += window + 1  # what was looked at is not asked for again
    assert windows == [0, 1, 2, 4, 8, 16, MAX_WINDOW, MAX_WINDOW]


def test_window_that_was_cut_short_is_followed_all_the_same() -> None:
    """On a slow store the time is over before the window is: the next question comes earlier."""
    ahead = LookAhead()
    for index in range(4):
        ahead.window(HERE, index)
    assert ahead.window(HERE, 4) == 8
    ahead.advance(3)
    assert ahead.window(HERE, 8) == 16


def test_question_out_of_order_closes_the_window() -> None:
    ahead = LookAhead()
    assert [ahead.window(HERE, index) for index in (0, 1, 9, 10)] == [0, 1, 0, 1]


def test_question_in_another_directory_closes_the_window() -> None:
    ahead = LookAhead()
    assert [ahead.window(HERE, 0), ahead.window(HERE, 1), ahead.window(THERE, 3)] == [0, 1, 0]
