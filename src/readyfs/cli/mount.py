"""`readyfs mount`: serve in the foreground, or start a daemon and wait until it serves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

import click
import structlog

from readyfs.cli.background import StartReport, start_in_background
from readyfs.cli.command import Invocation, ReadyfsCommand
from readyfs.cli.failure import find_user_error
from readyfs.cli.interrupts import EndedByInterrupts
from readyfs.cli.mount_paths import resolve_named
from readyfs.cli.parameters import MOUNT_POINT
from readyfs.cli.settings_options import with_settings
from readyfs.config import Resolution, build_config, find_warnings
from readyfs.config.config import Config
from readyfs.config.table import LOG_FORMAT, SETTINGS
from readyfs.errors import ExitCode, UserError
from readyfs.log import configure_logging
from readyfs.log_words import LogFormat
from readyfs.text import escape_text

_log = structlog.get_logger(__name__)


@click.command(
    cls=ReadyfsCommand,
    epilog="Every setting has one name: --name-timeout is also READYFS_NAME_TIMEOUT in the environment and "
    "name-timeout in the file of --config; the flag wins, then the variable, then the file. Durations are written "
    "500ms, 10s, 2m, 1h.",
)
@click.argument("mountpoint", type=MOUNT_POINT, metavar="MOUNTPOINT")
@click.option(
    "--daemon",
    is_flag=True,
    help="Return as soon as the mount is served, leaving a daemon behind. Its log goes to --log-file; without one it "
    "is lost once the mount is served.",
)
@with_settings(*SETTINGS)
@click.pass_obj
def mount(invocation: Invocation, mountpoint: str, daemon: bool, resolution: Resolution) -> ExitCode:
    """Mount what the state store says is ready at MOUNTPOINT, an empty directory.

    It stays in the foreground until SIGTERM, Ctrl-C or `readyfs umount`; SIGHUP refreshes at once.

    \b
    readyfs mount /mnt/ready --state state.db --raw /data/raw
    readyfs mount /mnt/ready --config /etc/readyfs/sales.toml --daemon
    """  # noqa: D301 - click wants a real backspace before text that it must not wrap
    config = build_config(resolution, resolve_named(mountpoint))
    report = StartReport.take()
    if report is not None:
        with report.guard():
            return _serve(config, lambda: report.ready(config.log_file))
    warnings = find_warnings(resolution)
    if daemon or config.log_file is not None:
        # Not into the log file: a mount that is refused makes none, and a warning is for whoever gave the command.
        for warning in warnings:
            click.echo(f"readyfs: warning: {escape_text(warning)}", err=True)
        warnings = ()
    if daemon:
        return start_in_background(invocation.arguments, _child_environ(config))
    return _serve(config, lambda: None, warnings)


def _child_environ(config: Config) -> Mapping[str, str]:
    # What the child logs while it starts is shown here: in the form that suits this terminal.
    if config.log_format is LogFormat.AUTO and config.log_file is None and sys.stderr.isatty():
        return {**os.environ, LOG_FORMAT.variable: LogFormat.HUMAN}
    return os.environ


def _serve(config: Config, on_ready: Callable[[], None], warnings: Sequence[str] = ()) -> ExitCode:
    configure_logging(config.log_format, config.log_level, config.log_file)
    for warning in warnings:
        _log.warning(warning)
    # Our working directory could lie below the mount point, where we would wait for ourselves.
    os.chdir("/")
    # The engine and the SQL toolkit are slow to import, and every other command works without them.
    with EndedByInterrupts():
        from readyfs.daemon.run import run

    try:
        return run(config, on_ready)
    except UserError:
        raise
    except Exception as error:
        # What went wrong inside a nursery arrives as a group, be it one plain mistake of the operator's.
        if (mistake := find_user_error(error)) is not None:
            raise mistake from error
        _log.exception("daemon failed")
        raise
