"""Why something is ready or is not: one reason out of what a mount shows, what the state says, and the run's files.

Pure: whoever asks gathers the facts, all of one moment. `explain` only weighs them, in the order in which they keep a
reader from the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from readyfs.catalog.tree import AMBIGUOUS
from readyfs.consumer.address import Address, ImpossibleAddressError
from readyfs.consumer.explanation import (
    Explanation,
    Reason,
    fields_of_key,
    fields_of_partition,
    fields_of_row,
    list_claims,
    show_run,
    show_time,
)
from readyfs.consumer.facts import NOT_ASKED, Look, Recorded, Rules, Shown
from readyfs.consumer.telling import (
    NO_ROW,
    REASONS,
    SAYS,
    Form,
    claims_of,
    count,
    describe_claims,
    fill,
    is_claim,
    tell_one,
)
from readyfs.duration import render_duration
from readyfs.errors import UsageError
from readyfs.partition import Partition, PartitionKey, PartitionStatus, SeriesKey, WithheldReason
from readyfs.state.filters import Filters
from readyfs.state.reader import StateRow
from readyfs.text import decode_text, escape_text

_SOURCES_TOLD: Final = 10


def explain_impossible(asked: str, error: ImpossibleAddressError) -> Explanation:
    """Explain that an address can never be there."""
    nearest = None if error.nearest is None else decode_text(error.nearest)
    hint = "" if error.nearest is None else f"; did you mean {escape_text(error.nearest)}?"
    return Explanation(
        Reason.IMPOSSIBLE,
        f"{asked} can never be there: {error.reason}{hint}",
        error.reason,
        fields={"nearest": nearest},
    )


def explain_filtered(asked: str, address: Address, rules: Rules, *, shows_file: bool) -> Explanation | None:
    """Explain that a mount does not show an address, whatever there is of it; None if it may show it.

    Nothing is told but the kind of the filter: its other values are nobody's business.
    """
    detail = _find_filter(address, rules.filters)
    if detail is None and not shows_file:
        detail = "--files hides the file"
    if detail is None:
        return None
    return Explanation(
        Reason.FILTERED, f"{asked} is not among what is shown here: {detail}", detail, fields=_fields_of(address)
    )


def explain(
    asked: str, address: Address, rules: Rules, shown: Shown | None, recorded: Recorded, look: Look
) -> Explanation:
    """Explain an address that the filters let pass; without a mount nothing is `shown`.

    Raises `UsageError` if the rows are of several sources, which the layout tells apart.
    """
    _refuse_several_sources(address, rules, shown, recorded)
    fields = _fields_of(address)
    if shown is not None and shown.refused is not None:
        detail = f"the pin store has the view, and {shown.refused}"
        return _say(Reason.FILTERED, f"{asked} is not shown here: {detail}", detail, fields)
    if shown is not None and shown.expired and shown.trouble is not None:
        detail = f"nobody knows whether there is the view: {shown.trouble}"
        return _say(Reason.NOT_SEEN_YET, f"{asked} is not there: {detail}", detail, fields)
    if shown is not None and shown.expired:
        detail = "the view is not kept any more, or never was"
        return _say(Reason.EXPIRED, f"{asked} is in no view that is known here: {detail}", detail, fields)
    if shown is not None and shown.stale_s is not None:
        age = render_duration(round(shown.stale_s))
        detail = f"the catalog is {age} old, more than --max-staleness allows"
        because = f" ({shown.trouble})" if shown.trouble else ""
        return _say(Reason.STALE, f"every path of the mount fails: {detail}{because}", detail, fields)
    if not address.names_partition:
        fields["kind"] = "directory"
        return _explain_directory(asked, fields, is_there=shown is not None and shown.is_directory)
    if shown is not None and shown.meaning is AMBIGUOUS:
        return _explain_claims(asked, [fields_of_partition(one) for one in shown.claims], recorded.rows, rules, fields)
    if shown is not None and isinstance(shown.meaning, Partition):
        row = next((one for one in recorded.rows if one.series == shown.meaning.key.series), None)
        ready = _explain_ready(asked, shown.meaning, look, _note_difference(shown, recorded, row))
        return replace(ready, fields={**ready.fields, "state_status": None if row is None else row.status.value})
    if shown is not None and shown.taken_at_ns is not None:
        detail = f"it was not ready when the view was taken, at {show_time(shown.taken_at_ns)}"
        return _say(Reason.MISSING, f"{asked} is not in this view: {detail}", detail, fields)
    if recorded.problem is not None:
        return _explain_unknown(asked, shown, recorded.problem, fields)
    return _explain_rows(asked, address, rules, shown, recorded.rows, look)


def several_sources(sources: Iterable[bytes]) -> UsageError:
    """Return the error for a key that stands for partitions of several sources."""
    told = ", ".join(escape_text(source) for source in sorted(sources)[:_SOURCES_TOLD])
    return UsageError(f"partitions of several sources have that key: {told}", "name one with --source")


def _refuse_several_sources(address: Address, rules: Rules, shown: Shown | None, recorded: Recorded) -> None:
    if address.source is not None or not rules.layout.shows_source:
        return
    sources = {row.series.source for row in recorded.rows}
    if shown is not None and isinstance(shown.meaning, Partition):
        sources.add(shown.meaning.key.series.source)
    if len(sources) > 1:
        raise several_sources(sources)


# ---- what is shown ----------------------------------------------------------------------------------------------


def _explain_directory(asked: str, fields: dict[str, object], *, is_there: bool) -> Explanation:
    if is_there:
        return _say(Reason.READY, f"{asked} is there: something below it is ready", "", fields)
    detail = "nothing below it is ready; name a date to learn why"
    return _say(Reason.PENDING, f"{asked} is not there: {detail}", detail, fields)


def _explain_ready(asked: str, partition: Partition, look: Look, note: str) -> Explanation:
    known: dict[str, object] = {"kind": "partition", "looked_at": look.problem is None}
    fields, run = known | fields_of_partition(partition), show_run(partition.run_id)
    if look.fault is not None:
        return Explanation(
            Reason.BROKEN,
            f"{asked} is ready, and its run {run} cannot be served: {look.fault}",
            look.fault,
            note,
            fields,
        )
    if look.lacks_file:
        detail = "the run has no such file"
        return Explanation(Reason.MISSING, f"{asked} is not there: {detail} (run {run})", detail, note, fields)
    if look.problem is not None:
        note = "; ".join(filter(None, (note, f"the run was not looked at: {look.problem}")))
    since = show_time(partition.updated_at_ns)
    sentence = Form.READY.format(asked=asked, run=run, since=since, records=count("records", partition.record_count))
    return Explanation(Reason.READY, sentence, f"run {run} since {since}", note, fields)


def _note_difference(shown: Shown, recorded: Recorded, row: StateRow | None) -> str:
    """Return how the state differs from what is shown of a ready partition, empty if it does not."""
    partition = shown.meaning
    if not isinstance(partition, Partition) or shown.taken_at_ns is not None:
        return ""
    if recorded is NOT_ASKED:
        return ""
    if recorded.problem is not None:
        return f"the state could not be asked: {recorded.problem}"
    if row is None:
        what = "the state has no row of it any more"
    elif row.status is not PartitionStatus.READY:
        what = f"its row says {escape_text(row.word)} by now"
    elif row.run_id != partition.run_id:
        what = f"its row names run {show_run(row.run_id)} by now"
    else:
        return ""
    if shown.held_back is not None:
        return f"{what}, and the state is held back: {shown.held_back}"
    return f"{what}, which the mount has not seen yet"


def _explain_claims(
    asked: str,
    claims: Sequence[dict[str, object]],
    rows: Sequence[StateRow],
    rules: Rules,
    fields: dict[str, object],
) -> Explanation:
    """Explain a path that two rows claim; a catalog holds no rows of one key that stands twice, the state does."""
    if len(claims) < 2:
        ready = claims_of(rows)
        claims = [fields_of_row(row, with_message=rules.with_messages) for row in ready] or claims
    detail = describe_claims([(str(one["source"]), str(one["run_id"])) for one in claims], rows)
    withheld = {"status": PartitionStatus.WITHHELD.value, "withheld": WithheldReason.AMBIGUOUS_PATH.value}
    sentence = fill(Form.AMBIGUOUS, asked, None, detail)
    return _say(Reason.AMBIGUOUS, sentence, detail, fields | withheld | list_claims(claims))


def _explain_unknown(asked: str, shown: Shown | None, problem: str, fields: dict[str, object]) -> Explanation:
    """Explain what the mount does not show while the state cannot be asked why."""
    when = _when_looked(shown)
    detail = f"it was not ready when the mount looked last{when}"
    note = shown.trouble if shown is not None and shown.trouble is not None else problem
    return Explanation(
        Reason.NOT_SEEN_YET,
        f"{asked} is not there: {detail}, and the state could not be asked",
        detail,
        f"the state could not be asked: {note}",
        fields,
    )


# ---- what the state says ----------------------------------------------------------------------------------------


def _explain_rows(
    asked: str, address: Address, rules: Rules, shown: Shown | None, rows: Sequence[StateRow], look: Look
) -> Explanation:
    fields = _fields_of(address)
    if not rows:
        return _say(Reason.MISSING, fill(Form.MISSING, asked, None), NO_ROW, fields)
    claims = claims_of(rows)
    if (len(claims) > 1 and (shown is None or shown.held_back is None)) or any(map(is_claim, claims)):
        return _explain_claims(asked, [], rows, rules, fields)
    form, row, said = tell_one(rows)
    assert row is not None
    told_row = fields | fields_of_row(row, with_message=rules.with_messages)
    if form is Form.READY:
        return _explain_unseen(asked, row, shown, look, told_row)
    sentence = fill(form, asked, row, said, with_message=rules.with_messages)
    if form is Form.WITHHELD:
        return _say(Reason.WITHHELD, sentence, said, told_row)
    is_hidden = form is Form.FAILED and bool(row.error_message) and not rules.with_messages
    note = "the message of its row is not shown through this mount" if is_hidden else ""
    return Explanation(REASONS[form], sentence, fill(SAYS, asked, row), note, told_row)


def _explain_unseen(
    asked: str, row: StateRow, shown: Shown | None, look: Look, fields: dict[str, object]
) -> Explanation:
    """Explain a row that is ready and that no mount shows: there is none, or it has not followed the state."""
    run, since = show_run(row.run_id), show_time(row.updated_at_ns)
    if shown is None:
        assert row.date is not None
        return _explain_ready(asked, partition_of(row), look, "")
    if shown.held_back is not None:
        detail = f"the state is held back: {shown.held_back}"
        return _say(Reason.HELD_BACK, f"{asked} is ready (run {run}), and not shown: {detail}", detail, fields)
    detail = f"the mount looked last{_when_looked(shown)}"
    note = "" if shown.trouble is None else f"the state cannot be read: {shown.trouble}"
    return Explanation(
        Reason.NOT_SEEN_YET, f"{asked} is ready (run {run} since {since}), and {detail}", detail, note, fields
    )


# ---- words ------------------------------------------------------------------------------------------------------


def partition_of(row: StateRow) -> Partition:
    """Return a ready row as the partition that it stands for."""
    assert row.date is not None
    return Partition(
        PartitionKey(row.series, row.date), row.run_id, row.updated_at_ns, row.record_count, row.schema_version
    )


def _say(reason: Reason, sentence: str, detail: str, fields: dict[str, object]) -> Explanation:
    return Explanation(reason, sentence, detail, fields=fields)


def _fields_of(address: Address) -> dict[str, object]:
    kind = "partition" if address.names_partition else None
    return {"kind": kind} | fields_of_key(address.source, address.customer_id, address.query_name, date=address.date)


def _find_filter(address: Address, filters: Filters) -> str | None:
    series = SeriesKey(*(getattr(address, name) or b"" for name in SeriesKey._fields))
    for name, flag, only in (
        ("source", "--source", Filters(sources=filters.sources)),
        ("customer_id", "--customer", Filters(customers=filters.customers)),
        ("query_name", "--query", Filters(queries=filters.queries)),
    ):
        if getattr(address, name) is not None and not only.admits(series):
            return f"its {name} is outside of {flag}"
    if filters.since is not None and address.last is not None and address.last < filters.since:
        return "its date is before --since"
    if filters.until is not None and address.first is not None and address.first > filters.until:
        return "its date is after --until"
    return None


def _when_looked(shown: Shown | None) -> str:
    return "" if shown is None or shown.refreshed_at_ns is None else f", at {show_time(shown.refreshed_at_ns)}"
