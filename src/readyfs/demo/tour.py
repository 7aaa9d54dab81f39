"""`readyfs demo`: makes a sample world, mounts it, shows it in a short tour, and takes everything down again.

A demo directory holds `state.db` and `raw/` (the world), `mount/` (the mount point), `var/` (the daemon's state) and
`readyfs.log`. One from an earlier demo is made anew. The mount is taken down whatever happens: at the end, after an
error, at Ctrl-C and at SIGTERM.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import click

from readyfs.demo.steps import INTERVAL, LOG, MOUNT, SIGNALS, STEPS, Stage, TourFailedError
from readyfs.demo.terminal import CommandTimeoutError, Terminal
from readyfs.demo.world import TOUR_DAYS, World, WorldSpec, make_world
from readyfs.errors import ExitCode, UsageError
from readyfs.fuse.mount_table import Answer, ask_mount, mounts_at
from readyfs.fuse.unmount import detach
from readyfs.text import escape_text

_LOG_LINES: Final = 20
_STOP_TIMEOUT_S: Final = 45.0


class _Ended(BaseException):
    """A signal asked the demo to end; not an error that a step may catch."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run_demo(
    directory: Path | None, spec: WorldSpec | None = None, *, mount: bool = True, wait: bool | None = None
) -> ExitCode:
    """Make a sample world in `directory` and take the tour; return 0 if every step showed what it claims.

    Without a directory a temporary one is used, which is removed at the end. `mount=False` only writes the world, for
    which a directory has to be named. `wait` says whether to stay mounted after the tour until Ctrl-C; None means on a
    terminal. Called from the main thread, because it handles signals; one that comes before the end of the tour raises
    `SystemExit`. Raises `UsageError` for a directory that cannot be written, is in use or holds something else, and
    `TourFailedError`.
    """
    spec = spec or WorldSpec()
    if not mount and directory is None:
        raise UsageError("--no-mount only writes a sample world, and no DIR says where to", "name a directory")
    if mount and spec.days < TOUR_DAYS:
        raise UsageError(f"too few days for the tour: {spec.days}", f"ask for at least {TOUR_DAYS}, or --no-mount")
    if wait is None:
        wait = sys.stdin.isatty() and sys.stdout.isatty()
    with _signals_as_exceptions():
        try:
            with _demo_directory(directory) as place:
                world = _write_world(place, spec)
                if mount:
                    _tour(world, wait=wait)
        except _Ended as ended:
            raise SystemExit(128 + ended.number) from None
    return ExitCode.OK


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    def end(number: int, _frame: FrameType | None) -> NoReturn:
        raise _Ended(number)

    before = {number: signal.signal(number, end) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _demo_directory(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        # A loop of links is told as an OSError by what comes next.
        yield Path(os.path.realpath(directory))
        return
    place = Path(tempfile.mkdtemp(prefix="readyfs-demo-")).resolve()
    try:
        yield place
    finally:
        # Never below a mount that could not be taken down.
        if not mounts_at(place / MOUNT):
            shutil.rmtree(place)


def _write_world(place: Path, spec: WorldSpec) -> World:
    _clear_mount_point(place / MOUNT)
    world = make_world(place, spec)
    _heading("A sample world")
    partitions = _count(spec.customers * spec.queries * spec.days, "partition")
    _say(f"{escape_text(str(place))} holds what a pipeline leaves behind:")
    _say("  state.db  the state table")
    _say("  raw/      every run that was ever written")
    _say(f"{partitions} of {_count(spec.customers, 'customer')}, {len(world.ready)} ready:")
    _say("  " + ", ".join(f"{count} {fate}" for fate, count in world.fates.most_common()))
    return world


def _clear_mount_point(mount_point: Path) -> None:
    """Clear what a demo that was killed left mounted; raise `UsageError` if the mount is alive."""
    for mount in mounts_at(mount_point):
        if not mount.is_readyfs or ask_mount(mount) is not Answer.DEAD:
            shown = escape_text(shlex.quote(str(mount_point)))
            raise UsageError(f"{shown} is mounted", f"unmount it first: readyfs umount {shown}")
        detach(mount_point)


def _tour(world: World, *, wait: bool) -> None:
    mount_point = world.directory / MOUNT
    if mount_point.exists() and not mount_point.is_dir():
        raise UsageError(f"{escape_text(str(mount_point))} is not a directory", "remove it, or name another directory")
    mount_point.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="readyfs-demo-bin-"))
    try:
        with world.producer() as producer, Terminal(world.directory, scratch) as terminal:
            try:
                _take_steps(Stage(world, producer, terminal, _say, _show))
                if wait:
                    _stay(mount_point)
            except TourFailedError:
                _show_log(world.directory / LOG)
                raise
            finally:
                for number in SIGNALS:
                    signal.signal(number, signal.SIG_IGN)
                # Whatever the shell still holds open goes with it.
                terminal.close()
                _take_down(mount_point, scratch)
    finally:
        shutil.rmtree(scratch)


def _take_steps(stage: Stage) -> None:
    for step in STEPS:
        _heading(step.__doc__)
        step(stage)


def _stay(mount_point: Path) -> None:
    try:
        _heading("Now you.")
        _say(f"{mount_point} follows state.db every {INTERVAL}. Look around; Ctrl-C unmounts it and ends the demo.")
        while True:
            signal.pause()
    except _Ended:
        _say("")


def _take_down(mount_point: Path, scratch: Path) -> None:
    """Unmount if there is a mount, in bounded time; say so afterwards, because saying it can fail."""
    if not mounts_at(mount_point):
        return
    command, answer = f"readyfs umount {MOUNT}", ""
    try:
        with Terminal(mount_point.parent, scratch) as terminal:
            answer = terminal.run(command, _STOP_TIMEOUT_S).text
    except CommandTimeoutError as error:
        answer = f"{error}(no answer)"
    finally:
        left = bool(mounts_at(mount_point))
        if left:
            detach(mount_point)
    _heading("And down again.")
    _show(command, answer)
    if left:
        raise TourFailedError(f"`{command}` left the mount there", "it was detached now; the output above says more")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _heading(text: str | None) -> None:
    _echo(click.style(f"\n{(text or '').splitlines()[0]}", bold=True))


def _say(text: str) -> None:
    _echo(text)


def _show(command: str, output: str) -> None:
    _echo(click.style(f"$ {command}", fg="cyan"))
    if output:
        _echo(output.rstrip("\n"))


def _show_log(log: Path) -> None:
    text = log.read_text(encoding="utf-8", errors="backslashreplace") if log.exists() else ""
    if lines := text.splitlines()[-_LOG_LINES:]:
        _echo("\n".join((f"the last lines of {log.name}:", *lines)))


def _echo(text: str) -> None:
    # None: coloured on a terminal only (https://no-color.org for the variable).
    click.echo(text, color=False if os.environ.get("NO_COLOR") else None)
