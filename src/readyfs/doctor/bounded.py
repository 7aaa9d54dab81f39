"""Running checks so that none can hold up, end or change the doctor: each in a process of its own, with a time limit.

A process that waits for a dead server or a hung file system cannot always be killed. It is left behind then, and what
it had found by that time is kept. All checks run at once, so the time limit is that of the whole examination.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NoReturn

from readyfs.doctor.finding import Check, Finding, Verdict, problem, refused
from readyfs.duration import render_duration
from readyfs.errors import UserError

GRACE_S: Final = 0.5
"""How long a process that was killed is waited for."""

_READ_SIZE: Final = 65536
_END: Final = b"null\n"
"""Follows the last finding of a check that ended in good order."""


@dataclass(slots=True)
class _Running:
    """One check's process, and what came from it."""

    check: Check
    pid: int
    pipe: int
    received: bytearray = field(default_factory=bytearray)
    is_open: bool = True
    is_ended: bool = False

    def findings(self) -> list[Finding]:
        lines = bytes(self.received).removesuffix(_END).split(b"\n")[:-1]
        decoded = [json.loads(line) for line in lines]
        return [Finding(name, Verdict(verdict), summary, remedy) for name, verdict, summary, remedy in decoded]

    @property
    def is_complete(self) -> bool:
        return self.received.endswith(b"\n" + _END) or self.received == _END


def run_checks(
    checks: Sequence[Check], limit_s: float, describe: Callable[[Exception], str]
) -> Iterator[tuple[Check, list[Finding]]]:
    """Run all checks and yield, in their order, what each found; one that fails or takes too long says so itself.

    `describe` turns an unexpected exception into words without secrets.
    """
    running: list[_Running] = []
    try:
        running.extend(_start(check, describe) for check in checks)
        _collect(running, time.monotonic() + limit_s)
        for one in running:
            yield one.check, [*_conclude(one, limit_s), *_end(one, describe)]
    finally:
        for one in running:
            if not one.is_ended:
                _end(one, describe)


def _start(check: Check, describe: Callable[[Exception], str]) -> _Running:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _serve(check, writing, describe)
    os.close(writing)
    return _Running(check, pid, reading)


def _serve(check: Check, writing: int, describe: Callable[[Exception], str]) -> NoReturn:
    """Be the check's process: nothing that it prints, raises or leaves behind reaches the doctor."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        try:
            for finding in check.look():
                _send(writing, finding)
        except UserError as error:
            _send(writing, refused(check.name, error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a finding
            _send(writing, _failed(check, describe(error)))
        os.write(writing, _END)
    finally:
        os._exit(0)


def _send(writing: int, finding: Finding) -> None:
    line = json.dumps([finding.name, finding.verdict, finding.summary, finding.remedy]) + "\n"
    data = line.encode("ascii")
    while data:
        data = data[os.write(writing, data) :]


def _collect(running: Sequence[_Running], deadline_s: float) -> None:
    with selectors.DefaultSelector() as selector:
        for one in running:
            selector.register(one.pipe, selectors.EVENT_READ, one)
        while selector.get_map() and (left_s := deadline_s - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                one = key.data
                data = os.read(one.pipe, _READ_SIZE)
                one.received += data
                if not data or one.is_complete:
                    one.is_open = False
                    selector.unregister(one.pipe)


def _conclude(one: _Running, limit_s: float) -> list[Finding]:
    findings = one.findings()
    if one.is_open:
        findings.append(
            problem(
                one.check.name,
                f"no answer within {render_duration(limit_s)}"
                + (": the findings before this line are not all" if findings else ": what it asks hangs"),
                "mend what hangs, or give it more time with --limit",
            )
        )
    elif not one.is_complete:
        findings.append(_failed(one.check, "its process died"))
    return findings


def _failed(check: Check, reason: str) -> Finding:
    return problem(
        check.name,
        f"this check itself failed: {reason}",
        f"readyfs doctor --only {check.name} --debug",
    )


def _end(one: _Running, describe: Callable[[Exception], str]) -> list[Finding]:
    """Kill what is left of a check, wait a moment for its end, and tidy up after it; return what goes wrong there."""
    one.is_ended = True
    os.close(one.pipe)
    with suppress(ProcessLookupError):
        os.kill(one.pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(one.pid, signal.SIGKILL)
    deadline_s = time.monotonic() + GRACE_S
    # One that is stuck in the kernel is left behind; init reaps it when its wait ends.
    while os.waitpid(one.pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline_s:
        time.sleep(0.005)
    try:
        if one.check.tidy is not None:
            one.check.tidy()
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a finding
        return [_failed(one.check, describe(error))]
    return []
