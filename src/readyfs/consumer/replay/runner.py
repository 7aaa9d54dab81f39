"""Running the commands of a replay: some beside each other, each in a process group of its own.

One thread, the main one, starts and reaps them, so that a signal meets no process id that was given away again. A
thread for each process waits until it is dead, and leaves it to be reaped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final

from readyfs.consumer.replay.command import Command
from readyfs.consumer.replay.plan import Target

KILL_AFTER_S: Final = 5.0
"""How long a command may take to end when it was told to."""
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Outcome(StrEnum):
    """How a partition's command ended. `ENDED` is one that we ended: nobody knows what it did."""

    DONE = "done"
    FAILED = "failed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Finished:
    """One command that is over; `code` is as a shell tells it, and `why` says what is wrong, if anything."""

    target: Target
    outcome: Outcome
    code: int | None
    seconds: float
    why: str = ""


@dataclass(slots=True)
class Tally:
    """How a run went; `left` counts partitions whose command was not started.

    `error` is what `note` raised, which ended the run.
    """

    done: int = 0
    failed: int = 0
    ended: int = 0
    left: int = 0
    interrupted: bool = False
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Running:
    target: Target
    process: subprocess.Popen[bytes]
    since_s: float


def run(
    targets: Sequence[Target],
    command: Command,
    *,
    jobs: int,
    note: Callable[[Finished], None],
    look: Callable[[Target], str] = lambda target: "",
    on_stop: Callable[[int], None] = lambda running: None,
    inherited: Sequence[int] = (),
    stdout: int | None = None,
    kill_after_s: float = KILL_AFTER_S,
) -> Tally:
    """Run the command for each target, in order, at most `jobs` at a time; return how it went.

    `look` returns why a run cannot be read, just before its command would be started, which then has failed.
    `note` is told of each as it ends. If it raises, no further command is started, and those that run are waited for.
    SIGINT, SIGTERM and SIGHUP have it start no more. A second one ends those that run, group by group, with SIGTERM and
    then with SIGKILL; a third does that at once. `on_stop` is told how many run when the first comes.

    It has to be called on the main thread.
    """
    runner = _Runner(command, note, look, on_stop, tuple(inherited), stdout, kill_after_s)
    return runner.run(targets, jobs)


class _Runner:
    def __init__(
        self,
        command: Command,
        note: Callable[[Finished], None],
        look: Callable[[Target], str],
        on_stop: Callable[[int], None],
        inherited: tuple[int, ...],
        stdout: int | None,
        kill_after_s: float,
    ) -> None:
        self._command = command
        self._note = note
        self._look = look
        self._on_stop = on_stop
        self._inherited = inherited
        self._stdout = stdout
        self._kill_after_s = kill_after_s
        self._environment = dict(os.environb)
        self._running: dict[int, _Running] = {}
        # The process ids of the dead, and None for each signal: put by a handler too, which this queue allows.
        self._events: SimpleQueue[int | None] = SimpleQueue()
        self._stops = 0
        self._kill_at_s: float | None = None

    def run(self, targets: Sequence[Target], jobs: int) -> Tally:
        tally = Tally(left=len(targets))
        with self._heeding_signals():
            while True:
                while not self._stops and tally.error is None and tally.left and len(self._running) < jobs:
                    target = targets[len(targets) - tally.left]
                    tally.left -= 1
                    finished = self._start(target)
                    if finished is not None:
                        self._count(tally, finished)
                if not self._running:
                    break
                finished = self._wait()
                if finished is not None:
                    self._count(tally, finished)
        tally.interrupted = bool(self._stops) and bool(tally.left or tally.ended)
        return tally

    def _count(self, tally: Tally, finished: Finished) -> None:
        match finished.outcome:
            case Outcome.DONE:
                tally.done += 1
            case Outcome.FAILED:
                tally.failed += 1
            case Outcome.ENDED:
                tally.ended += 1
        try:
            self._note(finished)
        except Exception as error:  # noqa: BLE001 - the caller's, once nothing runs any more
            tally.error = tally.error or error

    def _start(self, target: Target) -> Finished | None:
        why = self._look(target)
        if why:
            return Finished(target, Outcome.FAILED, None, 0.0, f"not started: {why}")
        try:
            process = subprocess.Popen(
                self._command.words_for(target),
                stdin=subprocess.DEVNULL,
                stdout=self._stdout,
                env=self._command.environment_for(target, self._environment),
                pass_fds=self._inherited,
                process_group=0,
            )
        except OSError as error:
            return Finished(target, Outcome.FAILED, None, 0.0, f"cannot be started: {error.strerror}")
        except ValueError:
            return Finished(target, Outcome.FAILED, None, 0.0, "cannot be started: a value holds a NUL")
        self._running[process.pid] = _Running(target, process, time.monotonic())
        threading.Thread(target=self._watch, args=(process.pid,), name="readyfs-replay", daemon=True).start()
        return None

    def _watch(self, pid: int) -> None:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self._events.put(pid)

    def _wait(self) -> Finished | None:
        """Wait for something to happen; return a command that is over, if that is it."""
        timeout_s = None if self._kill_at_s is None else max(0.0, self._kill_at_s - time.monotonic())
        try:
            pid = self._events.get(timeout=timeout_s)
        except Empty:
            self._signal_all(signal.SIGKILL)
            self._kill_at_s = None
            return None
        if pid is not None:
            return self._reap(self._running.pop(pid))
        if self._stops == 1:
            self._on_stop(len(self._running))
        elif self._stops == 2:
            self._signal_all(signal.SIGTERM)
            self._kill_at_s = time.monotonic() + self._kill_after_s
        else:
            self._signal_all(signal.SIGKILL)
        return None

    def _reap(self, running: _Running) -> Finished:
        process = running.process
        seconds = time.monotonic() - running.since_s
        if self._stops > 1:
            self._signal(process.pid, signal.SIGKILL)  # what it leaves of its group; it is dead itself, but not reaped
        code = process.wait()
        if code == 0:
            return Finished(running.target, Outcome.DONE, 0, seconds)
        if code < 0:
            code, why = 128 - code, f"ended by {_name(-code)}"
        else:
            why = f"exit code {code}"
        outcome = Outcome.ENDED if self._stops > 1 else Outcome.FAILED
        return Finished(running.target, outcome, code, seconds, why)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._running:
            self._signal(pid, number)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # it became another user's
            os.killpg(pid, number)

    @contextmanager
    def _heeding_signals(self) -> Iterator[None]:
        def heed(_number: int, _frame: FrameType | None) -> None:
            self._stops += 1
            self._events.put(None)

        before = {number: signal.getsignal(number) for number in (*_STOPPING, signal.SIGCHLD)}
        if before[signal.SIGCHLD] is signal.SIG_IGN:
            # Nobody is told then how a child ended (waitpid(2)).
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # What is ignored, as by nohup or for a job in the background, stays so.
        heeded = [number for number in _STOPPING if before[number] is not signal.SIG_IGN]
        for number in heeded:
            signal.signal(number, heed)
        try:
            yield
        finally:
            for number in (*heeded, signal.SIGCHLD):
                signal.signal(number, before[number])


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
