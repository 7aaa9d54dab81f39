"""`readyfs coverage`: the picture of what is ready, and what is not."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.date_axis import Unit
from readyfs.cli.judging import Judging, with_judging
from readyfs.cli.output import Form, has_colours, with_output, write_json
from readyfs.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from readyfs.consumer.coverage import SeriesCoverage
    from readyfs.consumer.gap_tally import GapTally


@click.command(cls=ReadyfsCommand, short_help="Draw what is ready and what is not, series by dates.")
@with_output()
@click.option(
    "--by",
    type=click.Choice([str(unit) for unit in Unit]),
    help="What one character stands for; the newest dates are drawn as far as they fit.  [default: the finest of which "
    "all dates fit]",
)
@click.option("--problems", is_flag=True, help="Draw only the series of which a date is late.")
@click.option(
    "--sort",
    type=click.Choice(["key", "worst"]),
    default="key",
    show_default=True,
    help="Which series come first: in the order of their names, or those with the most late dates.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write the picture as one file for a browser, which needs no network; - is standard output.",
)
@with_judging
def coverage(form: Form, by: str | None, problems: bool, sort: str, html: Path | None, judging: Judging) -> ExitCode:
    """Draw what is ready, failed, pending, missing, withheld or reprocessed: a row for each series, dates as columns.

    It counts exactly as `readyfs gaps` does, with the same options. A character that stands for many dates shows the
    worst of them. A letter in upper case is late. It exits with 0 whatever is late: `readyfs gaps` is the alarm.

    \b
    readyfs coverage --state state.db
    readyfs coverage --config /etc/readyfs/sales.toml --since 2024-01-01 --problems
    readyfs coverage --state state.db --by month --sort worst
    readyfs coverage --state state.db --html coverage.html
    """  # noqa: D301 - click wants a real backspace before text that it must not wrap
    from readyfs.consumer.coverage import find_coverage
    from readyfs.consumer.gap_tally import GapTally

    if html is not None:
        from readyfs.cli.coverage_page import write_page

        if form is Form.JSON:
            raise UsageError("--json and --html exclude each other", "leave out one of them")
        _refuse_drawing(by, problems, sort, "the page has each date of each series", "choose there")
        write_page(html, judging)
        return ExitCode.OK
    if form is Form.JSON:
        _refuse_drawing(by, problems, sort, "JSON has each date of each series", "select among the objects")
    with judging.open() as asked:
        found = find_coverage(asked.reader.by_series(), asked.judge, asked.expectations, asked.known)
        if form is Form.JSON:
            from readyfs.cli.coverage_json import describe_coverage
            from readyfs.consumer.series_fields import describe_criteria

            criteria = describe_criteria(asked.judge.agreement)
            write_json(describe_coverage(one, asked.judge.now_ns, criteria) for one in found)
            return ExitCode.OK
        tally = GapTally()
        _draw(_count(found, tally), None if by is None else Unit(by), problems, sort)
    from readyfs.cli.gaps_text import sum_up

    click.echo(sum_up(tally) if tally.series else judging.describe_nothing())
    return ExitCode.OK


def _refuse_drawing(by: str | None, problems: bool, sort: str, because: str, instead: str) -> None:
    """Raise `UsageError` for what is of the picture alone."""
    flags = [("--by", by is not None), ("--problems", problems), ("--sort", sort != "key")]
    given = [flag for flag, is_given in flags if is_given]
    if given:
        raise UsageError(f"{', '.join(given)} would do nothing: {because}", f"leave it out, and {instead}")


def _count(found: Iterator[SeriesCoverage], tally: GapTally) -> Iterator[SeriesCoverage]:
    for one in found:
        tally.add(one.gaps)
        yield one


def _draw(found: Iterator[SeriesCoverage], unit: Unit | None, problems: bool, sort: str) -> None:
    from readyfs.cli.coverage_text import NARROWEST, by_badness, by_key, row_of, write_picture
    from readyfs.consumer.agreement import Verdict

    # Which dates there are is known with the last series, so that no row can be drawn before.
    rows = [row_of(one) for one in found if not problems or one.gaps.verdict is not Verdict.PASS]
    if not rows:
        return
    rows.sort(key=by_badness if sort == "worst" else by_key)
    size = shutil.get_terminal_size()
    screen = max(1, size.lines - 3) if sys.stdout.isatty() else None
    width = max(NARROWEST, size.columns)
    write_picture(rows, unit=unit, width=width, colours=has_colours(), screen=screen)
    sys.stdout.write("\n")
