"""A service without a service manager: the daemon with the user, the capabilities and the filter that its unit gives.

`setpriv` applies what the unit says of them, and `system_call_filter.py` its filter; both read the unit itself. What a
service manager does by control groups (DevicePolicy) is not shown. Everything happens in a mount namespace that is
like a machine of its own, see `open_machine.py`: what is left mounted there is gone with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from readyfs.fuse.mount_table import Mount, read_mount_table, stack_at
from tests.fuse.live_mount import daemon as held_program
from tests.mount.daemon import Daemon, Place, start, take_down
from tests.systemd import open_machine, system_call_filter
from tests.systemd.units import value_of, values_of

SERVICE: Final = 64001
"""The service's user."""
PRODUCER: Final = 64002
"""Who owns the raw root and the state file."""
READER: Final = 64003
COMMAND_S: Final = 20
PROJECT: Final = Path(__file__).parents[2]
_NEEDED: Final = (Path(sys.base_prefix), Path(sys.prefix), PROJECT)


@dataclass(frozen=True, slots=True)
class Machine:
    """A mount namespace, by the process that holds it."""

    pid: int

    def inside(self, *command: str | Path) -> list[str]:
        """Return a command line that runs a command there."""
        return ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "--", *map(str, command)]

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command there, as root; what it is refused is in the result."""
        return subprocess.run(
            self.inside(*command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
            cwd="/",
        )

    def mounts_at(self, place: Path) -> Sequence[Mount]:
        """Return what is mounted at a place there."""
        return stack_at(read_mount_table(Path(f"/proc/{self.pid}/mountinfo")), place)


@contextmanager
def machine() -> Iterator[Machine]:
    """Hold such a namespace."""
    with held_program([sys.executable, open_machine.__file__, str(SERVICE), *map(str, _NEEDED)]) as process:
        yield Machine(process.pid)


def as_user(user: int, *command: str | Path) -> list[str]:
    """Return a command line that runs a command as an ordinary user."""
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", *map(str, command)]


def as_service(unit: Path) -> list[str]:
    """Return the command line's beginning that makes a program a service of the unit."""
    ambient = [_plain(word) for value in values_of(unit, "AmbientCapabilities") for word in value.split()]
    bounding = [_plain(word) for word in value_of(unit, "CapabilityBoundingSet").split()]
    command = ["setpriv", f"--reuid={SERVICE}", f"--regid={SERVICE}", "--clear-groups"]
    command.append(f"--inh-caps={_set(ambient)}")
    command.append(f"--ambient-caps={_set(ambient)}")
    command.append(f"--bounding-set={_set(bounding)}")
    if value_of(unit, "NoNewPrivileges") == "yes":
        command.append("--no-new-privs")
    command.append("--")
    if values_of(unit, "SystemCallFilter"):
        python_path = f"PYTHONPATH={os.pathsep.join(sys.path)}"
        command += ["env", python_path, sys.executable, system_call_filter.__file__, str(unit)]
    return command


def _plain(name: str) -> str:
    return name.removeprefix("CAP_").lower()


def _set(names: Sequence[str]) -> str:
    return ",".join(["-all", *(f"+{name}" for name in names)])


@contextmanager
def world(owner: int = SERVICE) -> Iterator[Place]:
    """Make a place that everybody may enter, with directories for the daemon that belong to its user."""
    base = Path(tempfile.mkdtemp(prefix="readyfs-service-"))
    try:
        base.chmod(0o755)
        place = Place(base)
        with closing(place.producer):
            for ours in (place.runtime_dir, place.public_dir, base / "var"):
                ours.mkdir(mode=0o700)
                os.chown(ours, owner, owner)
            yield place
    finally:
        shutil.rmtree(base)


def close_to_others(place: Place) -> None:
    """Give state and runs to the producer, and shut everybody else out."""
    _give(place, 0o600, 0o700)


def open_to_all(place: Place) -> None:
    """Give state and runs to the producer, readable by everybody."""
    _give(place, 0o644, 0o755)


def _give(place: Place, file_mode: int, directory_mode: int) -> None:
    paths = [place.state, place.raw, *place.raw.rglob("*")]
    for path in paths:
        os.chown(path, PRODUCER, PRODUCER)
        path.chmod(directory_mode if path.is_dir() else file_mode)


@contextmanager
def serving(machine: Machine, unit: Path, place: Place, *arguments: str, engine: str) -> Iterator[Daemon]:
    """Run the daemon as the unit would; whatever the body leaves is taken down."""
    daemon = start(place, *arguments, engine=engine, wrapper=[*machine.inside(), *as_service(unit)])
    try:
        yield daemon
    finally:
        take_down(daemon)


def thread_status(pid: int) -> list[dict[str, str]]:
    """Return the fields of proc_pid_status(5) of every thread of a process."""
    tasks = sorted(Path(f"/proc/{pid}/task").iterdir())
    return [dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines()) for task in tasks]
