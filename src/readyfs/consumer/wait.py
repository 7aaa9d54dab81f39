"""Waiting until partitions are ready: what an answer of `why` means for that, and when it is over.

Pure: whoever waits asks, and notes the answers here. An answer is what `Explanation.describe` returns.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from readyfs.consumer.explanation import REMEDIES, Reason
from readyfs.errors import FailedError, ImpossibleError, NotInTimeError, UsageError, UserError
from readyfs.text import escape_text

Answer: TypeAlias = Mapping[str, object]

_NEEDS_SOMEBODY: Final = frozenset(Reason) - {Reason.READY, Reason.PENDING, Reason.MISSING, Reason.NOT_SEEN_YET}
"""Reasons for which waiting longer is no remedy."""

FIRST_PAUSE_S: Final = 0.25
MAX_PAUSE_S: Final = 30.0


class Verdict(Enum):
    """What an answer means for who waits."""

    MET = "met"
    WAITING = "waiting"
    FAILED = "failed"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is waited for: ready, and with `newer_than` of another run than that, or newer than that time.

    Run ids are often times. What reads as one is taken for a time until it was seen as a run (`is_run`): then another
    run is enough. With `through_failures` what failed may become ready all the same.
    """

    newer_than: str | None = None
    through_failures: bool = False

    def judge(self, answer: Answer, *, is_run: bool = False) -> Verdict:
        """Return what an answer means."""
        match answer["reason"]:
            case Reason.READY if answer["looked_at"] is not True:
                return Verdict.WAITING  # whether its run can be served could not be learnt
            case Reason.READY:
                return Verdict.MET if self._is_new(answer, is_run) else self._judge_failure(answer)
            case Reason.FAILED:
                return Verdict.WAITING if self.through_failures else Verdict.FAILED
            case Reason.IMPOSSIBLE | Reason.FILTERED | Reason.EXPIRED:
                return Verdict.IMPOSSIBLE
            case _:
                return Verdict.WAITING

    def _is_new(self, answer: Answer, is_run: bool) -> bool:
        if self.newer_than is None:
            return True
        if answer["run_id"] == self.newer_than:
            return False
        since = parse_moment(self.newer_than)
        if since is None or is_run:
            return answer["run_id"] is not None
        times = (parse_moment(str(answer[name])) for name in ("updated_at", "run_id"))
        return any(time is not None and time > since for time in times)

    def describe_unmet(self, asked: str, answer: Answer) -> str:
        """Return in words why an answer does not meet the wish."""
        if answer["reason"] == Reason.READY and answer["looked_at"] is True and self.newer_than is not None:
            has = f"{escape_text(asked)} still has run {escape_text(str(answer['run_id']))}"
            if answer["run_id"] == self.newer_than:
                return f"{has}, and another is wanted"
            since = "" if answer["updated_at"] is None else f" since {answer['updated_at']}"
            return f"{has}{since}, which is not newer than {escape_text(self.newer_than)}"
        note = answer["note"] if answer["reason"] == Reason.READY else ""
        return f"{answer['sentence']} ({note})" if note else str(answer["sentence"])

    def _judge_failure(self, answer: Answer) -> Verdict:
        """Judge what is ready, and not as new as it should be: the attempt at it may have failed."""
        has_failed = answer.get("state_status") == "failed"
        return Verdict.FAILED if has_failed and not self.through_failures else Verdict.WAITING


def parse_moment(text: str) -> datetime.datetime | None:
    """Return a time in ISO 8601, in UTC where it says no offset; None if the text is none."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)


@dataclass(slots=True)
class Wait:
    """Several addresses of which `needed` have to be met; `last` holds what was answered of each.

    `unseen` is what was answered to be ready and cannot be seen in the mount yet.
    """

    asked: Sequence[str]
    needed: int
    wish: Wish
    last: dict[str, Answer] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)
    _verdicts: dict[str, Verdict] = field(default_factory=dict)
    _runs_seen: set[str] = field(default_factory=set)

    def note(self, asked: str, answer: Answer) -> Verdict:
        """Note an answer, and return what it means.

        Raises `ImpossibleError` or `FailedError` if it leaves too few that can be met, `UsageError` for a directory.
        """
        if answer["kind"] == "directory":
            raise UsageError(f"{escape_text(asked)} names no date", "name one, as in customer/query/date")
        if answer["run_id"] == self.wish.newer_than:
            self._runs_seen.add(asked)
        verdict = self.wish.judge(answer, is_run=asked in self._runs_seen)
        self.last[asked], self._verdicts[asked] = answer, verdict
        impossible, failed = self._of(Verdict.IMPOSSIBLE), self._of(Verdict.FAILED)
        if len(self.asked) - len(impossible) < self.needed:
            raise ImpossibleError(self._tell(impossible), self._remedy(impossible))
        if len(self.asked) - len(impossible) - len(failed) < self.needed:
            raise FailedError(self._tell(impossible + failed), "wait with --through-failures for a later attempt")
        return verdict

    @property
    def is_over(self) -> bool:
        """Whether enough is met."""
        return len(self.met) >= self.needed

    @property
    def met(self) -> list[str]:
        """What is met."""
        return self._of(Verdict.MET)

    @property
    def unmet(self) -> list[str]:
        """What is not met, and may be some day: what has failed, too, where others are enough."""
        over = (Verdict.MET, Verdict.IMPOSSIBLE)
        return [one for one in self.asked if self._verdicts.get(one, Verdict.WAITING) not in over]

    def describe_unmet(self) -> str:
        """Return in words what is not met, and why."""
        met = [one for one in self.met if one not in self.unseen]
        count = f"{len(met)} of {len(self.asked)} ready, {self.needed} wanted: " if len(self.asked) > 1 else ""
        unseen = [f"{escape_text(one)} is ready, and cannot be seen in the mount yet" for one in sorted(self.unseen)]
        told = "; ".join(filter(None, (self._tell(self.unmet), *unseen)))
        return count + (told or "not all of it was looked at again at the end")

    def explain_unmet(self, waited: str, trouble: str | None) -> UserError:
        """Return the error that ends a wait whose time is up: it names what was unmet, and why."""
        because = f" ({trouble})" if trouble is not None else ""
        message = f"not ready {waited}: {self.describe_unmet()}{because}"
        return NotInTimeError(message, self._remedy(self.unmet) or "wait longer with --timeout")

    def _tell(self, which: Sequence[str]) -> str:
        return "; ".join(
            self.wish.describe_unmet(one, self.last[one]) if one in self.last else escape_text(one) for one in which
        )

    def _remedy(self, which: Sequence[str]) -> str:
        """Return what can be done if one thing helps for all, and that is not to wait longer; else nothing."""
        reasons = {self.last[one]["reason"] if one in self.last else None for one in which}
        if len(reasons) != 1:
            return ""
        reason = reasons.pop()
        return REMEDIES[Reason(str(reason))] if reason in _NEEDS_SOMEBODY else ""

    def _of(self, verdict: Verdict) -> list[str]:
        return [one for one in self.asked if self._verdicts.get(one) is verdict]


class Pauses:
    """How long to pause before the next look that is dear: longer and longer, so that nobody polls busily."""

    def __init__(self, longest_s: float = MAX_PAUSE_S) -> None:
        self._next_s = FIRST_PAUSE_S
        self._longest_s = longest_s

    def next_s(self) -> float:
        """Return the next pause in seconds."""
        pause_s = self._next_s
        self._next_s = min(2 * pause_s, self._longest_s)
        return pause_s

    def reset(self) -> None:
        """Begin again with the shortest."""
        self._next_s = FIRST_PAUSE_S
