"""What the status column of a state table holds: asked when nothing is ready, to say why in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from readyfs.text import escape_text

LISTED_WORDS: Final = 5
LONGEST_WORD: Final = 80
"""Characters of a word that are read and shown."""


@dataclass(frozen=True, slots=True)
class StatusSurvey:
    """The words in the column with their counts, the most frequent ones, each fit to be shown.

    `declared` is the type as the database writes it, empty where it has none. `rows` counts all rows, `ready` those
    whose status is the ready word, filters left out of account; both of the first rows alone if it is not `is_whole`.
    """

    column: str
    declared: str
    rows: int
    ready: int
    words: tuple[tuple[str, int], ...]
    is_whole: bool = True

    def describe(self, ready: str) -> str:
        """Return how many rows are ready, of which type the column is, and which words are there, as one line."""
        shown = [f"{word} ({count:,})" for word, count in self.words]
        others = self.rows - sum(count for _, count in self.words)
        if others:
            shown.append(f"other words ({others:,})")
        kind = escape_text(self.declared)[:LONGEST_WORD] or "of no declared type"
        which = "" if self.is_whole else "the first "
        return (
            f"{self.ready:,} of {which}{self.rows:,} rows are ready: column {escape_text(self.column)} ({kind}) holds "
            f"{', '.join(shown)}, and --ready-status is '{escape_text(ready)}'"
        )
