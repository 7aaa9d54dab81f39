"""Why a catalog is empty although the state table has rows: said once in words, so that nobody takes it for the truth.

An empty mount and exit code 0 look the same whether nothing is ready or the ready word is another one. The table is
asked when a catalog turns out to be empty, and not again at each refresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from readyfs.errors import StateError
from readyfs.partition import WithheldTally
from readyfs.state.inspect import open_inspector
from readyfs.state.store import StateTable
from readyfs.state.survey import StatusSurvey
from readyfs.text import escape_text

ASK_AGAIN_S: Final = 600.0
"""So long the answer holds while nothing becomes ready: each one reads the whole column."""


@dataclass(frozen=True, slots=True)
class Emptiness:
    """Why nothing is shown, as one line, and what to do; `is_fault` unless the filters alone leave nothing."""

    cause: str
    remedy: str
    is_fault: bool = True


class EmptinessWatch:
    """Explains empty catalogs; called by the thread that loads, between two looks of the store."""

    def __init__(
        self, survey: Callable[[], StatusSurvey], ready: str, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`survey` asks the state table what its status column holds; it raises `StateError` if it cannot."""
        self._survey = survey
        self._ready = ready
        self._now_s = now_s
        self._answer: Emptiness | None = None
        self._asked_at_s: float | None = None

    def explain(self, partitions: int, rows: int, withheld: WithheldTally) -> Emptiness | None:
        """Return why a catalog is empty, None if the table is too; `rows` are ready and pass the filters."""
        if partitions or rows:
            self._asked_at_s = None
            return None if partitions else _all_withheld(rows, withheld)
        if self._asked_at_s is None or self._now_s() - self._asked_at_s >= ASK_AGAIN_S:
            self._answer = self._ask()
        return self._answer

    def _ask(self) -> Emptiness | None:
        self._asked_at_s = self._now_s()
        try:
            survey = self._survey()
        except StateError as error:
            return Emptiness(
                f"no row is ready, --ready-status is '{escape_text(self._ready)}', and what the table holds could not "
                f"be counted: {error.message}",
                "compare --ready-status with the status of a row",
            )
        if not survey.rows:
            self._asked_at_s = None  # the next row may be the first of many
            return None
        if survey.ready:
            return Emptiness(
                f"the filters leave none of {survey.ready:,} ready rows",
                "compare --source, --customer, --query, --since and --until with the table",
                is_fault=False,
            )
        return Emptiness(survey.describe(self._ready), "name the word of ready rows with --ready-status")


def watch_emptiness(url: str, table: StateTable, timeout_s: float) -> EmptinessWatch:
    """Return what explains empty catalogs of a state store, asking the store itself."""
    return EmptinessWatch(lambda: open_inspector(url, table, timeout_s).survey(), table.ready)


def _all_withheld(rows: int, withheld: WithheldTally) -> Emptiness:
    return Emptiness(
        f"0 of {rows:,} ready rows are shown, all are withheld: {withheld.render()}",
        "mend the rows, or the settings that say what they mean",
    )
