"""The options that say which dates are expected and when they are due: one decorator for `latest` and `gaps`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

import click

from readyfs.cli.command import GroupedOption
from readyfs.cli.output import Body
from readyfs.consumer.agreement_words import AgreementWords
from readyfs.errors import ExitCode

_HEADING: Final = "When dates are due"


def with_agreement(body: Body) -> Body:
    """Give a command the options of when dates are due; its function is called with `words`, an `AgreementWords`."""

    @functools.wraps(body)
    def call(
        *args: object,
        cadence: str | None,
        day_tz: str,
        warn: str | None,
        crit: str | None,
        deadline: str | None,
        tz: str | None,
        reprocessing_crit: str | None,
        contract: Path | None,
        **values: object,
    ) -> ExitCode:
        words = AgreementWords(cadence, day_tz, warn, crit, deadline, tz, reprocessing_crit, contract)
        return body(*args, words=words, **values)

    command: Body = call
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _option(*names: str, **how: object) -> functools.partial[Body]:
    return functools.partial(_add, names, how)


def _add(names: tuple[str, ...], how: dict[str, object], body: Body) -> Body:
    return click.option(*names, cls=GroupedOption, heading=_HEADING, **how)(body)


_OPTIONS: Final = (
    _option(
        "--cadence",
        metavar="CADENCE",
        help="Which dates there should be: daily, weekdays, weekly:MON, or day, month and weekday as in cron, such as "
        "'1,15 * *'. With auto it is guessed for each series, and what is missing by a guess alarms nobody.  "
        "[default: daily]",
    ),
    _option(
        "--day-tz",
        default="UTC",
        show_default=True,
        metavar="ZONE",
        help="The time zone at whose midnight a date ends.",
    ),
    _option(
        "--warn",
        metavar="DURATION",
        help="How long after its end a date may not be ready without a warning.  [default: 24h without --crit]",
    ),
    _option(
        "--crit",
        "--sla",
        "crit",
        metavar="DURATION",
        help="How long after its end a date may not be ready without an alarm.  [default: 36h without --warn]",
    ),
    _option(
        "--deadline",
        metavar="HH:MM[+Nd]",
        help="When a date must be ready, in place of --crit: at a time of the next day, or of the Nth day after it.",
    ),
    _option("--tz", metavar="ZONE", help="The time zone of --deadline.  [default: that of --day-tz]"),
    _option(
        "--reprocessing-crit",
        metavar="DURATION",
        help="After how long a partition that was ready before, and was queued again, is worth an alarm; counted from "
        "the later of its date's end and its updated_at.  [default: never, only a warning]",
    ),
    _option(
        "--contract",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Take what is not given from the slaProperties of a data contract (ODCS 3, YAML).",
    ),
)
