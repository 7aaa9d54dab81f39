"""Histories of a writer, a refresher and many readers, and the check that they fit together.

The writer is alone, so the versions are in order and no search is needed: each answer must fit a version that was
alive at some moment of its interval. All times are monotonic nanoseconds, which all processes of a machine share.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

ABSENT: Final = ""
"""The run of a partition that is not ready."""


class Write(NamedTuple):
    """One commit: from when to when, and what it made of the state (run by date; a date that is missing is absent)."""

    began: int
    ended: int
    runs: Mapping[str, str]


class Refresh(NamedTuple):
    """One refresh that somebody waited for."""

    began: int
    ended: int


class Answer(NamedTuple):
    """What one reader saw: `value` is the run of the date, or the sorted names of the directory for no date."""

    reader: int
    began: int
    ended: int
    date: str
    value: str


class Violation(AssertionError):
    """An answer that fits no version alive in its interval, or goes back."""


def check(writes: Sequence[Write], refreshes: Sequence[Refresh], answers: Iterable[Answer]) -> int:
    """Return how many answers fit; raise `Violation` for the first that does not.

    `writes` are in order and the first is the state at the start. A version can be seen from the moment when its commit
    began; it cannot be seen any more once a refresh has ended that began after the next commit had ended. What one
    reader saw never goes back, whichever path it looks at next. A listing may still be older than what paths lead to,
    until the refresh has ended.
    """
    commits_ended = [write.ended for write in writes]
    commits_began = [write.began for write in writes]
    by_end = sorted(refreshes, key=lambda refresh: refresh.ended)
    ends = [refresh.ended for refresh in by_end]
    floors: list[int] = []
    for refresh in by_end:
        newest_seen = bisect_left(commits_ended, refresh.began) - 1
        floors.append(max(newest_seen, floors[-1] if floors else 0, 0))
    seen: dict[tuple[int, bool], int] = {}
    count = 0
    for answer in sorted(answers, key=lambda answer: answer.began):
        finished = bisect_left(ends, answer.began)
        oldest = floors[finished - 1] if finished else 0
        newest = bisect_right(commits_began, answer.ended) - 1
        subject = (answer.reader, bool(answer.date))
        fitting = (n for n in range(max(oldest, seen.get(subject, 0)), newest + 1) if _fits(writes[n], answer))
        version = next(fitting, None)
        if version is None:
            raise Violation(
                f"{answer} fits none of versions {oldest} to {newest}, of which {seen.get(subject)} was seen"
            )
        seen[subject] = version
        count += 1
    return count


def _fits(write: Write, answer: Answer) -> bool:
    if answer.date:
        return write.runs.get(answer.date, ABSENT) == answer.value
    return " ".join(sorted(write.runs)) == answer.value
