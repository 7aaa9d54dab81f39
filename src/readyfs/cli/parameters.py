"""The types of options that are no settings: durations and fingerprints."""

from __future__ import annotations

import click

from readyfs.config.fingerprint import parse_fingerprint
from readyfs.control.pin_requests import parse_lease
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


class _Wait(click.ParamType[float]):
    """Seconds, written with a unit, or 0 for no time at all."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a duration that may be nothing, for which no unit is needed."""
        text = str(value)
        try:
            return 0.0 if text.strip() == "0" else parse_duration(text, minimum_s=0.0)
        except UsageError as error:
            return self.fail(str(error), param, ctx)


class _Lease(click.ParamType[float]):
    """Seconds, written with a unit, of which the daemon alone knows the bounds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a duration of any length."""
        try:
            return parse_lease(str(value))
        except UsageError as error:
            return self.fail(str(error), param, ctx)


class _Fingerprint(click.ParamType[str]):
    """What tells one catalog from every other."""

    name = "fingerprint"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse a fingerprint as the setting does."""
        try:
            return parse_fingerprint(str(value))
        except UsageError as error:
            return self.fail(str(error), param, ctx)


DURATION = _Duration()
WAIT = _Wait()
LEASE = _Lease()
FINGERPRINT = _Fingerprint()
