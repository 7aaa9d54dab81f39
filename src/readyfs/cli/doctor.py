"""`readyfs doctor`: what is wrong on this machine, and the command that fixes it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

import readyfs
from readyfs.cli.command import Invocation, ReadyfsCommand
from readyfs.cli.failure import describe_bug
from readyfs.cli.output import Form, has_colours, print_json, with_output
from readyfs.cli.parameters import DURATION, MOUNT_POINT
from readyfs.cli.settings_options import with_settings
from readyfs.config import Resolution, build_config, find_warnings
from readyfs.config import table as settings
from readyfs.config.build import find_filters, find_state, find_table
from readyfs.config.location import make_absolute
from readyfs.errors import ExitCode, UsageError
from readyfs.layout import RawLayout
from readyfs.log import configure_logging
from readyfs.log_words import LogFormat, LogLevel
from readyfs.state.filters import Filters
from readyfs.text import escape_text

if TYPE_CHECKING:
    from readyfs.doctor.finding import Verdict
    from readyfs.doctor.subject import Subject

LIMIT_S: Final = 10.0
STATE_SHARE: Final = 0.8
"""Of the limit, what the state store may take for one answer: it then says itself what it waited for."""

_COLOURS: Final = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}


@click.command(cls=ReadyfsCommand)
@click.argument("mountpoint", type=MOUNT_POINT, metavar="[MOUNTPOINT]", required=False)
@with_output()
@click.option("--only", metavar="CHECK", multiple=True, help="Make only this check, repeatable.")
@click.option(
    "--limit", "limit_s", type=DURATION, default="10s", show_default=True, help="How long each check may take, at most."
)
@with_settings(*settings.SETTINGS)
@click.pass_obj
def doctor(
    invocation: Invocation,
    mountpoint: str | None,
    form: Form,
    only: tuple[str, ...],
    limit_s: float,
    resolution: Resolution,
) -> ExitCode:
    """Look for whatever keeps readyfs from mounting, following the state or being fast, and name what fixes it.

    It needs no settings: with MOUNTPOINT, --state, --raw or --config it says more. It changes nothing and leaves no
    mount; it ends in about the time of --limit, whatever hangs. Exit code 12 if a problem was found.
    """
    from readyfs.doctor.bounded import run_checks
    from readyfs.doctor.examine import NAMES, choose_checks
    from readyfs.doctor.finding import Verdict
    from readyfs.doctor.report import describe, render_text, worst

    unknown = [name for name in only if name not in NAMES]
    if unknown:
        raise UsageError(f"no check is called {escape_text(unknown[0])}", f"choose from {', '.join(NAMES)}")
    configure_logging(LogFormat.HUMAN, LogLevel.WARNING)  # to stderr: what is printed here is the answer alone
    subject = _build_subject(resolution, mountpoint, limit_s)
    checks = choose_checks(subject, only)
    results = list(run_checks(checks, limit_s, partial(_describe_error, debug=invocation.debug)))
    if form is Form.JSON:
        print_json(describe(results))
    else:
        click.echo(render_text(results, _painter()))
    return ExitCode.FOUND if worst(results) is Verdict.PROBLEM else ExitCode.OK


def _build_subject(resolution: Resolution, mountpoint: str | None, limit_s: float) -> Subject:
    from readyfs.doctor.subject import Subject
    from readyfs.fuse.mount_point import Reserved

    get = resolution.get
    if mountpoint == "":
        raise UsageError("the mount point is empty", "name a directory; an unset variable perhaps?")
    named = get(settings.STATE) is not None or get(settings.STATE_FILE) is not None
    raw = get(settings.RAW)
    own = (
        (get(settings.STATE_DIR), "state directory"),
        (get(settings.RUNTIME_DIR), "runtime directory"),
        (get(settings.LOG_FILE), "log file"),
        (resolution.config_file, "config file"),
        (Path(readyfs.__file__).parent, "program"),
    )
    return Subject(
        mountpoint=None if mountpoint is None else Path(make_absolute(mountpoint, Path.cwd)),
        find_state=(lambda: find_state(resolution)[0]) if named else None,
        check_settings=partial(_check_settings, resolution) if named and raw is not None else None,
        raw=raw,
        table=find_table(resolution),
        filters=_filters(resolution),
        raw_layout=RawLayout.parse(get(settings.RAW_LAYOUT), get(settings.RAW_ENCODING)),
        required_files=get(settings.REQUIRED_FILES),
        state_timeout_s=min(get(settings.STATE_TIMEOUT), STATE_SHARE * limit_s),
        interval_s=get(settings.INTERVAL),
        engine=get(settings.ENGINE),
        reads=get(settings.READS),
        allow_other=get(settings.ALLOW_OTHER),
        runtime_dir=get(settings.RUNTIME_DIR),
        reserved=tuple(Reserved(path, what) for path, what in own if path is not None),
        pin_store=get(settings.PIN_STORE),
    )


def _filters(resolution: Resolution) -> Filters:
    try:
        return find_filters(resolution)
    except UsageError:
        return Filters()  # the check of the settings says what is wrong with them


def _check_settings(resolution: Resolution) -> tuple[str, ...]:
    build_config(resolution, Path("/"))
    return find_warnings(resolution)


def _describe_error(error: Exception, *, debug: bool) -> str:
    if debug:
        return " | ".join(line.strip() for line in traceback.format_exception(error))
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return describe_bug(error)


def _painter() -> Callable[[str, Verdict], str]:
    if not has_colours():
        return lambda text, verdict: text
    return lambda text, verdict: click.style(text, fg=_COLOURS[verdict.value])
