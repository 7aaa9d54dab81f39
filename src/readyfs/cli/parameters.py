"""The types of options that are no settings: durations."""

from __future__ import annotations

import click

from readyfs.duration import parse_duration
from readyfs.errors import UsageError


class _Duration(click.ParamType[float]):
    """Seconds, written with a unit."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a duration as every setting does."""
        try:
            return parse_duration(str(value))
        except UsageError as error:
            return self.fail(str(error), param, ctx)


DURATION = _Duration()
