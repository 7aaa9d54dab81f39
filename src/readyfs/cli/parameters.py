"""The types of options that are no settings."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from readyfs.config.fingerprint import parse_fingerprint
from readyfs.duration import parse_duration
from readyfs.errors import UsageError
from readyfs.partition import PartitionStatus
from readyfs.text import escape_text

if TYPE_CHECKING:
    from readyfs.consumer.cadence import Cadence


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
        from readyfs.control.pin_requests import parse_lease

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


class _Cadence(click.ParamType["Cadence"]):
    """Which dates are expected."""

    name = "cadence"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Cadence:
        """Parse a cadence."""
        from readyfs.consumer.cadence import parse_cadence

        try:
            return parse_cadence(str(value))
        except UsageError as error:
            return self.fail(str(error), param, ctx)


class _Zone(click.ParamType[datetime.tzinfo]):
    """A time zone."""

    name = "zone"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime.tzinfo:
        """Parse the name of a time zone."""
        from readyfs.consumer.deadline import parse_zone

        if isinstance(value, datetime.tzinfo):
            return value
        try:
            return parse_zone(str(value))
        except UsageError as error:
            return self.fail(str(error), param, ctx)


class _Statuses(click.ParamType[frozenset[PartitionStatus]]):
    """What may be the matter with partitions, separated by commas."""

    name = "statuses"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return what stands for the value in the help."""
        return "STATUS,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[PartitionStatus]:
        """Parse a list of words."""
        words = [word.strip() for word in str(value).split(",")]
        for word in words:
            if word not in set(PartitionStatus):
                self.fail(f"{word!r} is no status; choose from {', '.join(PartitionStatus)}", param, ctx)
        return frozenset(map(PartitionStatus, words))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the last word of the list."""
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(f"{before}{comma}{word}") for word in PartitionStatus if word.startswith(last)]


class _MountPoint(click.ParamType[str]):
    """The directory of a mount, taken as it is."""

    name = "mountpoint"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text: commands have words of their own for what is wrong with one."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the mount points of ours that begin so, else leave it to the shell, which knows directories."""
        from readyfs.fuse.mount_table import read_mount_table

        ours = {str(mount.mount_point) for mount in read_mount_table() if mount.is_readyfs}
        found = [CompletionItem(escape_text(place)) for place in sorted(ours) if place.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="dir")]


DURATION = _Duration()
WAIT = _Wait()
LEASE = _Lease()
FINGERPRINT = _Fingerprint()
MOUNT_POINT = _MountPoint()
CADENCE = _Cadence()
ZONE = _Zone()
STATUSES = _Statuses()
