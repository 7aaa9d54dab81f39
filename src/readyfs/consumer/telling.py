"""What the rows of one partition say of it, in forms that leave a place for what differs from partition to partition.

`why` fills the forms, and so does whatever holds very many partitions and makes a sentence when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from readyfs.consumer.explanation import Reason, show_run, show_time
from readyfs.partition import NOT_SET, PartitionStatus, WithheldReason
from readyfs.state.reader import StateRow
from readyfs.text import escape_text

NO_ROW: Final = "the state has no row of it"
SAYS: Final = "its row says {word} since {since}"


class Form(StrEnum):
    """A sentence, with the names of what stands in its places."""

    READY = "{asked} is ready: run {run} since {since}{records}"
    REPROCESSING = f"{{asked}} is not ready: its row still names run {{run}}, and {SAYS}"
    PENDING = f"{{asked}} is not ready yet: {SAYS}"
    WITHHELD = "{asked} is ready, and its row cannot be shown: {said}"
    AMBIGUOUS = "{asked} cannot be shown: {said}"
    MISSING = f"{{asked}} is not there: {NO_ROW}"
    FAILED = f"{{asked}} has failed{{attempts}}{{message}}; {SAYS}"


REASONS: Final = {
    Form.READY: Reason.READY,
    Form.REPROCESSING: Reason.PENDING,
    Form.PENDING: Reason.PENDING,
    Form.WITHHELD: Reason.WITHHELD,
    Form.AMBIGUOUS: Reason.AMBIGUOUS,
    Form.MISSING: Reason.MISSING,
    Form.FAILED: Reason.FAILED,
}
"""The reason that each sentence is about."""

COUNTED: Final = {
    "records": (", {count} record", ", {count} records"),
    "attempts": (" after {count} attempt", " after {count} attempts"),
}
"""What stands in a place for one, and for several; nothing does where the number is not known."""
MESSAGE: Final = ": {message}"
"""What stands in the place for a message; nothing does without one."""


class Telling(NamedTuple):
    """What the rows of one partition say: the form of the sentence, the row it is about, and what is `said` besides.

    `said` has its place in the forms of what is withheld. There is no row where nothing is told of one alone.
    """

    form: Form
    row: StateRow | None = None
    said: str = ""


def tell(rows: Sequence[StateRow]) -> Telling:
    """Return what rows of one partition say, of which a state without a mount shows at most one."""
    if not rows:
        return Telling(Form.MISSING)
    if len(rows) == 1 and rows[0].withheld is None:
        return Telling(_FORMS.get(rows[0].status, Form.PENDING), rows[0])  # most are so
    claims = claims_of(rows)
    if len(claims) > 1 or any(map(is_claim, claims)):
        return Telling(Form.AMBIGUOUS, None, describe_claims([(row.series.source, row.run_id) for row in claims], rows))
    return tell_one(rows)


def tell_one(rows: Sequence[StateRow]) -> Telling:
    """Return what that row says which can become shown the soonest."""
    row = min(rows, key=_hopelessness)
    if row.withheld is not None:
        return Telling(Form.WITHHELD, row, f"{row.withheld.value}: {row.detail}" if row.detail else row.withheld.value)
    return Telling(_FORMS.get(row.status, Form.PENDING), row)


def describe_claims(claims: Sequence[tuple[bytes | str, bytes | str]], rows: Sequence[StateRow]) -> str:
    """Return which rows claim one path, of each the source and the run; one alone may tell of the others."""
    if len(claims) < 2 and rows and rows[0].detail:
        return f"two ready rows claim it: {rows[0].detail}"
    which = " and ".join(f"{escape_text(source)} (run {escape_text(run_id)})" for source, run_id in claims)
    return f"two ready rows claim it: {which}" if which else "two ready rows claim it"


def claims_of(rows: Iterable[StateRow]) -> list[StateRow]:
    """Return the rows that are ready and can be shown, as far as the rows alone can tell."""
    return [row for row in rows if row.status is PartitionStatus.READY or is_claim(row)]


def is_claim(row: StateRow) -> bool:
    """Whether a reader that knows the layout found that another row claims the path, too."""
    return row.withheld is WithheldReason.AMBIGUOUS_PATH


def fill(form: str, asked: str, row: StateRow | None, said: str = "", *, with_message: bool = True) -> str:
    """Return a sentence about a row, or a part of one."""
    if row is None:
        return form.format(asked=asked, said=said)
    message = row.error_message if with_message else None
    return form.format(
        asked=asked,
        said=said,
        run=show_run(row.run_id),
        since=show_time(row.updated_at_ns),
        word=escape_text(row.word),
        records=count("records", row.record_count),
        attempts=count("attempts", row.attempt_count),
        message=MESSAGE.format(message=escape_text(message)) if message else "",
    )


def count(what: str, number: int) -> str:
    """Return what stands in a sentence for a number."""
    one, several = COUNTED[what]
    return "" if number == NOT_SET else (one if number == 1 else several).format(count=f"{number:,}")


_FORMS: Final = {
    PartitionStatus.READY: Form.READY,
    PartitionStatus.REPROCESSING: Form.REPROCESSING,
    PartitionStatus.FAILED: Form.FAILED,
}
_ORDER: Final = (PartitionStatus.READY, PartitionStatus.REPROCESSING, PartitionStatus.PENDING, PartitionStatus.FAILED)


def _hopelessness(row: StateRow) -> int:
    """Return the order in which rows of several sources can become what is shown at one path."""
    return _ORDER.index(row.status) * 2 if row.status in _ORDER else 1
