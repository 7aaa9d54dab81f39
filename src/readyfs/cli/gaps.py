"""`readyfs gaps`: the dates that are not ready for longer than was agreed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from readyfs.cli.command import Invocation, ReadyfsCommand
from readyfs.cli.judging import Judging, with_judging
from readyfs.cli.output import Form, has_colours, with_output, write_json
from readyfs.cli.table import write_table
from readyfs.errors import ExitCode

if TYPE_CHECKING:
    from readyfs.consumer.agreement import Judge
    from readyfs.consumer.gap_tally import GapTally
    from readyfs.consumer.gaps import SeriesGaps


@click.command(cls=ReadyfsCommand, short_help="Show the dates that are late: pending, failed, missing or withheld.")
@with_output(Form.NAGIOS, Form.PROMETHEUS)
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
@with_judging
@click.pass_obj
def gaps(invocation: Invocation, form: Form, fail_on: str, limit: int, judging: Judging) -> ExitCode:
    """Show the dates that are pending, failed, missing or withheld for longer than was agreed after they ended.

    It reads the state store, with the settings and filters of a mount. Runs are not looked at: `readyfs check` finds
    those that cannot be served. It exits with 12 if anything is late. With --format nagios it is a monitoring plugin:
    0 OK, 1 WARNING, 2 CRITICAL, and 3 UNKNOWN for whatever went wrong.

    \b
    readyfs gaps --state state.db --warn 24h --crit 36h
    readyfs gaps --config /etc/readyfs/sales.toml --deadline 09:00 --tz Europe/Berlin --expect customers.csv
    readyfs gaps --state state.db --sla 30h --cadence weekdays --format nagios
    """  # noqa: D301 - click wants a real backspace before text that it must not wrap
    from readyfs.consumer.agreement import Verdict
    from readyfs.consumer.gap_tally import GapTally
    from readyfs.consumer.gaps import find_gaps

    tally = GapTally()
    with judging.open() as asked:
        found = find_gaps(asked.reader.series(), asked.judge, asked.expectations, asked.known)
        if form is Form.NAGIOS:
            from readyfs.cli.nagios import render_gaps

            line, invocation.plugin_state = render_gaps(found, tally)
            click.echo(line)
            return ExitCode.OK
        _print(form, found, tally, asked.judge, limit, judging)
    late = (Verdict.ERROR,) if fail_on == "crit" else (Verdict.ERROR, Verdict.WARN)
    return ExitCode.FOUND if tally.verdict in late else ExitCode.OK


def _print(
    form: Form, found: Iterator[SeriesGaps], tally: GapTally, judge: Judge, limit: int, judging: Judging
) -> None:
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
    click.echo(sum_up(tally) if tally.series else judging.describe_nothing())
