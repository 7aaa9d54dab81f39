"""`--daemon`: a child that runs the same command in a session of its own and reports over a pipe.

The child is a fresh interpreter, because a process that has threads or a FUSE session must not fork. It knows by an
environment variable that it is the child, and on which descriptor its parent listens; what it prints until it is ready
goes to memory that the parent reads if the child dies without a word.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, Self

import click

from readyfs.control.messages import parse_reply, render_error, render_result
from readyfs.errors import ExitCode, UserError
from readyfs.text import escape_text

_VARIABLE: Final = "_READYFS_REPORT_FD"
_STOP_TIMEOUT_S: Final = 10.0
_MAX_REPORT_BYTES: Final = 65536


class StartReport:
    """The child's end: says once whether the start succeeded."""

    def __init__(self, descriptor: int) -> None:
        # Mount helpers that the daemon starts must not keep the parent waiting.
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor

    @classmethod
    def take(cls) -> Self | None:
        """Return the report that this process owes, or None if nobody waits for one."""
        text = os.environ.pop(_VARIABLE, "")
        return cls(int(text)) if text.isdigit() else None

    def ready(self, output: Path | None) -> None:
        """Report success, after turning stdout and stderr to a file (or away)."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
        target = os.open(output if output is not None else os.devnull, flags, 0o644)
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)
        self._send(render_result({}))

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Report the `UserError` that ends the body, unless it was ready before; the parent prints it then."""
        try:
            yield
        except UserError as error:
            self._send(render_error(error))
            raise

    def _send(self, line: bytes) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            os.write(descriptor, line)
        except BrokenPipeError:
            pass  # The parent was killed; a daemon that serves is still what was asked for.
        finally:
            os.close(descriptor)


def start_in_background(arguments: Sequence[str], environ: Mapping[str, str]) -> ExitCode:
    """Run `readyfs ARGUMENTS` in the background and return once it is ready; raise the `UserError` that it reported."""
    output = os.memfd_create("readyfs-start")
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as reports:
        try:
            child = subprocess.Popen(
                # -P: a directory `readyfs` in the working directory is not our package.
                [sys.executable, "-P", "-m", "readyfs", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(write_end,),
                env={**environ, _VARIABLE: str(write_end)},
            )
        finally:
            os.close(write_end)
        try:
            with _terminable():
                report = _read_report(reports.fileno())
                if report:
                    parse_reply(report)
                    _release(child)
                    _relay(output)
                    return ExitCode.OK
                return _explain_death(child, output)
        except BaseException:
            _end(child)
            raise
        finally:
            os.close(output)


def _read_report(descriptor: int) -> bytes:
    report = b""
    while not report.endswith(b"\n") and len(report) < _MAX_REPORT_BYTES:
        part = os.read(descriptor, 4096)
        if not part:
            return b""
        report += part
    return report


def _explain_death(child: subprocess.Popen[bytes], output: int) -> ExitCode:
    """Print why a child ended that made no report, and return the exit code for it."""
    code = child.wait()
    lines = _read_output(output).strip().splitlines()
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    line = lines[-1] if lines else f"readyfs: the daemon ended before it was ready ({how})"
    if not line.startswith("readyfs: "):
        line = f"readyfs: the daemon ended before it was ready ({how}): {line}"
    click.echo(escape_text(line), err=True)
    return ExitCode(code) if code in set(ExitCode) and code != ExitCode.OK else ExitCode.INTERNAL


def _read_output(output: int) -> str:
    return os.pread(output, 1 << 20, max(0, os.fstat(output).st_size - (1 << 20))).decode("utf-8", "backslashreplace")


def _relay(output: int) -> None:
    """Show what the child logged while it started, as it would have been seen in the foreground."""
    if text := _read_output(output):
        click.echo(text, nl=False, err=True)


def _release(child: subprocess.Popen[bytes]) -> None:
    # The daemon outlives us on purpose; without this its handle warns of that when it is collected.
    child.returncode = 0


def _end(child: subprocess.Popen[bytes]) -> None:
    """Stop a child that is not wanted any more and leave nothing behind."""
    if child.returncode is not None:
        return
    try:
        child.wait(0.5)  # After a reported failure it is about to end by itself.
        return
    except subprocess.TimeoutExpired:
        child.terminate()
    try:
        child.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn a SIGTERM into an exception while the child starts, so that it does not outlive us half-started."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
