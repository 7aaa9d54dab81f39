"""The directory of the public sockets: everybody may enter it, its owner alone may change or list it.

What others cannot list they need not know of. A socket is found through the mount that it belongs to, by the link
`.readyfs/socket`.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from readyfs.errors import UsageError
from readyfs.text import escape_text

MODE: Final = 0o711
_FLAG: Final = "--public-dir"


def prepare_public_dir(path: Path) -> None:
    """Create the directory, or open it to everybody if it is ours; raise `UsageError` if it cannot be used."""
    shown = escape_text(str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=MODE, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise UsageError(
            f"cannot make the directory of the public sockets {shown}: {error.strerror}", f"choose another with {_FLAG}"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        problem = "is not a directory"
    elif status.st_uid not in (os.geteuid(), 0):
        problem = f"belongs to another user ({status.st_uid})"
    elif status.st_mode & 0o022:
        problem = "can be written by others"
    else:
        if not status.st_mode & stat.S_IXOTH:
            _open(path, shown)
        return
    raise UsageError(
        f"the directory of the public sockets {shown} {problem}", f"remove it, or choose another with {_FLAG}"
    )


def _open(path: Path, shown: str) -> None:
    try:
        path.chmod(MODE)  # the umask may have closed it
    except OSError as error:
        raise UsageError(
            f"the directory of the public sockets {shown} cannot be entered by others",
            f"give it the mode {MODE:04o}, or choose another with {_FLAG}",
        ) from error
