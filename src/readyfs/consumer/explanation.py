"""What `readyfs why` answers: a reason in one word, a sentence for people, and fields for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from readyfs.partition import NOT_SET, Partition, PartitionStatus, render_date, render_time, show_moment
from readyfs.state.reader import StateRow
from readyfs.text import decode_text, escape_text


class Reason(StrEnum):
    """Why something is there or is not; the value is the word that people and machines are shown."""

    READY = "ready"
    """It can be opened, as far as anybody knows."""
    PENDING = "pending"
    """It has a row that is neither ready nor failed, or is a directory below which nothing is ready."""
    MISSING = "missing"
    """It has no row; or its run has no file of that name; or the view does not hold it."""
    FAILED = "failed"
    WITHHELD = "withheld"
    """Its row is ready and cannot be shown; `withheld` says why."""
    BROKEN = "broken"
    """Its row is ready, and its run cannot be served."""
    AMBIGUOUS = "ambiguous"
    """Two ready rows claim its path."""
    FILTERED = "filtered"
    """The mount does not show it, whatever there is of it."""
    NOT_SEEN_YET = "not_seen_yet"
    """The mount has not seen that it is ready: it looked before, or cannot look."""
    HELD_BACK = "held_back"
    """The guard against an emptied table keeps the mount from following the state."""
    STALE = "stale"
    """The catalog is older than `--max-staleness` allows, so that every walk from the root fails."""
    EXPIRED = "expired"
    """The view is not kept any more."""
    IMPOSSIBLE = "impossible"
    """No partition of the mount can have that path or key."""


REMEDIES: Mapping[Reason, str] = {
    Reason.READY: "",
    Reason.PENDING: "wait for it with `readyfs wait`",
    Reason.MISSING: "wait for it with `readyfs wait`, or ask its producer whether it comes",
    Reason.FAILED: "ask its producer for another attempt",
    Reason.WITHHELD: "have its producer mend the row",
    Reason.BROKEN: "have its producer write another run, or restore the files of this one",
    Reason.AMBIGUOUS: "have the producer of one of the rows mend it",
    Reason.FILTERED: "ask a mount or a state that shows it",
    Reason.NOT_SEEN_YET: "wait for it with `readyfs wait`",
    Reason.HELD_BACK: "have whoever runs the mount accept the state with `readyfs refresh --accept`",
    Reason.STALE: "have whoever runs the mount see to its state store",
    Reason.EXPIRED: "take a view that is kept, or the live tree",
    Reason.IMPOSSIBLE: "name what `readyfs ls` lists",
}
"""What can be done, by whoever asks or by whom it names; empty where nothing has to be."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something is ready or is not, as of one moment.

    `sentence` is for people, with foreign text escaped. `detail` is what it adds to the reason, `note` what else is
    known or could not be learnt; both may be empty. `fields` are those of the partition.
    """

    reason: Reason
    sentence: str
    detail: str = ""
    note: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)

    def describe(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return {
            "reason": self.reason.value,
            "detail": self.detail,
            "note": self.note,
            "sentence": self.sentence,
            "remedy": REMEDIES[self.reason],
            **NO_FIELDS,
            **self.fields,
        }


NO_FIELDS: Mapping[str, object] = dict.fromkeys(
    (
        "kind",
        "source",
        "customer_id",
        "query_name",
        "logical_date",
        "status",
        "withheld",
        "run_id",
        "updated_at",
        "record_count",
        "schema_version",
        "attempt_count",
        "error_message",
        "state_status",
        "looked_at",
        "path",
        "claims",
        "nearest",
    )
)
"""Every field of a partition, which is null where it is not known."""


def fields_of_partition(partition: Partition) -> dict[str, object]:
    """Return what a catalog tells of a ready partition."""
    return {
        **fields_of_key(*partition.key.series, date=partition.key.date),
        "status": PartitionStatus.READY.value,
        "run_id": decode_text(partition.run_id),
        "updated_at": _time(partition.updated_at_ns),
        "record_count": _number(partition.record_count),
        "schema_version": _text_or_null(partition.schema_version),
    }


def fields_of_row(row: StateRow, *, with_message: bool) -> dict[str, object]:
    """Return what the state table tells of a partition, the message of its error only if that may be shown."""
    return {
        **fields_of_key(*row.series, date=row.date),
        "status": row.status.value,
        "withheld": None if row.withheld is None else row.withheld.value,
        "run_id": decode_text(row.run_id) if row.run_id else None,
        "updated_at": _time(row.updated_at_ns),
        "record_count": _number(row.record_count),
        "schema_version": _text_or_null(row.schema_version),
        "attempt_count": _number(row.attempt_count),
        "error_message": row.error_message if with_message else None,
    }


def fields_of_key(
    source: bytes | None, customer_id: bytes | None, query_name: bytes | None, date: int | None
) -> dict[str, object]:
    """Return the key as far as it is known."""
    return {
        "source": _text_or_null(source),
        "customer_id": _text_or_null(customer_id),
        "query_name": _text_or_null(query_name),
        "logical_date": None if date is None else render_date(date).decode(),
    }


def list_claims(claims: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Return the rows that claim one path, of each the source, the run and when it was written."""
    return {"claims": [{name: one[name] for name in ("source", "run_id", "updated_at")} for one in claims]}


NO_TIME: Final = "an unknown time"


def show_time(time_ns: int) -> str:
    """Return a time for a sentence, `an unknown time` where the row tells none."""
    return NO_TIME if time_ns == NOT_SET else show_moment(time_ns)


def show_run(run_id: bytes) -> str:
    """Return a run id for a sentence."""
    return escape_text(run_id)


def _time(time_ns: int) -> str | None:
    return None if time_ns == NOT_SET else render_time(time_ns).decode()


def _number(value: int) -> int | None:
    return None if value == NOT_SET else value


def _text_or_null(value: bytes | None) -> str | None:
    return None if value is None else decode_text(value)
