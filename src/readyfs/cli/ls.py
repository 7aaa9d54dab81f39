"""`readyfs ls`: the partitions of a state table with their status, run, records and age."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.completions import complete_cadence, complete_zone
from readyfs.cli.output import Form, has_colours, with_output, write_json
from readyfs.cli.parameters import CADENCE, STATUSES, ZONE
from readyfs.cli.place import Place, with_place
from readyfs.cli.table import write_blocks, write_table
from readyfs.config import table as settings
from readyfs.errors import ExitCode, UsageError
from readyfs.partition import PartitionStatus

if TYPE_CHECKING:
    from readyfs.consumer.cadence import Cadence
    from readyfs.consumer.listing import FindBroken, Listing
    from readyfs.state.filters import Filters
    from readyfs.state.reader import SeriesState, StateRow

T = TypeVar("T")

_MOST: Final = 1_000_000_000


@click.command(cls=ReadyfsCommand)
@click.argument("where", metavar="[PATH|KEY]", required=False)
@click.option(
    "--status",
    "statuses",
    type=STATUSES,
    help=f"Show only these, separated by commas: {', '.join(PartitionStatus)}.  [default: what the table holds]",
)
@click.option("--limit", type=click.IntRange(1, _MOST), metavar="N", help="Show no more than so many.")
@click.option(
    "--cadence",
    type=CADENCE,
    shell_complete=complete_cadence,
    help="Which dates are expected: daily, weekdays, weekly:MON, or cron fields. Those without a row are shown as "
    "missing.  [default: daily with --status missing]",
)
@click.option(
    "--day-tz",
    "zone",
    type=ZONE,
    shell_complete=complete_zone,
    default=datetime.UTC,
    help="The time zone in which dates end; the newest that has ended is the last one that can be missing.  "
    "[default: UTC]",
)
@click.option("--check", "look", is_flag=True, help="Look at the run of each ready partition: some may be broken.")
@with_output()
@with_place(settings.RAW_TIMEOUT, settings.RAW_THREADS)
def ls(
    where: str | None,
    statuses: frozenset[PartitionStatus] | None,
    limit: int | None,
    cadence: Cadence | None,
    zone: datetime.tzinfo,
    look: bool,
    form: Form,
    place: Place,
) -> ExitCode:
    """List the partitions of a state store with status, run, records and age, in the order of their keys.

    Without a path or a key it lists what the settings of a mount select. A key is customer/query/date, or a beginning
    of it. It reads the state store, which --state or --config names; a mount does not answer it. With --status missing
    each date is a line: `readyfs gaps` sums them up, and judges whether they are late.

    \b
    readyfs ls --state state.db
    readyfs ls 0012345678/campaign_daily --status failed,missing --config /etc/readyfs/sales.toml
    """  # noqa: D301 - click wants a real backspace before text that it must not wrap
    from readyfs.consumer.listing import filters_of, goes_whole, list_partitions, list_series

    now_ns = time.time_ns()
    listing = _choose(statuses, cadence, zone, look, now_ns)
    given = place.filters()
    filters: Filters | None = given
    nothing = "no partitions"
    if where is not None:
        place, text = place.locate(where)
        address = place.parse_address(text)
        if address.view is not None:
            raise UsageError("a view is of the past, and a list is of the state", "name a path of the live tree")
        listing = replace(listing, is_latest=address.is_latest)
        filters = address.narrow(given)
        if address.names_partition and not address.is_latest:
            nothing = "no row is there; `readyfs why` tells more"
        elif set("*?[") & set(text):
            nothing = "no partitions: a path or key is no pattern; choose with --customer and --query"
    if filters is None:
        return _print((), form, now_ns, None, nothing)
    listing = replace(listing, since=filters.since)
    if filters.until is not None:
        listing = replace(listing, until=min(filters.until, listing.until))
    find_broken = _find_broken(place, look) if look or PartitionStatus.BROKEN in listing.statuses else None
    reader = place.open_reader(filters_of(listing, filters))
    try:
        if limit is None and find_broken is None and goes_whole(listing):
            return _print_whole(list_series(reader, listing), form, now_ns, place, nothing)
        return _print(list_partitions(reader, listing, filters, find_broken), form, now_ns, limit, nothing)
    finally:
        reader.close()


def _choose(
    statuses: frozenset[PartitionStatus] | None,
    cadence: Cadence | None,
    zone: datetime.tzinfo,
    look: bool,
    now_ns: int,
) -> Listing:
    """Return what is wanted; what nobody looked for is not shown, and asking for it is a mistake."""
    from readyfs.consumer.listing import IN_THE_TABLE, Listing

    missing, broken = PartitionStatus.MISSING, PartitionStatus.BROKEN
    if statuses is None:
        statuses = IN_THE_TABLE | ({missing} if cadence is not None else set()) | ({broken} if look else set())
    if missing not in statuses:
        return Listing(statuses)
    from readyfs.consumer.cadence import DAILY
    from readyfs.consumer.deadline import last_ended

    return Listing(statuses, DAILY if cadence is None else cadence, until=last_ended(now_ns, zone))


def _find_broken(place: Place, look: bool) -> FindBroken:
    """Return what tells broken runs: a look of our own, or else what a mount has seen."""
    if look:
        return _examine(place)
    if place.mountpoint is None:
        raise UsageError(
            "what is broken shows only if runs are looked at",
            "add --check, or name a mount with --mount, which knows what its readers met",
        )
    from readyfs.cli.known_broken import ask_for_broken

    return ask_for_broken(place.client())


def _examine(place: Place) -> FindBroken:
    from readyfs.check.run_looks import open_looks
    from readyfs.check.sweep import Limits
    from readyfs.config.build import find_files, find_raw
    from readyfs.layout import RawLayout

    get = place.resolution.get
    layout = RawLayout.parse(get(settings.RAW_LAYOUT), get(settings.RAW_ENCODING))
    limits = Limits(get(settings.RAW_THREADS), get(settings.RAW_TIMEOUT))
    return open_looks(find_raw(place.resolution), layout, *find_files(place.resolution), limits).find_broken


def _print_whole(states: Iterable[SeriesState], form: Form, now_ns: int, place: Place, nothing: str) -> ExitCode:
    """Print what `_print` does of all rows of series."""
    from readyfs.cli.rows_text import COLUMNS, render_states

    if form is Form.TEXT:
        return _end(write_blocks(COLUMNS, render_states(states, now_ns), colours=has_colours()), nothing)
    from readyfs.cli.rows_json import render_lines
    from readyfs.config.build import find_table

    for lines in render_lines(states, find_table(place.resolution).ready, now_ns):
        sys.stdout.write(lines)
    sys.stdout.flush()
    return ExitCode.OK


def _print(rows: Iterable[StateRow], form: Form, now_ns: int, limit: int | None, nothing: str) -> ExitCode:
    from readyfs.cli.rows_text import COLUMNS, describe_rows, render_rows

    rows = _first(rows, limit)
    if form is Form.TEXT:
        return _end(write_table(COLUMNS, render_rows(rows, now_ns), colours=has_colours()), nothing)
    write_json(describe_rows(rows, now_ns))
    sys.stdout.flush()
    return ExitCode.OK


def _end(count: int, nothing: str) -> ExitCode:
    if not count:
        click.echo(nothing)
    sys.stdout.flush()
    return ExitCode.OK


def _first(found: Iterable[T], limit: int | None) -> Iterable[T]:
    return found if limit is None else _no_more_than(found, limit)


def _no_more_than(found: Iterable[T], limit: int) -> Iterator[T]:
    """Yield the first of what was found, and tell on stderr if that was not all."""
    for count, one in enumerate(found):
        if count == limit:
            click.echo(f"readyfs: there is more than --limit {limit} shows", err=True)
            return
        yield one
