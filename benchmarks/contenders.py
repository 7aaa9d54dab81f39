"""Who is measured: the raw tree, what people build from it without readyfs, bindfs, and readyfs in every way.

A contender mounts a site for the time of a `with` block. One that this machine cannot have says why.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

from benchmarks.daemons import (
    PATIENCE_S,
    BenchmarkError,
    Daemon,
    MountError,
    last_complaint,
    start,
    stop,
    unmount,
    wait_answering,
    wait_mounted,
)
from benchmarks.private_mounts import FUSE_DEVICE, is_for_all
from benchmarks.sites import Site
from benchmarks.work.view import View
from readyfs.control.client import ControlClient
from readyfs.control.protocol import socket_path

PLAIN_USER: Final = 65534
"""Who mounts when nobody special does: nobody."""
CONTROL: Final = "control"
"""The raw tree a second time: what it differs from itself by is chance."""
OTHER_BUILD: Final = "other"
"""Another build of readyfs, as it chooses by itself."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A site while it is mounted: how to look at it, as whom, and who serves it."""

    view: View
    daemon: Daemon | None = None
    as_user: tuple[str, ...] = ()

    @property
    def is_for_all(self) -> bool:
        """Whether other processes than those started with `as_user` may look."""
        return not self.as_user


class Contender(Protocol):
    """What measuring needs of a contender."""

    @property
    def key(self) -> str:
        """Its name on the command line and in the JSON."""
        ...

    @property
    def title(self) -> str:
        """Its name in tables and plots."""
        ...

    def obstacle(self) -> str | None:
        """Return why it cannot run here, if so."""
        ...

    def mounted(self, site: Site) -> AbstractContextManager[Mounted]:
        """Mount for the body, anew; raises `MountError` if it does not come up."""
        ...


@dataclass(frozen=True, slots=True)
class RawTree:
    """The raw tree itself: what no view of it can be expected to beat."""

    key: str = "raw"
    title: str = "raw tree"

    def obstacle(self) -> str | None:
        """Return nothing."""
        return None

    @contextmanager
    def mounted(self, site: Site) -> Iterator[Mounted]:
        """Yield the raw root."""
        yield Mounted(View(str(site.raw_root)))


@dataclass(frozen=True, slots=True)
class SymlinkFarm:
    """A directory of links, one per ready partition, as scripts make them."""

    key: str = "farm"
    title: str = "symlink farm"

    def obstacle(self) -> str | None:
        """Return nothing."""
        return None

    @contextmanager
    def mounted(self, site: Site) -> Iterator[Mounted]:
        """Make the links and yield their top."""
        with tempfile.TemporaryDirectory(prefix="farm-", dir=site.base) as name:
            for run in site.raw_root.glob("*/*/*/*/*"):
                customer, query, date = (part.partition("=")[2] for part in run.parts[-4:-1])
                link = Path(name, customer, query, date)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(run)
            yield Mounted(View(name, raw_layout=False, has_links=True))


@dataclass(frozen=True, slots=True)
class BindMount:
    """The raw tree bound to another place, read-only: the kernel's own way, without any choice of what is shown."""

    key: str = "bind"
    title: str = "bind mount"

    def obstacle(self) -> str | None:
        """Only root may."""
        return None if os.geteuid() == 0 else "only root may bind"

    @contextmanager
    def mounted(self, site: Site) -> Iterator[Mounted]:
        """Bind and yield the place."""
        with _mount_point(site.base) as path:
            try:
                _run(["mount", "--bind", str(site.raw_root), str(path)])
                _run(["mount", "-o", "remount,bind,ro", str(path)])
                yield Mounted(View(str(path)))
            finally:
                unmount(path)


