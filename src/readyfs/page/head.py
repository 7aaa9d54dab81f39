"""What a page tells of itself: when it was made, of which state, by which agreement, and what was counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from readyfs.consumer.agreement import Agreement, Judge
from readyfs.consumer.gap_tally import GapTally
from readyfs.page.rows import EPOCH_DATE


@dataclass(frozen=True, slots=True)
class PageHead:
    """What the maker of a page knows of it.

    `label` names the state store without secrets. `command` are the arguments that name it, and `judged` those that say
    which dates there should be and when they are due, as they were typed and without secrets. `selected` has those of
    each filter, and `filters` says in words what the page is confined to, empty for nothing.
    """

    label: str
    command: Sequence[str]
    judged: Sequence[str]
    selected: Mapping[str, Sequence[str]]
    filters: str
    judge: Judge

    def describe(self, tally: GapTally, sum_up: str) -> dict[str, object]:
        """Return it as JSON values, with what was counted; `sum_up` says that in a sentence."""
        agreed = self.judge.agreement
        return {
            "madeAt": self.judge.now_ns // 10**6,
            "label": self.label,
            "dayZone": str(agreed.day_zone),
            "lastEnded": self.judge.last_ended - EPOCH_DATE,
            "cadence": None if agreed.cadence is None else agreed.cadence.text,
            "criteria": _describe_criteria(agreed),
            "filters": self.filters,
            "command": list(self.command),
            "judged": list(self.judged),
            "selected": {name: list(words) for name, words in self.selected.items()},
            "totals": _describe_totals(tally),
            "sumUp": sum_up,
        }


def _describe_criteria(agreed: Agreement) -> str:
    parts = [
        f"{word} {deadline.text}"
        for word, deadline in (
            ("a warning after", agreed.warn),
            ("an alarm after", agreed.error),
            ("an alarm for reprocessing after", agreed.reprocessing),
        )
        if deadline is not None
    ]
    return ", ".join(parts)


def _describe_totals(tally: GapTally) -> dict[str, object]:
    return {
        "series": tally.series,
        "expecting_series": tally.expecting_series,
        "complete_series": tally.complete_series,
        "late_series": tally.late_series,
        "waiting_series": tally.waiting_series,
        "expected_dates": tally.expected,
        "ready_dates": tally.ready,
        "waiting_dates": tally.waiting,
        "warn_dates": tally.warned,
        "error_dates": tally.alarmed,
        "known_dates": tally.known,
        "guessed_dates": tally.guessed,
        "complete": tally.complete,
    }
