"""A shell that the tour types into: one process, so that an open file or a variable lasts from command to command.

Every command has a time limit and its end is recognised by a mark that it cannot print by accident. The shell and
what it started are killed together; nothing waits for a process that does not die.
"""

from __future__ import annotations

import os
import secrets
import selectors
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import readyfs

_READ_SIZE: Final = 65536
_GRACE_S: Final = 2.0


class CommandTimeoutError(Exception):
    """A command did not end within its time limit; the text is what it had printed by then."""


class Outcome(NamedTuple):
    """What a command printed on either stream, and its exit status."""

    text: str
    status: int


class Terminal:
    """A POSIX shell in `directory`, in which `readyfs` and `python` are the ones that run this process.

    `scratch` is a directory for the two commands; the caller removes it.
    """

    def __init__(self, directory: Path, scratch: Path) -> None:
        _write_command(scratch / "readyfs", "-m", "readyfs")
        _write_command(scratch / "python")
        self._mark = f"--{secrets.token_hex(16)}--"
        self._shell = subprocess.Popen(
            ["/bin/sh"],
            cwd=directory,
            env=_environment(scratch),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A session of its own: Ctrl-C reaches the tour, which then ends what it started in good order.
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, command: str, timeout_s: float = 20.0) -> Outcome:
        """Type a command and return what it printed.

        Raises `CommandTimeoutError` after `timeout_s` seconds; the shell is killed then.
        """
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        # The shell reads its commands from standard input, which a command must not eat.
        typed = f"{{\n{command}\n}} </dev/null\nprintf '%s%s\\n' {self._mark} $?\n"
        self._shell.stdin.write(typed.encode())
        self._shell.stdin.flush()
        descriptor = self._shell.stdout.fileno()
        mark, printed = self._mark.encode(), b""
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while True:
                before, found, after = printed.partition(mark)
                if found and after.endswith(b"\n"):
                    return Outcome(before.decode(errors="backslashreplace"), int(after))
                if not selector.select(deadline - time.monotonic()):
                    self.close()
                    raise CommandTimeoutError(printed.decode(errors="backslashreplace"))
                chunk = os.read(descriptor, _READ_SIZE)
                if not chunk:
                    # The command ended the shell.
                    status = self._shell.wait(_GRACE_S)
                    return Outcome(printed.decode(errors="backslashreplace"), status)
                printed += chunk

    def close(self) -> None:
        """End the shell and the commands that still run in it; a daemon, which has left the session, goes on."""
        for stream in (self._shell.stdin, self._shell.stdout):
            if stream is not None and not stream.closed:
                stream.close()
        if self._shell.poll() is None:
            os.killpg(self._shell.pid, signal.SIGKILL)
            try:
                self._shell.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                # Stuck in the kernel: it goes when the mount does.
                return


def _environment(scratch: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("READYFS_")}
    environment["PATH"] = f"{scratch}:{environment.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    environment["LC_ALL"] = "C.UTF-8"
    environment["TERM"] = "dumb"
    package_parent = Path(readyfs.__file__).parent.parent
    if package_parent.name not in ("site-packages", "dist-packages"):
        # A checkout that was put on the path of this process alone.
        environment["PYTHONPATH"] = f"{package_parent}:{environment.get('PYTHONPATH', '')}".rstrip(":")
    return environment


def _write_command(path: Path, *arguments: str) -> None:
    command = shlex.join([sys.executable, *arguments])
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
