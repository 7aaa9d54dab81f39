"""The options that say which dates are expected and when they are due: one decorator for `latest` and `gaps`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

import click

from readyfs.cli.command import GroupedOption
from readyfs.cli.completions import complete_cadence_or_auto, complete_zone
from readyfs.cli.output import Body
from readyfs.consumer.agreement_words import AgreementWords
from readyfs.errors import ExitCode

HEADING: Final = "When dates are due"


def with_agreement(body: Body) -> Body:
    """Give a command the options of when dates are due; its function is called with `words`, an `AgreementWords`."""

    @functools.wraps(body)
    def call(
        *args: object,
        cadence: str | None,
        day_tz: str,
        warn: str | None,
        crit: str | None,
        sla: str | None,
        deadline: str | None,
        tz: str | None,
        contract: Path | None,
        **values: object,
    ) -> ExitCode:
        words = AgreementWords(cadence, day_tz, warn, crit, sla, deadline, tz, contract)
        return body(*args, words=words, **values)

    command: Body = call
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def due_option(*names: str, **how: object) -> functools.partial[Body]:
    """Return a decorator that gives a command one more option under the same heading."""
    return functools.partial(_add, names, how)


def _add(names: tuple[str, ...], how: dict[str, object], body: Body) -> Body:
    return click.option(*names, cls=GroupedOption, heading=HEADING, **how)(body)


_OPTIONS: Final = (
    due_option(
        "--cadence",
        metavar="CADENCE",
        shell_complete=complete_cadence_or_auto,
        help="Which dates there should be: daily, weekdays, weekly:MON, or day, month and weekday as in cron, such as "
        "'1,15 * *'. With auto it is guessed for each series, and what is missing by a guess alarms nobody.  "
        "[default: daily]",
    ),
    due_option(
        "--day-tz",
        default="UTC",
        show_default=True,
        metavar="ZONE",
        shell_complete=complete_zone,
        help="The time zone at whose midnight a date ends.",
    ),
    due_option(
        "--warn",
        metavar="DURATION",
        help="How long after its end a date may not be ready without a warning.  [default: 24h without --crit]",
    ),
    due_option(
        "--crit",
        metavar="DURATION",
        help="How long after its end a date may not be ready without an alarm. A row that still names a run is no more "
        "than a warning, unless --reprocessing-crit of gaps says after how long.  [default: 36h without --warn]",
    ),
    due_option("--sla", metavar="DURATION", help="Another name of --crit."),
    due_option(
        "--deadline",
        metavar="HH:MM[+Nd]",
        help="When a date must be ready, in place of --crit: at a time of the next day, or of the Nth day after it.",
    ),
    due_option(
        "--tz",
        metavar="ZONE",
        shell_complete=complete_zone,
        help="The time zone of --deadline.  [default: that of --day-tz]",
    ),
    due_option(
        "--contract",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Take what is not given from the slaProperties of a data contract (ODCS 3, YAML).",
    ),
)
