"""Waiting until partitions are ready: what an answer of `why` means for that, and when it is over.

Pure: whoever waits asks, and notes the answers here. An answer is what `Explanation.describe` returns.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from readyfs.consumer.explanation import Reason
from readyfs.errors import FailedError, ImpossibleError, NotInTimeError, UserError
from readyfs.text import escape_text

Answer: TypeAlias = Mapping[str, object]

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
    """What is waited for: ready, and with `newer_than` of another run than that, or updated after that time.

    With `through_failures` what failed may become ready all the same.
    """

    newer_than: str | None = None
    through_failures: bool = False

    def judge(self, answer: Answer) -> Verdict:
        """Return what an answer means."""
        match answer["reason"]:
            case Reason.READY:
                return Verdict.MET if self._is_new(answer) else self._judge_failure(answer)
            case Reason.FAILED:
                return Verdict.WAITING if self.through_failures else Verdict.FAILED
            case Reason.IMPOSSIBLE | Reason.FILTERED | Reason.EXPIRED:
                return Verdict.IMPOSSIBLE
            case _:
                return Verdict.WAITING

    def _is_new(self, answer: Answer) -> bool:
        if self.newer_than is None:
            return True
        if answer["run_id"] == self.newer_than:
            return False
        since = parse_moment(self.newer_than)
        if since is None:
            return answer["run_id"] is not None
        updated_at = parse_moment(str(answer["updated_at"]))
        return updated_at is not None and updated_at > since

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
    """Several addresses of which `needed` have to be met; `last` holds what was answered of each."""

    asked: Sequence[str]
    needed: int
    wish: Wish
    last: dict[str, Answer] = field(default_factory=dict)
    _verdicts: dict[str, Verdict] = field(default_factory=dict)

    def note(self, asked: str, answer: Answer) -> Verdict:
        """Note an answer, and return what it means; raise `ImpossibleError`, `FailedError` if that ends the wait."""
        verdict = self.wish.judge(answer)
        self.last[asked], self._verdicts[asked] = answer, verdict
        if verdict is Verdict.IMPOSSIBLE:
            raise ImpossibleError(str(answer["sentence"]), "")
        failed = self._of(Verdict.FAILED)
        if len(self.asked) - len(failed) < self.needed:
            told = "; ".join(str(self.last[one]["sentence"]) for one in failed)
            raise FailedError(told, "wait with --through-failures for a later attempt")
        return verdict

    def put_off(self, asked: str) -> None:
        """Note that what was answered to be ready cannot be seen yet."""
        self._verdicts[asked] = Verdict.WAITING

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
        """What is not met, nor has failed."""
        return [one for one in self.asked if self._verdicts.get(one, Verdict.WAITING) is not Verdict.MET]

    def describe_unmet(self) -> str:
        """Return in words what is not met, and why."""
        sentences = (str(self.last[one]["sentence"]) if one in self.last else escape_text(one) for one in self.unmet)
        count = f"{len(self.met)} of {len(self.asked)} ready, {self.needed} wanted: " if len(self.asked) > 1 else ""
        return count + "; ".join(sentences)

    def explain_unmet(self, waited: str, trouble: str | None) -> UserError:
        """Return the error that ends a wait whose time is up: it names what was unmet, and why."""
        because = f" ({trouble})" if trouble is not None else ""
        return NotInTimeError(f"not ready {waited}: {self.describe_unmet()}{because}", "wait longer with --timeout")

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
