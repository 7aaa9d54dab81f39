"""What to say when no daemon answers for a mount point, and why: the same words for every command that asks one.

Found out from the mount table and from what the daemon left in the runtime directory. Only whether a mount of ours is
dead is asked of the mount itself, by a child process and with a time limit.
"""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path
from typing import Final

from readyfs.control.runtime_dir import read_registration
from readyfs.errors import NotPermittedError, NotRunningError
from readyfs.text import escape_text

_ANSWER_TIMEOUT_S: Final = 2.0


class DeadMountError(NotRunningError):
    """A readyfs mount whose daemon is gone: every use of it fails until it is cleared away."""


def explain_no_daemon(path: Path, socket: Path) -> NotRunningError | NotPermittedError:
    """Return the reason why nobody listens at the socket of a resolved mount point, as the error to end with.

    A mount of another user has its daemon, whose socket is not for everybody.
    """
    from readyfs.fuse.mount_table import Answer, ask_mount, mount_containing, read_mount_table, stack_at

    shown = escape_text(os.fsencode(path))
    table = read_mount_table()
    stack = stack_at(table, path)
    if not stack or not stack[-1].is_readyfs:
        around = mount_containing(table, path)
        if around is not None and around.is_readyfs:
            where = os.fsencode(around.mount_point)
            return NotRunningError(f"{shown} lies inside the readyfs mount at {escape_text(where)}", "name that one")
        other = f" ({escape_text(stack[-1].fs_type)} is mounted there)" if stack else ""
        return NotRunningError(f"no readyfs is mounted at {shown}{other}", "`readyfs status` lists what is")
    mount = stack[-1]
    owner, _ = mount.owner
    # Of an ordinary user's mount the kernel tells nobody but that user, and whoever can become it, that it is dead.
    if os.geteuid() in (0, owner) and ask_mount(mount, _ANSWER_TIMEOUT_S) is Answer.DEAD:
        registration = read_registration(socket)
        who = "its daemon" if registration is None else f"its daemon (pid {registration.pid})"
        return DeadMountError(f"the readyfs mount at {shown} is dead: {who} is gone", f"clear it with: {_umount(path)}")
    if os.geteuid() != owner:
        return NotPermittedError(
            f"the readyfs mount at {shown} was made by {name_user(owner)}",
            "run the command as that user; "
            f"`{escape_text(os.fsencode(f'readyfs latest {shlex.quote(str(path))}'))}` and `readyfs why` are for "
            "everybody who may enter it",
        )
    return NotRunningError(
        f"the daemon of the readyfs mount at {shown} does not listen in the runtime directory "
        f"{escape_text(os.fsencode(socket.parent))}",
        "give the one that it was started with as --runtime-dir",
    )


def _umount(path: Path) -> str:
    return escape_text(os.fsencode(f"readyfs umount {shlex.quote(str(path))}"))


def name_user(uid: int) -> str:
    """Return a user's name, or the number of one that has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
