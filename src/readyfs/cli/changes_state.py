"""What changed in a state store since a cursor file was written: without a mount, and for whoever has its password."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from readyfs.catalog.build import CatalogBuilder, CatalogShape
from readyfs.catalog.tree import Catalog
from readyfs.cli.changes_print import ChangesPrinter
from readyfs.cli.output import Form
from readyfs.cli.place import STATE_SETTINGS, Place
from readyfs.config import find_state
from readyfs.config import table as settings
from readyfs.config.build import find_files, find_table
from readyfs.config.setting import Setting
from readyfs.consumer.change_lines import ChangeRenderer
from readyfs.consumer.changes import Difference
from readyfs.control.change_requests import BEGINNING
from readyfs.errors import ResyncError, UsageError
from readyfs.history.cursor_file import CursorFile
from readyfs.layout import MountLayout, RawLayout
from readyfs.log import configure_logging
from readyfs.log_words import LogFormat, LogLevel
from readyfs.partition import WithheldTally
from readyfs.state.open import open_state

_WITHOUT_MEANING: Final[tuple[Setting[object], ...]] = (
    settings.STATE,
    settings.STATE_FILE,
    settings.RAW,
    settings.STATE_TIMEOUT,
    settings.FAILED_STATUS,
    settings.COLUMN_ERROR_MESSAGE,
    settings.COLUMN_ATTEMPT_COUNT,
    settings.SHOW_ERROR_MESSAGES,
)
"""Settings that do not change what is ready, or whose values hold passwords: the store is named by its label."""


@dataclass(frozen=True, slots=True)
class StateChanges:
    """One comparison of a state store with what a cursor file remembers."""

    place: Place
    form: Form
    path: Path

    def run(self, *, from_beginning: bool, keep: bool) -> None:
        """Print what changed, and move the cursor file on once all of it is flushed.

        Raises `ResyncError`, which is printed, too, `StateError` and `UsageError`; the file stays as it was then.
        """
        if self.path.name in ("", ".", ".."):
            raise UsageError("--cursor-file names no file", "name a file")
        configure_logging(LogFormat.HUMAN, LogLevel.WARNING)
        get = self.place.resolution.get
        shape = CatalogShape(
            self.place.layout(),
            RawLayout.parse(get(settings.RAW_LAYOUT), get(settings.RAW_ENCODING)),
            *find_files(self.place.resolution),
        )
        url, _ = find_state(self.place.resolution)
        table, filters = find_table(self.place.resolution), self.place.filters()
        store = open_state(url, table, filters, get(settings.STATE_TIMEOUT))
        printer = ChangesPrinter(self.form, store.label)
        with closing(store):
            file = CursorFile(self.path, self._meaning(store.label), shape)
            with file.locked():
                try:
                    old = None if from_beginning else file.read()
                except ResyncError as error:
                    printer.resync(error.message)
                    raise
                load = store.load()
                new, report = CatalogBuilder(shape).build(load.series, old, time.time_ns())
                _warn_withheld(load.withheld, report.withheld)
                self._print(printer, old, new, shape.layout)
                if not keep and (old is None or new is not old):
                    file.write(new)

    def _print(self, printer: ChangesPrinter, old: Catalog | None, new: Catalog, layout: MountLayout) -> None:
        lines = map(ChangeRenderer(layout).render, Difference(old, new).changes())
        printer.batch(lines, BEGINNING if old is None else old.fingerprint, new.fingerprint)

    def _meaning(self, label: str) -> dict[str, str]:
        resolution = self.place.resolution
        told = {one.name: repr(resolution.get(one)) for one in STATE_SETTINGS if one not in _WITHOUT_MEANING}
        return {"state": label, **told}


def _warn_withheld(*tallies: WithheldTally) -> None:
    """Say what is ready and cannot be told of, as a mount logs it."""
    withheld = WithheldTally()
    for tally in tallies:
        withheld.merge(tally)
    if withheld.total():
        told = f"ready rows are withheld: {withheld.render()}; `readyfs ls --status withheld` has more"
        click.echo(f"readyfs: {told}", err=True)
