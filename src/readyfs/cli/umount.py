"""`readyfs umount`: have the daemon stop, wait until it is gone, and clear what a dead one left."""

from __future__ import annotations

import os
import select
from pathlib import Path

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.daemon_lookup import find_client, look_at_kernel
from readyfs.cli.parameters import DURATION
from readyfs.cli.settings_options import with_settings
from readyfs.config import Resolution
from readyfs.config.table import RUNTIME_DIR
from readyfs.control.client import ControlClient
from readyfs.duration import render_duration
from readyfs.errors import ExitCode, NoAnswerError, NotRunningError
from readyfs.partition import escape_text

_ANSWER_TIMEOUT_S = 5.0
_PATIENCE_S = 2.0


@click.command(cls=ReadyfsCommand, short_help="Unmount, and wait until the daemon is gone.")
@click.argument("mountpoint", metavar="MOUNTPOINT")
@click.option(
    "--timeout",
    "timeout_s",
    type=DURATION,
    default="60s",
    show_default=True,
    help="How long to wait for the daemon's end, open files included.",
)
@with_settings(RUNTIME_DIR)
def umount(mountpoint: str, timeout_s: float, resolution: Resolution) -> ExitCode:
    """Unmount MOUNTPOINT and wait until its daemon is gone.

    A mount in use disappears at once and its open files are served for as long as --drain allowed at mount time.
    A mount whose daemon is dead is cleared away. With nothing to unmount the exit code is 8.
    """
    path, client = find_client(resolution, mountpoint, _ANSWER_TIMEOUT_S)
    shown = escape_text(str(path))
    try:
        # Taken before the stop, so that it names this daemon and not a later process with its number.
        watch = _DaemonWatch(client)
    except NotRunningError:
        _clear_dead_mount(path)
        click.echo(f"cleared the dead mount at {shown}")
        return ExitCode.OK
    with watch:
        client.stop()
        if not watch.wait_gone(min(_PATIENCE_S, timeout_s)):
            if look_at_kernel(path) is None:
                click.echo(f"{shown} is detached; the daemon still serves files that are open", err=True)
            if not watch.wait_gone(max(0.0, timeout_s - _PATIENCE_S)):
                raise NoAnswerError(
                    f"the daemon (pid {watch.pid}) of {shown} is still there after {render_duration(timeout_s)}",
                    "wait longer with --timeout, or end it with kill",
                )
    click.echo(f"unmounted {shown}")
    return ExitCode.OK


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


def _clear_dead_mount(path: Path) -> None:
    """Detach a readyfs mount that nobody serves; raise `NotRunningError` if there is none, or if somebody does."""
    from readyfs.fuse.mount_point import detach
    from readyfs.fuse.mount_table import is_alive, mounts_at

    shown = escape_text(str(path))
    mounts = mounts_at(path)
    if look_at_kernel(path) is None:
        other = f" ({escape_text(mounts[-1].fs_type)} is mounted there)" if mounts else ""
        raise NotRunningError(f"no readyfs is mounted at {shown}{other}", "`readyfs status` lists what is")
    if is_alive(mounts[-1]):
        raise NotRunningError(
            f"the daemon of {shown} listens in another runtime directory",
            "give the one that it was started with as --runtime-dir, or run this as the user who mounted",
        )
    detach(path)
