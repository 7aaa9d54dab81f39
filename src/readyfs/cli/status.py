"""`readyfs status`: what the daemons say of themselves, and what the kernel shows of one that says nothing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.daemon_lookup import KernelView, explaining_no_daemon, find_client, look_at_kernel
from readyfs.cli.no_daemon import DeadMountError, name_user
from readyfs.cli.output import Form, print_json, with_output
from readyfs.cli.parameters import MOUNT_POINT
from readyfs.cli.settings_options import with_settings
from readyfs.cli.status_text import render_silent, render_status
from readyfs.config import Resolution
from readyfs.config.table import RUNTIME_DIR
from readyfs.control.client import ControlClient
from readyfs.control.runtime_dir import list_registrations
from readyfs.errors import ExitCode, NoAnswerError, NotPermittedError, NotRunningError, UserError
from readyfs.fuse.mount_table import Mount, read_mount_table
from readyfs.text import escape_text

ANSWER_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Report:
    """What was found out about one mount point; `error` is set if its daemon did not say it."""

    mountpoint: Path
    answer: dict[str, object] | None
    kernel: KernelView | None = None
    error: UserError | None = None

    def describe(self) -> dict[str, object]:
        if self.answer is not None:
            return self.answer
        kernel = None if self.kernel is None else self.kernel.describe()
        code = None if self.error is None else int(self.error.exit_code)
        return {"mountpoint": str(self.mountpoint), "error": str(self.error), "exit_code": code, "kernel": kernel}

    def render(self) -> str:
        if self.answer is not None:
            return render_status(self.answer)
        is_dead = isinstance(self.error, DeadMountError)
        return render_silent(str(self.mountpoint), str(self.error), self.kernel, is_dead=is_dead)


@click.command(cls=ReadyfsCommand)
@click.argument("mountpoint", type=MOUNT_POINT, metavar="[MOUNTPOINT]", required=False)
@with_output(Form.PROMETHEUS)
@with_settings(RUNTIME_DIR, refuse_unknown=False)
def status(mountpoint: str | None, form: Form, resolution: Resolution) -> ExitCode:
    """Show the state of the mount at MOUNTPOINT, or of all the mounts that this user's daemons serve.

    The mount point itself is never touched, so this works while the mount hangs. A daemon that does not answer within
    2 seconds gives exit code 9, after what the kernel shows of its mount; a mount point without a daemon gives 8.
    """
    if mountpoint is not None:
        path, client = find_client(resolution, mountpoint, ANSWER_TIMEOUT_S)
        report = _ask(path, client)
        if form is not Form.TEXT or not isinstance(report.error, NotRunningError | NotPermittedError):
            _print([report], form)
        if report.error is not None:
            raise report.error
        return ExitCode.OK
    found = [
        _ask(one.mountpoint, ControlClient(one.socket, ANSWER_TIMEOUT_S, one.mountpoint))
        for one in list_registrations(resolution.get(RUNTIME_DIR))
    ]
    # A dead daemon leaves its registration behind; with its mount gone as well there is nothing to tell.
    reports = [one for one in found if not (isinstance(one.error, NotRunningError) and one.kernel is None)]
    others = _find_mounts_of_others() if form is Form.TEXT else []
    if form is Form.TEXT and others and not reports:
        click.echo("no readyfs mounts of this user")
    else:
        _print(reports, form)
    _name_others(others)
    failed = [one.error for one in reports if one.error is not None]
    if failed:
        raise next((error for error in failed if isinstance(error, NoAnswerError)), failed[0])
    return ExitCode.OK


def _ask(path: Path, client: ControlClient) -> _Report:
    try:
        with explaining_no_daemon(path, client):
            return _Report(path, client.status())
    except UserError as error:
        return _Report(path, None, look_at_kernel(path), error)


def _find_mounts_of_others() -> list[Mount]:
    """Return the mounts of other users, whose daemons tell this one nothing here."""
    return [one for one in read_mount_table() if one.is_readyfs and one.owner[0] != os.geteuid()]


def _name_others(mounts: Sequence[Mount]) -> None:
    for mount in mounts:
        line = (
            f"the mount at {mount.mount_point} was made by {name_user(mount.owner[0])}; "
            f"`readyfs latest {shlex.quote(str(mount.mount_point))}` and `readyfs why` are for everybody"
        )
        click.echo(f"readyfs: {escape_text(os.fsencode(line))}", err=True)


def _print(reports: list[_Report], form: Form) -> None:
    described = [one.describe() for one in reports]
    if form is Form.PROMETHEUS:
        # The client library is imported by those who use it.
        from readyfs.metrics.exposition import render_metrics

        click.echo(render_metrics(described), nl=False)
    elif form is Form.JSON:
        print_json(*described)
    elif reports:
        click.echo("\n\n".join(one.render() for one in reports))
    else:
        click.echo("no readyfs mounts")
