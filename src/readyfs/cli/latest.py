"""`readyfs latest`: how far each series has come."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import click

from readyfs.cli.agreement_options import with_agreement
from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.output import Form, has_colours, with_output, write_json
from readyfs.cli.place import FILE_SETTINGS, FILTERS, Place, with_place
from readyfs.cli.table import Column, write_table
from readyfs.config import table as settings
from readyfs.errors import ExitCode, UsageError
from readyfs.partition import show_moment
from readyfs.text import escape_text

if TYPE_CHECKING:
    from readyfs.consumer.agreement_words import AgreementWords

_COLOURS: Final[Mapping[str, str]] = {"crit": "red", "warn": "yellow"}
_COLUMNS: Final = (
    Column("LEVEL", colour=lambda word: _COLOURS.get(word, "")),
    Column("SOURCE"),
    Column("CUSTOMER"),
    Column("QUERY"),
    Column("NEWEST"),
    Column("EXPECTED"),
    Column("BEHIND", is_number=True),
    Column("COMPLETE UNTIL"),
    Column("UPDATED"),
    Column("CADENCE"),
)


@click.command(cls=ReadyfsCommand, short_help="Show how far each series has come.")
@with_output()
@with_agreement
@with_place(argument=True, passed=FILTERS, unflagged=(settings.RAW, *FILE_SETTINGS))
def latest(form: Form, words: AgreementWords, place: Place) -> ExitCode:
    """Show the newest ready date of each customer and query, the date that is expected by now, how many dates it is
    behind, and up to which date there is no gap.

    It asks the daemon of the mount at MOUNTPOINT, or reads the state store. A date is expected when it has ended, or
    when it is due where one of the options says when that is. A mount knows what is ready, and not what is pending or
    failed. Runs are not looked at: `readyfs check` finds those that cannot be served.

    \b
    readyfs latest /mnt/ready
    readyfs latest /mnt/ready --customer 1234567890 --json
    readyfs latest --state state.db --cadence weekdays --deadline 09:00 --tz Europe/Berlin
    """  # noqa: D205, D301 - click wants a real backspace before text that it must not wrap
    found = _ask(place, words) if place.asks_mount else _read(place, words)
    if form is Form.JSON:
        write_json(found)
    elif not write_table(_COLUMNS, map(_show, found), colours=has_colours()):
        click.echo(place.describe_nothing())
    return ExitCode.OK


def _read(place: Place, words: AgreementWords) -> Iterator[Mapping[str, object]]:
    from readyfs.consumer.agreement import Judge
    from readyfs.consumer.latest import find_latest, first_date
    from readyfs.consumer.series_fields import describe_criteria, describe_latest

    filters = place.filters()
    now_ns = time.time_ns()
    judge = Judge(words.agree(filters, now_ns), now_ns)
    criteria = describe_criteria(judge.agreement)
    reader = place.open_reader(filters)
    try:
        for days in reader.series():
            found = find_latest(days.series, days.ready, days.newest_ns, judge, first_date(days))
            yield describe_latest(found, now_ns, criteria)
    finally:
        reader.close()


def _ask(place: Place, words: AgreementWords) -> Iterable[Mapping[str, object]]:
    from readyfs.consumer.series_fields import show_date
    from readyfs.control.latest_request import AGREEMENT_WORDS, LatestRequest

    if words.contract is not None:
        raise UsageError("--contract is read beside the state store", "leave it out, or name the store with --state")
    filters = place.filters()
    request = LatestRequest(
        {name: getattr(words, name) for name in AGREEMENT_WORDS},
        {"sources": filters.sources, "customers": filters.customers, "queries": filters.queries},
        {"since": show_date(filters.since), "until": show_date(filters.until)},
    )
    return place.client().latest(request, _warn)


def _warn(outdated: str) -> None:
    click.echo(f"readyfs: {escape_text(outdated)}", err=True)


def _show(one: Mapping[str, object]) -> tuple[str, ...]:
    from readyfs.consumer.agreement import Verdict

    cadence, status = _text(one, "cadence"), _text(one, "status")
    updated = _text(one, "max_loaded_at")
    return (
        Verdict.ERROR.word if status == Verdict.ERROR else status,
        *(_text(one, name) for name in ("source", "customer_id", "query_name", "newest_date", "expected_date")),
        _text(one, "behind_dates"),
        _text(one, "complete_until_date"),
        updated if updated == "-" else show_moment(updated),
        f"{cadence}?" if one.get("cadence_guessed") and cadence != "-" else cadence,
    )


def _text(one: Mapping[str, object], name: str) -> str:
    value = one.get(name)
    return "-" if value is None else str(value)
