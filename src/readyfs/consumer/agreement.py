"""What was agreed: which dates there should be, and from when on one that is not ready is worth an alarm."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from readyfs.consumer.cadence import DAILY, Cadence, guess_cadence
from readyfs.consumer.deadline import Deadline, last_ended
from readyfs.partition import NOT_SET

_SKEW_NS: Final = 86_400 * 10**9
"""How far a producer's clock may be ahead of ours."""


class Verdict(StrEnum):
    """What is thought of a date, or of a series: the words of dbt's source freshness."""

    PASS = "pass"
    WARN = "warn"
    ERROR = "error"

    @property
    def word(self) -> str:
        """What people are told: the word of the option that sets it."""
        return "crit" if self is Verdict.ERROR else self.value

    @property
    def rank(self) -> int:
        """How bad it is."""
        return (Verdict.PASS, Verdict.WARN, Verdict.ERROR).index(self)


@dataclass(frozen=True, slots=True)
class Agreement:
    """The rules for all series. With a `cadence` of None one is guessed for each series, and alarms nobody.

    `reprocessing` is the deadline of partitions that were ready before and were queued again; they never are more than
    a warning without it. Dates are expected of a series from its first one on, or from `since` where that is given, but
    none before `first` and none after `last`. `is_stated` says that somebody said when dates are due.
    """

    day_zone: datetime.tzinfo
    cadence: Cadence | None = DAILY
    warn: Deadline | None = None
    error: Deadline | None = None
    reprocessing: Deadline | None = None
    since: int | None = None
    first: int | None = None
    last: int | None = None
    is_stated: bool = True


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """What a contract promises of dates; None where it promises nothing.

    `first` and `last` are the ordinals of the first and the last date of which data is promised at all.
    """

    deadline: Deadline | None = None
    cadence: Cadence | None = None
    first: int | None = None
    last: int | None = None


class Judge:
    """An agreement at one moment. Dates become due one after the other, so that one comparison judges a date."""

    def __init__(self, agreement: Agreement, now_ns: int) -> None:
        self.agreement = agreement
        self.now_ns = now_ns
        self.last_ended = last_ended(now_ns, agreement.day_zone)
        self._warned = _last_due(agreement.warn, now_ns)
        self._alarmed = _last_due(agreement.error, now_ns)
        given = [date for date in (self._warned, self._alarmed) if date is not None]
        self.last_due = max(given, default=self.last_ended)
        """The newest date of which it is worth a warning or an alarm that it is not ready."""

    @property
    def last_expected(self) -> int:
        """The newest date that people look for: of which the time has come, or that has ended where none was stated."""
        return self.last_due if self.agreement.is_stated else self.last_ended

    def of(self, date: int) -> Verdict:
        """Return what it means that a date is not ready."""
        if self._alarmed is not None and date <= self._alarmed:
            return Verdict.ERROR
        if self._warned is not None and date <= self._warned:
            return Verdict.WARN
        return Verdict.PASS

    def of_reprocessing(self, date: int, updated_at_ns: int) -> Verdict:
        """Return what it means that a date was ready before, and is not since about `updated_at_ns` (or `NOT_SET`)."""
        agreed = self.agreement
        if updated_at_ns > self.now_ns + _SKEW_NS:
            updated_at_ns = NOT_SET  # no clock of a producer: nothing would ever be late by it
        if agreed.reprocessing is not None and self._is_due(agreed.reprocessing, date, updated_at_ns):
            return Verdict.ERROR
        warned = agreed.warn or agreed.error
        return Verdict.WARN if warned is not None and self._is_due(warned, date, updated_at_ns) else Verdict.PASS

    def _is_due(self, deadline: Deadline, date: int, since_ns: int) -> bool:
        due = deadline.due_ns(date) if since_ns == NOT_SET else deadline.due_again_ns(date, since_ns)
        return due <= self.now_ns


def choose_cadence(stated: Cadence | None, dates: Sequence[int]) -> tuple[Cadence | None, bool]:
    """Return the cadence of a series, and whether it is a guess; None where nothing can be guessed of its dates."""
    return (stated, False) if stated is not None else (guess_cadence(dates), True)


def _last_due(deadline: Deadline | None, now_ns: int) -> int | None:
    return None if deadline is None else deadline.last_due(now_ns)
