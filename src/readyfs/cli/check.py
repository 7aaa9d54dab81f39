"""`readyfs check`: whether every ready partition's run is there, sealed and what its row says, without a mount."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.output import Form, print_json, with_output
from readyfs.cli.settings_options import with_settings
from readyfs.config import Resolution, find_state, find_warnings
from readyfs.config import table as settings
from readyfs.config.build import find_files, find_filters, find_raw, find_table
from readyfs.config.resolve import OriginKind
from readyfs.config.setting import Group, Setting
from readyfs.errors import ExitCode, UsageError
from readyfs.layout import MountLayout, RawLayout
from readyfs.log import configure_logging
from readyfs.log_words import LogFormat, LogLevel
from readyfs.text import escape_text

if TYPE_CHECKING:
    from readyfs.check.run import CheckJob, Watch

_CHECKED_BY: Final[tuple[Setting[object], ...]] = (
    *(one for one in settings.SETTINGS if one.group in (Group.STORES, Group.SELECTION, Group.TABLE, Group.LAYOUT)),
    settings.STATE_TIMEOUT,
    settings.RAW_TIMEOUT,
    settings.RAW_THREADS,
)
"""The settings of a mount that decide what its readers get."""
_COUNT_WITH_VIEW: Final = frozenset(
    {
        settings.RAW,
        settings.RAW_LAYOUT,
        settings.RAW_ENCODING,
        settings.FILES,
        settings.REQUIRED_FILES,
        settings.RAW_TIMEOUT,
        settings.RAW_THREADS,
    }
)
"""Those that a check of a view takes; the others are a part of the view."""
_EVERY_FIELD: Final = "{source}/{customer_id}/{query_name}/{logical_date}"
"""A layout in which no two partitions of a view can claim one path, whichever the view has."""


@click.command(cls=ReadyfsCommand)
@click.option("--deep", is_flag=True, help="Count the records of every payload too, which reads all of it.")
@click.option(
    "--limit",
    type=click.IntRange(0, 1_000_000),
    default=10,
    show_default=True,
    metavar="N",
    help="How many examples of each kind of fault are shown.",
)
@click.option(
    "--metadata", default="metadata.json", show_default=True, metavar="NAME", help="The file that describes a run."
)
@click.option(
    "--payload", default="payload.jsonl", show_default=True, metavar="NAME", help="The file that holds the records."
)
@click.option(
    "--view",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Check the runs of this view, as `readyfs pin` prints it, instead of those that the state store names.",
)
@with_output()
@with_settings(*_CHECKED_BY)
def check(
    deep: bool, limit: int, metadata: str, payload: str, view: Path | None, form: Form, resolution: Resolution
) -> ExitCode:
    """Check the run of every ready partition without mounting anything: that its directory and its required files are
    there and can be opened, and that its metadata are those of the row.

    It takes the settings of a mount, and what it calls broken is what a reader of that mount gets EIO for. It exits
    with 0 if all is well and with 12 if anything is wrong. Ctrl-C shows what was found so far.

    \b
    readyfs check --state state.db --raw /data/raw
    readyfs check --config /etc/readyfs/sales.toml --deep --json
    readyfs check --view "$(readyfs pin /mnt/ready)" --raw /data/raw
    """  # noqa: D205, D301 - click wants a real backspace before text that it must not wrap
    from readyfs.check.report import Ending
    from readyfs.check.run import run_check

    configure_logging(LogFormat.HUMAN, LogLevel.WARNING)  # to stderr: what is printed here is the answer alone
    if view is not None:
        from readyfs.check.view import resolve_view

        _refuse_without_effect(resolution)
        view = resolve_view(view)
    job = _make_job(resolution, deep, limit, metadata, payload, view)
    for warning in find_warnings(resolution) if view is None else ():
        _warn(warning)
    with _progress() as watch:
        report = run_check(job, watch, partial(_warn_if_empty, job))
    if form is Form.JSON:
        print_json(report.document())
    else:
        click.echo(report.table())
    if report.ending is Ending.INTERRUPTED:
        raise click.Abort
    return report.exit_code


def _make_job(
    resolution: Resolution, deep: bool, limit: int, metadata: str, payload: str, view: Path | None
) -> CheckJob:
    from readyfs.catalog.build import CatalogShape
    from readyfs.check.examine import Contents
    from readyfs.check.run import CheckJob
    from readyfs.check.sweep import Limits

    for option, name in (("--metadata", metadata), ("--payload", payload)):
        if not name or "/" in name or name in (".", ".."):
            raise UsageError(f"{option} {name!r} is no file name", "name a file at the top of a run directory")
    get = resolution.get
    state = find_state(resolution)[0] if view is None else None
    shape = CatalogShape(
        MountLayout.parse(get(settings.LAYOUT) if view is None else _EVERY_FIELD),
        RawLayout.parse(get(settings.RAW_LAYOUT), get(settings.RAW_ENCODING)),
        *find_files(resolution),
    )
    return CheckJob(
        state=state,
        view=view,
        state_table=find_table(resolution),
        filters=find_filters(resolution),
        state_timeout_s=get(settings.STATE_TIMEOUT),
        raw=find_raw(resolution),
        shape=shape,
        limits=Limits(get(settings.RAW_THREADS), get(settings.RAW_TIMEOUT)),
        contents=Contents(os.fsencode(metadata), os.fsencode(payload), deep),
        examples=limit,
    )


def _refuse_without_effect(resolution: Resolution) -> None:
    """Refuse flags that choose what a view has chosen already; a file or a variable may be the mount's own."""
    given = [
        one.flag
        for one in _CHECKED_BY
        if one not in _COUNT_WITH_VIEW and resolution.origin(one).kind is OriginKind.FLAG
    ]
    if given:
        verb = "have" if len(given) > 1 else "has"
        raise UsageError(f"{', '.join(given)} {verb} no effect with --view", "leave it out: a view is checked whole")


@contextmanager
def _progress() -> Iterator[Watch]:
    """Show a bar on stderr while that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda checked, total: None
        return
    shown = 0
    with click.progressbar(length=1, label="checking", file=sys.stderr, show_pos=True) as bar:

        def watch(checked: int, total: int) -> None:
            nonlocal shown
            bar.length = total
            bar.update(checked - shown)
            shown = checked

        yield watch


def _warn(warning: str) -> None:
    click.echo(f"readyfs: warning: {escape_text(warning)}", err=True)


def _warn_if_empty(job: CheckJob) -> None:
    """Warn if there is nothing to check although the state table has rows."""
    from readyfs.partition import WithheldTally
    from readyfs.refresh.emptiness import watch_emptiness

    if job.state is None:
        return
    watch = watch_emptiness(job.state, job.state_table, job.state_timeout_s)
    if (empty := watch.explain(0, 0, WithheldTally())) is not None:
        _warn(f"{empty.cause}; {empty.remedy}")
