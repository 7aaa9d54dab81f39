"""Where a question is asked: of the daemon of a mount, or of a state store. One decorator gives a command the options.

A mount is asked where one is named, and the state where one is named by a flag, or where there is no mount. So the
variables and the file of an operator's environment do not keep anybody from asking a mount.
"""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
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
from readyfs.errors import ExitCode, NotRunningError, UsageError
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
FILTERS: Final[tuple[Setting[object], ...]] = (
    settings.SOURCE,
    settings.CUSTOMER,
    settings.QUERY,
    settings.SINCE,
    settings.UNTIL,
)
FILE_SETTINGS: Final[tuple[Setting[object], ...]] = (settings.FILES, settings.REQUIRED_FILES)
"""Those that matter only where the files of runs are looked at."""
_SHOWN: Final[tuple[Setting[object], ...]] = (settings.STATE, settings.RAW, *FILTERS)
"""Those that are typed by hand; the others are in a file, and the help is not about them."""
_STATE_WORDS: Final = "name the state store with --state, --state-file or --config"


@dataclass(frozen=True, slots=True)
class Place:
    """What was said of where to ask; `mountpoint` is resolved and not touched.

    `passed` are the settings that go to the daemon of a mount with the question; None if no daemon answers it.
    """

    resolution: Resolution
    mountpoint: Path | None
    socket: Path | None
    passed: Collection[Setting[object]] | None = None

    @property
    def names_state(self) -> bool:
        """Whether a flag names the state store, or the file that does."""
        given = (settings.STATE, settings.STATE_FILE)
        return self.resolution.is_file_flagged or any(map(self._is_flagged, given))

    @property
    def asks_mount(self) -> bool:
        """Whether the daemon of a mount is to answer, and not the state store; raise `UsageError`."""
        if self.mountpoint is None and self.socket is not None:
            raise _no_mount_of_socket()
        if self.mountpoint is None or self.names_state:
            return False
        self._refuse_idle()
        return True

    @property
    def has_state(self) -> bool:
        """Whether a state store is named, in whichever way."""
        return any(self.resolution.get(one) is not None for one in (settings.STATE, settings.STATE_FILE))

    def locate(self, text: str) -> tuple[Place, str]:
        """Return the place that a path or key leads to, and it as `parse_address` reads it.

        A path is what begins with a slash or a dot; the mount that it lies in is asked unless one was named. Raise
        `NotRunningError` where it lies in none and nothing else could be asked: a mount that is gone leaves no trace.
        """
        if not text.startswith(("/", "./", "../")) and text not in (".", ".."):
            return self, text
        found = find_in_mount(text)
        if found is None:
            if self.passed is not None and self.mountpoint is None and self.socket is None and not self.has_state:
                raise NotRunningError(
                    f"{escape_text(text)} lies in no mount of readyfs",
                    f"mount it, name a mount with --mount, or {_STATE_WORDS}",
                )
            return self, str(Path(text).absolute())
        return (self if self.mountpoint is not None else replace(self, mountpoint=found.mountpoint)), found.path

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
        from readyfs.consumer.address_text import parse_address

        return parse_address(text, self.layout(), self.mountpoint)

    def filters(self) -> Filters:
        """Return which part of the state table is asked of."""
        return find_filters(self.resolution)

    def describe_nothing(self) -> str:
        """Return what people are told where the filters let nothing pass: one with a typing error is named."""
        names, dates = self._words_of_filters()
        whose = "the mount shows nothing" if self.asks_mount else "the state table has nothing"
        return "".join([whose, f" of {', '.join(names)}" if names else "", *(f" {words}" for words in dates)])

    def describe_filters(self) -> str:
        """Return what the filters let pass, in words; empty if that is everything."""
        names, dates = self._words_of_filters()
        return ", ".join([*names, *dates])

    def _words_of_filters(self) -> tuple[list[str], list[str]]:
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
            f"{word} {render_date(date).decode()}"
            for word, date in (("since", filters.since), ("until", filters.until))
            if date is not None
        ]
        return names, dates

    def open_reader(self, filters: Filters) -> StateReader:
        """Return a reader of the state store within filters, which withholds what a mount would.

        Raises `UsageError` if no store is named, `StateError`.
        """
        self.require_state()
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

    def refuse_mount(self) -> None:
        """Raise `UsageError` if a mount is named: for questions in which one has no part."""
        if self.mountpoint is not None or self.socket is not None:
            raise UsageError(
                "a mount does not answer this",
                f"{self._questions()}; or leave the mount point out and {_STATE_WORDS}",
            )

    def require_state(self) -> None:
        """Raise `UsageError` if no state store is named, with all that could be named."""
        if not self.has_state:
            raise self._nowhere()

    def _nowhere(self) -> UsageError:
        if self.mountpoint is None and self.socket is not None:
            return _no_mount_of_socket()
        if self.passed is not None and self.mountpoint is None:
            return UsageError(
                "neither a mount nor a state store is named", f"name a mount with --mount, or {_STATE_WORDS}"
            )
        if self.passed is None and self.mountpoint is not None:
            return UsageError("a mount does not answer this", f"{self._questions()}, or {_STATE_WORDS}")
        return UsageError("no state store is named", _STATE_WORDS)

    def _questions(self) -> str:
        named = "MOUNTPOINT" if self.mountpoint is None else escape_text(shlex.quote(str(self.mountpoint)))
        return f"ask `readyfs latest {named}` or `readyfs why PATH`"

    def _is_flagged(self, setting: Setting[object]) -> bool:
        return self.resolution.origin(setting).kind is OriginKind.FLAG

    def _refuse_idle(self) -> None:
        """Raise `UsageError` if a flag says what the daemon of a mount has its own settings for."""
        if self.passed is None:
            return
        passed = {one.name for one in self.passed}
        idle = [
            origin.label
            for name, origin in self.resolution.origins.items()
            if origin.kind is OriginKind.FLAG and name not in passed
        ]
        if idle:
            raise UsageError(
                f"{', '.join(idle)} would do nothing: a mount has its own settings",
                f"leave out what the mount has, or {_STATE_WORDS}",
            )


