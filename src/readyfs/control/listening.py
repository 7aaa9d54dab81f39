"""A Unix socket that a daemon listens on: made in one step with its final mode, and taken away at the end.

Neither a daemon that lives nor a successor ever loses its socket to another one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from readyfs.control.socket_place import is_listening, lock_directory
from readyfs.errors import MountPointError, UsageError
from readyfs.text import escape_text

BACKLOG: Final = 64

_log = structlog.get_logger(__name__)


@contextmanager
def listen(
    path: Path,
    mountpoint: Path,
    mode: int,
    flag: str,
    announce: Callable[[], None] = lambda: None,
    renounce: Callable[[], None] = lambda: None,
) -> Iterator[socket.socket]:
    """Listen at a path, for whoever the mode admits; take it away at the end unless a successor stands there.

    `announce` and `renounce` are called under the directory's lock, with what is to come and go together with the
    socket. Raises `MountPointError` if another daemon listens there, `UsageError`, which names the `flag` of the
    directory, if the socket cannot be made.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # On Linux bind(2) gives the file the mode of the unbound socket: no moment at which others may connect.
        os.fchmod(bound.fileno(), mode)
        with lock_directory(path.parent):
            if is_listening(path):
                raise MountPointError(
                    f"another readyfs daemon serves {escape_text(str(mountpoint))}",
                    "end it first with `readyfs umount`",
                )
            path.unlink(missing_ok=True)
            bound.bind(str(path))
            path.chmod(mode)  # it was made by the umask, which can only have closed it further
            bound.listen(BACKLOG)
            identity = _identify(path)
            announce()
    except OSError as error:
        bound.close()
        raise UsageError(
            f"cannot make the socket {escape_text(str(path))}: {error.strerror}",
            f"choose another directory with {flag}",
        ) from error
    except BaseException:
        bound.close()
        raise
    try:
        yield bound
    finally:
        bound.close()
        _remove(path, identity, renounce)


def _identify(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _remove(path: Path, identity: tuple[int, int], renounce: Callable[[], None]) -> None:
    try:
        with lock_directory(path.parent):
            if _identify(path) == identity:
                renounce()
                path.unlink()
    except FileNotFoundError:
        pass  # Somebody tidied up before us, perhaps with the whole directory.
    except OSError as error:
        _log.warning("control socket not removed", path=str(path), error=error.strerror)
