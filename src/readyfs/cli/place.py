"""Where a question is asked: of the daemon of a mount, or of a state store. One decorator gives a command the options.

A mount is asked where one is named, and the state where one is named by a flag, or where there is no mount. So the
variables and the file of an operator's environment do not keep anybody from asking a mount.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from readyfs.cli.mount_paths import find_in_mount, resolve_named
from readyfs.cli.output import Body
from readyfs.cli.parameters import MOUNT_POINT
from readyfs.cli.settings_options import with_settings
from readyfs.config import Resolution, find_state
from readyfs.config import table as settings
from readyfs.config.build import find_filters, find_table
from readyfs.config.resolve import OriginKind
from readyfs.config.setting import Group, Setting
from readyfs.errors import ExitCode, UsageError
from readyfs.log_words import LogFormat, LogLevel
from readyfs.text import escape_text

if TYPE_CHECKING:
    from readyfs.consumer.address import Address
    from readyfs.control.public_client import PublicClient
    from readyfs.layout import MountLayout
    from readyfs.state.filters import Filters
    from readyfs.state.reader import StateReader

STATE_SETTINGS: Final[tuple[Setting[object], ...]] = (
    *(one for one in settings.SETTINGS if one.group in (Group.STORES, Group.SELECTION, Group.TABLE, Group.LAYOUT)),
    settings.STATE_TIMEOUT,
)
"""The settings of a mount that decide what it says of a state store."""


@dataclass(frozen=True, slots=True)
class Place:
    """What was said of where to ask; `mountpoint` is resolved and not touched."""

    resolution: Resolution
    mountpoint: Path | None
    socket: Path | None

    @property
    def names_state(self) -> bool:
        """Whether a flag names the state store, or the file that does."""
        given = (settings.STATE, settings.STATE_FILE)
        return self.resolution.is_file_flagged or any(
            self.resolution.origin(one).kind is OriginKind.FLAG for one in given
        )

    @property
    def asks_mount(self) -> bool:
        """Whether the daemon of a mount is to answer, and not the state store; raise `UsageError`."""
        if self.mountpoint is None and self.socket is not None:
            raise UsageError("--socket is of a mount, and none is named", "name the mount point")
        return self.mountpoint is not None and not self.names_state

    @property
    def has_state(self) -> bool:
        """Whether a state store is named, in whichever way."""
        return any(self.resolution.get(one) is not None for one in (settings.STATE, settings.STATE_FILE))

    def locate(self, text: str) -> tuple[Place, str]:
        """Return the place that a path or key leads to, and it as `parse_address` reads it.

        A path is what begins with a slash or a dot; the mount that it lies in is asked unless one was named.
        """
        if not text.startswith(("/", "./", "../")) and text not in (".", ".."):
            return self, text
        found = find_in_mount(text)
        if found is None:
            return self, str(Path(text).absolute())
        return (
            self if self.mountpoint is not None else Place(self.resolution, found.mountpoint, self.socket)
        ), found.path

    def client(self) -> PublicClient:
        """Return who asks the daemon; raise `NotRunningError`, `NotPermittedError`."""
        from readyfs.control.public_client import PublicClient

        assert self.mountpoint is not None
        return PublicClient(self.mountpoint, self.socket)

    def layout(self) -> MountLayout:
        """Return the layout of the mount that the settings are those of."""
        from readyfs.layout import MountLayout

        return MountLayout.parse(self.resolution.get(settings.LAYOUT))

    def parse_address(self, text: str) -> Address:
        """Return what a text, as `locate` returned it, names in a mount of these settings."""
        from readyfs.consumer.address import parse_address

        return parse_address(text, self.layout(), self.mountpoint)

    def filters(self) -> Filters:
        """Return which part of the state table is asked of."""
        return find_filters(self.resolution)

    def describe_nothing(self) -> str:
        """Return what people are told where the filters let nothing pass: one with a typing error is named."""
        from readyfs.partition import render_date

        filters = self.filters()
        names = [
            f"{noun} {escape_text(os.fsencode(text))}"
            for noun, texts in (
                ("source", filters.sources),
                ("customer", filters.customers),
                ("query", filters.queries),
            )
            for text in texts
        ]
        dates = [
            f" {word} {render_date(date).decode()}"
            for word, date in (("since", filters.since), ("until", filters.until))
            if date is not None
        ]
        whose = "the mount shows nothing" if self.asks_mount else "the state table has nothing"
        return "".join([whose, f" of {', '.join(names)}" if names else "", *dates])

    def open_reader(self, filters: Filters) -> StateReader:
        """Return a reader of the state store within filters, which withholds what a mount would.

        Raises `UsageError` if no store is named, `StateError`.
        """
        from readyfs.consumer.placing import PlacedReader
        from readyfs.layout import RawLayout
        from readyfs.state.open import open_reader
        from readyfs.state.url import sqlite_path

        get = self.resolution.get
        raw_layout = RawLayout.parse(get(settings.RAW_LAYOUT), get(settings.RAW_ENCODING))
        table, (url, _) = find_table(self.resolution), find_state(self.resolution)
        if sqlite_path(url) is None:
            # What is logged of servers is about refreshes, and an answer is alone on stdout. SQLite needs no log.
            from readyfs.log import configure_logging

            configure_logging(LogFormat.HUMAN, LogLevel.ERROR)
        reader = open_reader(url, table, filters, get(settings.STATE_TIMEOUT))
        return PlacedReader(reader, self.layout(), raw_layout, table.ready)


def with_place(
    *more: Setting[object], argument: bool = False, unflagged: Collection[Setting[object]] = ()
) -> Callable[[Body], Body]:
    """Give a command the options that say where to ask; its function is called with `place`, a `Place`.

    The mount point is the option `--mount`, or with `argument` an argument that may be left out. `unflagged` settings
    have no options.
    """

    def decorate(body: Body) -> Body:
        @functools.wraps(body)
        def call(
            *args: object, mount: str | None, socket: Path | None, resolution: Resolution, **values: object
        ) -> ExitCode:
            if argument and mount is not None:
                _refuse_key(mount)
            mountpoint = None if mount is None else resolve_named(mount)
            return body(*args, place=Place(resolution, mountpoint, socket), **values)

        command = with_settings(*STATE_SETTINGS, *more, unflagged=unflagged)(call)
        command = click.option(
            "--socket",
            type=click.Path(path_type=Path),
            help="The daemon's public socket, where it is not at the place that the mount names: in a container.",
        )(command)
        if argument:
            return click.argument("mount", type=MOUNT_POINT, metavar="[MOUNTPOINT]", required=False)(command)
        return click.option(
            "--mount", type=MOUNT_POINT, metavar="MOUNTPOINT", help="Ask the daemon of the mount there."
        )(command)

    return decorate


def _refuse_key(text: str) -> None:
    """Raise `UsageError` for a key in the place of a mount point; beside a state store nobody would notice it."""
    if not text or text.startswith((".", "/", "~")) or os.path.lexists(text):
        return
    options = zip(("--customer", "--query"), text.split("/"), strict=False)
    raise UsageError(
        f"there is no mount point {escape_text(os.fsencode(text))} here",
        f"a key is no mount point: select with {' '.join(f'{flag} {escape_text(name)}' for flag, name in options)}",
    )