def with_place(
    *more: Setting[object],
    argument: bool = False,
    passed: Collection[Setting[object]] | None = None,
    unflagged: Collection[Setting[object]] = (),
) -> Callable[[Body], Body]:
    """Give a command the options that say where to ask; its function is called with `place`, a `Place`.

    The mount point is the option `--mount`, and with `argument` an argument as well. `passed` are the settings that go
    to the daemon of a mount with the question, None if no daemon answers it. `unflagged` settings have no options.
    """
    taken = (*STATE_SETTINGS, *more)
    is_refused = argument and passed is None  # understood, so that the refusal can say who answers

    def decorate(body: Body) -> Body:
        @functools.wraps(body)
        def call(
            *args: object,
            mount: str | None,
            socket: Path | None,
            resolution: Resolution,
            mountpoint: str | None = None,
            **values: object,
        ) -> ExitCode:
            if mount is not None and mountpoint is not None:
                raise UsageError("the mount point is named twice", "leave out --mount")
            named = mount if mountpoint is None else mountpoint
            if mountpoint is not None:
                _refuse_key(mountpoint)
            place = Place(resolution, None if named is None else resolve_named(named), socket, passed)
            if place.mountpoint is not None and not place.has_state:
                place._refuse_idle()
            return body(*args, place=place, **values)

        command = with_settings(
            *taken,
            # What a question shows of a row is not what a mount may show.
            unflagged=(settings.SHOW_ERROR_MESSAGES, *unflagged),
            folded=[one for one in taken if one not in _SHOWN],
        )(call)
        command = click.option(
            "--socket",
            type=click.Path(path_type=Path),
            help="The daemon's public socket, where it is not at the place that the mount names: in a container.",
            hidden=is_refused,
        )(command)
        command = click.option(
            "--mount",
            type=MOUNT_POINT,
            metavar="MOUNTPOINT",
            help="Ask the daemon of the mount there.",
            hidden=is_refused,
        )(command)
        if argument:
            metavar = "" if is_refused else "[MOUNTPOINT]"
            return click.argument("mountpoint", type=MOUNT_POINT, metavar=metavar, required=False)(command)
        return command

    return decorate


def _no_mount_of_socket() -> UsageError:
    return UsageError("--socket is of a mount, and none is named", "name the mount point")


def _refuse_key(text: str) -> None:
    """Raise `UsageError` for a key in the place of a mount point; beside a state store nobody would notice it."""
    if not text or text.startswith((".", "/", "~")) or os.path.lexists(text):
        return
    options = zip(("--customer", "--query"), text.split("/"), strict=False)
    raise UsageError(
        f"there is no mount point {escape_text(os.fsencode(text))} here",
        f"a key is no mount point: select with {' '.join(f'{flag} {escape_text(name)}' for flag, name in options)}",
    )
