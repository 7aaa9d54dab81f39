"""`readyfs gaps`: the dates that are not ready for longer than was agreed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from readyfs.cli.agreement_options import due_option, with_agreement
from readyfs.cli.command import Invocation, ReadyfsCommand
from readyfs.cli.output import Form, has_colours, with_output, write_json
from readyfs.cli.place import FILE_SETTINGS, Place, with_place
from readyfs.cli.table import write_table
from readyfs.config import table as settings
from readyfs.errors import ExitCode

if TYPE_CHECKING:
    from readyfs.consumer.agreement import Judge
    from readyfs.consumer.agreement_words import AgreementWords
    from readyfs.consumer.gap_tally import GapTally
    from readyfs.consumer.gaps import SeriesGaps


@click.command(cls=ReadyfsCommand, short_help="Show the dates that are late: pending, failed, missing or withheld.")
@with_output(Form.NAGIOS, Form.PROMETHEUS)
@click.option(
    "--expect",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A CSV file of the series that must exist: source,customer_id,query_name,first_date, and if you like "
    "last_date,cadence.",
)
@click.option(
    "--known",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A CSV file of gaps that are counted and alarm nobody: source,customer_id,query_name,first_date,last_date, "
    "and if you like reason.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["warn", "crit"]),
    default="warn",
    show_default=True,
    help="What the exit code 12 is for: a warning or an alarm, or an alarm alone.",
)
@click.option(
    "--limit",
    type=click.IntRange(0, 1_000_000),
    default=1000,
    show_default=True,
    metavar="N",
    help="Of how many series there are gauges with --format prometheus; the worst come first.",
)
@with_agreement
@due_option(
    "--reprocessing-crit",
    metavar="DURATION",
    help="After how long a row that is not ready and still names a run is worth an alarm; counted from the later of "
    "its date's end and its updated_at.  [default: never, only a warning]",
)
@with_place(argument=True, unflagged=(settings.RAW, *FILE_SETTINGS))
@click.pass_obj
def gaps(
    invocation: Invocation,
    form: Form,
    expect: Path | None,
    known: Path | None,
    fail_on: str,
    limit: int,
    words: AgreementWords,
    reprocessing_crit: str | None,
    place: Place,
) -> ExitCode:
    """Show the dates that are pending, failed, missing or withheld for longer than was agreed after they ended.

    It reads the state store, with the settings and filters of a mount. Runs are not looked at: `readyfs check` finds
    those that cannot be served. It exits with 12 if anything is late. With --format nagios it is a monitoring plugin:
    0 OK, 1 WARNING, 2 CRITICAL, and 3 UNKNOWN for whatever went wrong.

    \b
    readyfs gaps --state state.db --warn 24h --crit 36h
    readyfs gaps --config /etc/readyfs/sales.toml --deadline 09:00 --tz Europe/Berlin --expect customers.csv
    readyfs gaps --state state.db --sla 30h --cadence weekdays --format nagios
    """  # noqa: D301 - click wants a real backspace before text that it must not wrap
    from readyfs.consumer.agreement import Judge, Verdict
    from readyfs.consumer.expected import Expectations, read_expectations
    from readyfs.consumer.gap_tally import GapTally
    from readyfs.consumer.gaps import find_gaps
    from readyfs.consumer.known import KnownGaps, read_known_gaps

    place.refuse_mount()
    filters = place.filters()
    now_ns = time.time_ns()
    agreement = replace(words, reprocessing_crit=reprocessing_crit).agree(filters, now_ns)
    judge = Judge(agreement, now_ns)
    expectations = Expectations() if expect is None else read_expectations(expect, filters)
    acknowledged = KnownGaps() if known is None else read_known_gaps(known)
    tally = GapTally()
    reader = place.open_reader(filters)
    try:
        found = find_gaps(reader.series(), judge, expectations, acknowledged)
        if form is Form.NAGIOS:
            from readyfs.cli.nagios import render_gaps

            line, invocation.plugin_state = render_gaps(found, tally)
            click.echo(line)
            return ExitCode.OK
        _print(form, found, tally, judge, limit, place)
    finally:
        reader.close()
    late = (Verdict.ERROR,) if fail_on == "crit" else (Verdict.ERROR, Verdict.WARN)
    return ExitCode.FOUND if tally.verdict in late else ExitCode.OK


def _print(form: Form, found: Iterator[SeriesGaps], tally: GapTally, judge: Judge, limit: int, place: Place) -> None:
    if form is Form.PROMETHEUS:
        from readyfs.cli.gaps_prometheus import render_gauges_of

        click.echo(render_gauges_of(found, tally, judge, limit), nl=False)
        return
    from readyfs.cli.gaps_text import COLUMNS, describe_gaps, list_rows, sum_up
    from readyfs.consumer.series_fields import describe_criteria

    counted = tally.counting(found)
    if form is Form.JSON:
        criteria = describe_criteria(judge.agreement)
        write_json(describe_gaps(one, judge.now_ns, criteria) for one in counted)
        return
    if write_table(COLUMNS, list_rows(counted), colours=has_colours()):
        sys.stdout.write("\n")
    click.echo(sum_up(tally) if tally.series else f"{place.describe_nothing()}, and nothing is expected")
