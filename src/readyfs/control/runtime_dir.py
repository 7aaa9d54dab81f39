"""The runtime directory: where the control sockets of one user stand, each with a small file that names its mount.

Mode 0700 whoever we are, root in /run/readyfs included: one who may not connect has no business seeing the names.
A directory made by somebody else (a service manager's `RuntimeDirectory=`) may be readable but not writable by others.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from readyfs.control.socket_place import is_listening, lock_directory
from readyfs.errors import UsageError
from readyfs.text import escape_text


@dataclass(frozen=True, slots=True)
class Registration:
    """One daemon that announced itself: what it serves, who it is, where it listens, for itself and for everybody.

    It may be dead or hung by the time this is read.
    """

    mountpoint: Path
    pid: int
    socket: Path
    public: Path | None = None


def prepare_runtime_dir(path: Path) -> None:
    """Create the directory (0700, parents by the umask) unless it is there.

    Raises `UsageError` if it cannot be made or cannot be trusted.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make the runtime directory {escape_text(str(path))}: {error.strerror}",
            "choose another with --runtime-dir",
        ) from error
    check_runtime_dir(path)


def check_runtime_dir(path: Path) -> None:
    """Raise `UsageError` if somebody else could have planted a socket in the directory; a missing one is fine."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"cannot look at the runtime directory {escape_text(str(path))}: {error.strerror}",
            "choose another with --runtime-dir",
        ) from error
    euid = os.geteuid()
    if not stat.S_ISDIR(status.st_mode):
        problem = "is not a directory"
    elif status.st_uid not in (euid, 0) and euid != 0:
        problem = f"belongs to another user ({status.st_uid})"
    elif status.st_mode & 0o022:
        problem = "can be written by others"
    else:
        return
    raise UsageError(
        f"the runtime directory {escape_text(str(path))} {problem}", "remove it, or choose another with --runtime-dir"
    )


def remove_leftovers(socket: Path) -> None:
    """Take away what a dead daemon left of its sockets, unless a successor listens there; raise `OSError`."""
    registration = read_registration(socket)
    if registration is not None and registration.public is not None:
        _remove_socket(registration.public)
    _remove_socket(socket)


def _remove_socket(socket: Path) -> None:
    if not socket.parent.is_dir():
        return
    with lock_directory(socket.parent):
        if not is_listening(socket):
            registration_file(socket).unlink(missing_ok=True)
            socket.unlink(missing_ok=True)


def registration_file(socket: Path) -> Path:
    """Return the file beside a socket that names its mount point and process."""
    return socket.with_suffix(".json")


def write_registration(registration: Registration) -> None:
    """Announce a daemon, replacing in one step what stood there."""
    target = registration_file(registration.socket)
    draft = target.with_suffix(".new")
    message = {"mountpoint": str(registration.mountpoint), "pid": registration.pid}
    if registration.public is not None:
        message["public"] = str(registration.public)
    text = json.dumps(message) + "\n"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    draft.rename(target)


def read_registration(socket: Path) -> Registration | None:
    """Return what the daemon of a socket announced, or None if there is nothing that can be read."""
    try:
        message = json.loads(registration_file(socket).read_text(encoding="ascii"))
        mountpoint, pid = Path(str(message["mountpoint"])), int(message["pid"])
        public = Path(str(message["public"])) if "public" in message else None
        return Registration(mountpoint, pid, socket, public)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def list_registrations(runtime_dir: Path) -> list[Registration]:
    """Return every daemon that announced itself in a directory, by mount point; a missing directory holds none."""
    check_runtime_dir(runtime_dir)
    found = (read_registration(path.with_suffix(".sock")) for path in runtime_dir.glob("*.json"))
    return sorted((one for one in found if one is not None), key=lambda one: str(one.mountpoint))