@dataclass(frozen=True, slots=True)
class Bindfs:
    """The raw tree through `bindfs -r` (C, libfuse): what a read-only FUSE view costs without any thought."""

    key: str = "bindfs"
    title: str = "bindfs -r"

    def obstacle(self) -> str | None:
        """It has to be installed."""
        return None if shutil.which("bindfs") else "bindfs is not installed"

    @contextmanager
    def mounted(self, site: Site) -> Iterator[Mounted]:
        """Mount and yield."""
        with _mount_point(site.base) as path:
            output = site.base / "bindfs.log"
            process = start(["bindfs", "-f", "-r", str(site.raw_root), str(path)], output)
            try:
                wait_mounted(path, process, output)
                yield Mounted(View(str(path)), Daemon(process))
            finally:
                unmount(path)
                stop(process, path)


@dataclass(frozen=True, slots=True)
class Readyfs:
    """readyfs with its default settings but for those given; `as_plain_user` mounts it by `fusermount3`.

    `expected` is what its status has to say, so that no fallback is measured under another's name. `python` is the
    interpreter of the build.
    """

    key: str
    title: str
    options: tuple[str, ...] = ()
    expected: tuple[tuple[str, str], ...] = ()
    needs_root: bool = False
    as_plain_user: bool = False
    python: str = sys.executable

    def looping(self, loop: str) -> Readyfs:
        """Return the same with a loop of the direct engine that is not left to its choice."""
        options = (*self.options, "--engine-loop", loop)
        return replace(self, options=options, expected=(*self.expected, ("engine_loop", loop)))

    def obstacle(self) -> str | None:
        """A readyfs that lacks the options, or a user that cannot become another."""
        missing = list(_unknown_options(self.options, _mount_help(self.python)))
        if missing:
            return f"this readyfs has no {' and no '.join(missing)}"
        if self.needs_root and os.geteuid() != 0:
            return "only root may"
        if self.as_plain_user:
            if os.geteuid() != 0:
                return "whoever runs the benchmark is a plain user"
            if not shutil.which("setpriv"):
                return "setpriv is not installed"
            if not is_for_all(FUSE_DEVICE):
                return f"users may not open {FUSE_DEVICE} here"
        return None

    @contextmanager
    def mounted(self, site: Site) -> Iterator[Mounted]:
        """Mount and yield."""
        as_user = _as_plain_user() if self.as_plain_user else ()
        settings = (*self.options, "--state", str(site.state_file), "--raw", str(site.raw_root))
        with serving(site.base, settings, as_user, python=self.python) as (path, daemon):
            self._check(daemon)
            yield Mounted(View(str(path), raw_layout=False), daemon, as_user)

    def _check(self, daemon: Daemon) -> None:
        status = daemon.status()
        for name, value in self.expected:
            if status.get(name) != value:
                reason = status.get(f"{name}_reason")
                raise MountError(f"runs with {name}={status.get(name)!r} and not {value!r} ({reason})")


@contextmanager
def serving(
    base: Path,
    settings: Sequence[str],
    as_user: tuple[str, ...] = (),
    patience_s: float = PATIENCE_S,
    python: str = sys.executable,
) -> Iterator[tuple[Path, Daemon]]:
    """Have readyfs mount a new directory below `base` with these settings; yield the place and its daemon.

    `patience_s` bounds its start and each answer. Raises `MountError` if it does not come up.
    """
    with (
        _mount_point(base) as path,
        # Not below the base: the path of a socket is limited to some hundred bytes (unix(7)).
        tempfile.TemporaryDirectory(prefix="readyfs-") as own,
    ):
        if as_user:
            for place in (path, Path(own)):
                os.chown(place, PLAIN_USER, PLAIN_USER)
        runtime_dir, output = Path(own, "run"), Path(own, "log")
        command = [
            *(*as_user, python, "-m", "readyfs", "mount", str(path), *settings),
            *("--runtime-dir", str(runtime_dir), "--state-dir", str(Path(own, "state"))),
        ]
        began = time.monotonic()
        process = start(command, output)
        try:
            wait_mounted(path, process, output, patience_s)
            daemon = Daemon(process, ControlClient(socket_path(runtime_dir, path), timeout_s=patience_s))
            wait_answering(daemon, output, patience_s)
            # Mounted is not yet served; looking waits until it is.
            _run([*as_user, "stat", str(path)])
            daemon.ready_s = time.monotonic() - began
            yield path, daemon
        except MountError:
            raise
        except (BenchmarkError, OSError) as error:
            complaint = last_complaint(output)
            if complaint is None:
                raise
            raise BenchmarkError(f"{error}; the daemon's last complaint: {complaint}") from error
        finally:
            stop(process, path)


