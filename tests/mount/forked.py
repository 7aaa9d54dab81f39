"""Daemons by fork: real processes of the real program, without the imports that each would begin with.

A daemon starts in a process that has imported `readyfs` already (`stem.py`), and from there on is what `python -m
readyfs` is. It is a child of the test's process, which gets its exit code.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.adoption import adopting_orphans

STEM: Final = Path(__file__).with_name("stem.py")


class StemWrapper(tuple[str, ...]):
    """A command that takes the stem's command line, and changes something for the stem and for all that it forks."""

    __slots__ = ()


NO_WRAPPER: Final = StemWrapper()


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
    """A process that forks others. It ends with this one, or when it is closed; what it forked goes on.

    It has what it was started with: limits, privileges, time zone and hash seed. A `wrapper` changes some of that.
    """

    def __init__(self, wrapper: StemWrapper = NO_WRAPPER) -> None:
        self.is_open = True
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*wrapper, sys.executable, str(STEM), str(theirs.fileno()), "-m", "readyfs"],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd="/",
            )

    def fork(self, arguments: Sequence[str], output: int, errors: int) -> ForkedProcess:
        """Start `readyfs` with arguments and our environment; its output and errors go to descriptors of ours."""
        request = json.dumps({"arguments": list(arguments), "environment": dict(os.environ)}).encode()
        rights = array.array("i", [output, errors])
        with adopting_orphans():
            try:
                self._socket.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                answer = self._socket.recv(64)
            except BaseException:
                self._give_up()
                raise
        assert answer.isdigit(), f"the stem gave no process: {answer!r}"
        return ForkedProcess(int(answer))

    def close(self) -> None:
        """End the stem."""
        self.is_open = False
        self._socket.close()
        self._process.wait(10)

    def _give_up(self) -> None:
        """End the stem after a call that was interrupted, and what it may have forked for that."""
        self._socket.settimeout(5)
        try:
            answer = self._socket.recv(64)
        except OSError:
            answer = b""
        if answer.isdigit():
            late = ForkedProcess(int(answer))
            late.kill()
            late.wait()
        self._process.kill()
        self.close()


_stems: Final[dict[StemWrapper, Stem]] = {}


def stem(wrapper: StemWrapper = NO_WRAPPER) -> Stem:
    """Return this process's stem behind a wrapper, started when it is first asked for."""
    if wrapper not in _stems or not _stems[wrapper].is_open:
        _stems[wrapper] = Stem(wrapper)
    return _stems[wrapper]


@atexit.register
def _close_stems() -> None:
    for one in _stems.values():
        if one.is_open:
            one.close()


def run_forked(
    arguments: Sequence[str], timeout: float, wrapper: StemWrapper = NO_WRAPPER
) -> subprocess.CompletedProcess[str]:
    """Run `readyfs` to its end as `subprocess.run` does with `capture_output` and `text`."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = stem(wrapper).fork(arguments, output.fileno(), errors.fileno())
        try:
            status = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(["readyfs", *arguments], status, *texts)
