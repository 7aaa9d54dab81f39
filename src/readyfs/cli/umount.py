"""`readyfs umount`: have the daemon stop, wait until it is gone, and clear what a dead one left."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.daemon_lookup import explaining_no_daemon, find_client, look_at_kernel
from readyfs.cli.no_daemon import DeadMountError
from readyfs.cli.parameters import DURATION, MOUNT_POINT
from readyfs.cli.settings_options import with_settings
from readyfs.config import Resolution
from readyfs.config.table import RUNTIME_DIR
from readyfs.control.client import ControlClient
from readyfs.control.runtime_dir import remove_leftovers
from readyfs.duration import render_duration
from readyfs.errors import ExitCode, NoAnswerError, NotRunningError
from readyfs.text import escape_text

_PATIENCE_S = 2.0


@click.command(cls=ReadyfsCommand)
@click.argument("mountpoint", type=MOUNT_POINT, metavar="MOUNTPOINT")
@click.option(
    "--timeout",
    "timeout_s",
    type=DURATION,
    default="60s",
    show_default=True,
    help="How long to wait for the daemon's end, open files included.",
)
@with_settings(RUNTIME_DIR, refuse_unknown=False)
def umount(mountpoint: str, timeout_s: float, resolution: Resolution) -> ExitCode:
    """Unmount MOUNTPOINT and wait until its daemon is gone.

    A mount in use disappears at once and its open files are served for as long as --drain allowed at mount time.
    A mount whose daemon is dead is cleared away. With nothing to unmount the exit code is 8.
    """
    deadline = time.monotonic() + timeout_s
    path, client = find_client(resolution, mountpoint, timeout_s)
    shown = escape_text(os.fsencode(path))
    os.chdir("/")  # whose working directory lies below the mount point keeps it busy, ours too
    try:
        # Taken before the stop, so that it names this daemon and not a later process with its number.
        with explaining_no_daemon(path, client):
            watch = _DaemonWatch(client)
    except DeadMountError:
        _clear_dead_mount(path, client)
        click.echo(f"cleared the dead mount at {shown}")
        return ExitCode.OK
    with watch:
        client.stop()
        if not watch.wait_gone(min(_PATIENCE_S, _left(deadline))):
            if look_at_kernel(path) is None:
                holders = _find_holders(client)
                held = f": {', '.join(holders)}" if holders else ""
                click.echo(f"{shown} is detached; the daemon still serves files that are open{held}", err=True)
            if not watch.wait_gone(_left(deadline)):
                raise NoAnswerError(
                    f"the daemon (pid {watch.pid}) of {shown} is still there after {render_duration(timeout_s)}",
                    "wait longer with --timeout, or end it with kill",
                )
    click.echo(f"unmounted {shown}")
    return ExitCode.OK


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _find_holders(client: ControlClient) -> list[str]:
    """Return who keeps the mount busy, as the daemon found it when it was asked to stop."""
    try:
        holders = client.status().get("holders")
    except (NotRunningError, NoAnswerError):
        return []  # It has just ended, or is too busy to say: the wait goes on all the same.
    return [escape_text(str(holder)) for holder in holders] if isinstance(holders, list) else []


class _DaemonWatch:
    """Waits for the end of the process behind a control socket."""

    def __init__(self, client: ControlClient) -> None:
        self.pid = client.peer_pid()
        self._descriptor = -1
        if self.pid > 0:
            try:
                self._descriptor = os.pidfd_open(self.pid)
            except ProcessLookupError:
                pass  # Gone between two calls: nothing to wait for.

    def __enter__(self) -> _DaemonWatch:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def wait_gone(self, timeout_s: float) -> bool:
        """Return whether the process ended within the time."""
        if self._descriptor < 0:
            return True
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))


def _clear_dead_mount(path: Path, client: ControlClient) -> None:
    """Detach a readyfs mount that nobody serves, and take away what its daemon left in the runtime directory."""
    from readyfs.fuse.unmount import detach

    detach(path)
    try:
        remove_leftovers(client.path)
    except OSError as error:
        click.echo(f"readyfs: warning: {escape_text(str(client.path))} is left: {error.strerror}", err=True)
