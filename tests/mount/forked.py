"""Daemons by fork: real processes of the real program, without the half second of imports that each would begin with.

A daemon starts in a process that has imported `readyfs` already (`stem.py`), and from there on is what `python -m
readyfs` is. It is a child of the test's process, which gets its exit code.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.adoption import adopting_orphans

STEM: Final = Path(__file__).with_name("stem.py")


class ForkedProcess:
    """A child of this process: the part of `subprocess.Popen` that tests of daemons use. Used by one thread."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while the process runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once the process has ended; raise `subprocess.TimeoutExpired` if it does not in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self.poll() is None:
            ended = os.pidfd_open(self.pid)
            try:
                while self.poll() is None:
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout or 0.0)
                    select.select([ended], [], [], left)
            finally:
                os.close(ended)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Stem:
    """A process that forks daemons. It ends with this one, or when it is closed; its daemons go on."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(STEM), str(theirs.fileno()), "-m", "readyfs"],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd="/",
            )

    def fork(self, arguments: Sequence[str], output: int) -> ForkedProcess:
        """Start `readyfs` with arguments and our environment; its output and errors go to a descriptor of ours."""
        request = json.dumps({"arguments": list(arguments), "environment": dict(os.environ)}).encode()
        with adopting_orphans():
            self._socket.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [output]))])
            answer = self._socket.recv(64)
        assert answer, "the stem has died"
        return ForkedProcess(int(answer))

    def close(self) -> None:
        """End the stem."""
        self._socket.close()
        self._process.wait(10)