def all_contenders(other: str | None = None) -> tuple[Contender, ...]:
    """Return everybody, in the order of the tables; `other` is the interpreter of another build to measure beside."""
    return (
        RawTree(),
        RawTree(CONTROL, "raw tree, control"),
        SymlinkFarm(),
        BindMount(),
        Bindfs(),
        Readyfs("pyfuse3", "pyfuse3", *_engine("pyfuse3")),
        *((Readyfs(OTHER_BUILD, "other build", python=other),) if other else ()),
        Readyfs("opened", "direct, opened", *_engine("direct", "opened")),
        Readyfs("python", "direct, opened, Python loop", *_engine("direct", "opened")).looping("python"),
        Readyfs("passthrough", "direct, passthrough", *_engine("direct", "passthrough"), needs_root=True),
        Readyfs("cached", "direct, cached", *_engine("direct", "cached")),
        Readyfs("user", "direct, cached, plain user", *_engine("direct", "cached"), as_plain_user=True),
    )


def automatic() -> Readyfs:
    """Return readyfs as it chooses by itself; not measured, only asked."""
    return Readyfs("auto", "auto")


def ways_of_reading(python: str, suffix: str) -> tuple[Readyfs, ...]:
    """Return a build of readyfs in every way, as it chooses by itself first; keys and titles end in the suffix."""
    return tuple(
        replace(way, key=f"{way.key}{suffix}", title=f"{way.title}{suffix}", python=python)
        for way in (automatic(), *all_contenders())
        if isinstance(way, Readyfs) and not way.as_plain_user and "--engine-loop" not in way.options
    )


def _engine(engine: str, reads: str | None = None) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return the options of an engine and what the status says of it."""
    if reads is None:
        return ("--engine", engine), (("engine", engine),)
    return ("--engine", engine, "--reads", reads), (("engine", engine), ("reads", reads))


@cache
def _mount_help(python: str) -> str:
    command = [python, "-m", "readyfs", "mount", "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _unknown_options(options: Sequence[str], text: str) -> Iterator[str]:
    """Yield the options that a help text lacks, and those to whose choices a value does not belong."""
    for option, value in pairwise((*options, "")):
        if not option.startswith("--"):
            continue
        found = re.search(rf"^ *{re.escape(option)} +(\S+)", text, re.MULTILINE)
        if found is None:
            yield option
        elif "|" in found[1] and value not in found[1].split("|"):
            yield f"{option} {value}"


@cache
def _as_plain_user() -> tuple[str, ...]:
    """Return the words before a command that run it as a user without privileges; none if that is who we are.

    He may read what is closed to him, because an interpreter may lie in somebody's home; he may not mount.
    """
    if os.geteuid() != 0:
        return ()
    rights = [f"--{kind}=+dac_read_search" for kind in ("inh-caps", "ambient-caps")]
    return ("setpriv", f"--reuid={PLAIN_USER}", f"--regid={PLAIN_USER}", "--clear-groups", *rights)


@contextmanager
def _mount_point(base: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="mount-", dir=base))
    try:
        yield path
    finally:
        # Fails while anything is mounted, which is what we want: nothing below a mount is ever removed.
        path.rmdir()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    if done.returncode:
        raise MountError(f"{' '.join(command[:2])}: {done.stderr.strip() or f'exit code {done.returncode}'}")
