"""Looking at the runs of rows as they go by: which of those that are ready a mount could not serve.

Several runs are looked at in turn by threads of ours, each answer of the raw store within a limit. The threads end with
the process, for one of them may hang with its call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Protocol

from readyfs.check.findings import Finding, Group
from readyfs.errors import RawRootError
from readyfs.partition import Partition


class RunExaminer(Protocol):
    """Looks at one run; called from several threads."""

    def examine(self, partition: Partition, on_progress: Callable[[], None]) -> list[Finding]:
        """Return what is wrong with a run; call back whenever the raw store has answered."""
        ...


class RunLooks:
    """Looks at runs on threads."""

    def __init__(self, examiner: RunExaminer, threads: int, timeout_s: float) -> None:
        self._examiner = examiner
        self._timeout_s = timeout_s
        self._asked: SimpleQueue[_Look] = SimpleQueue()
        for number in range(threads):
            threading.Thread(target=self._work, name=f"look-{number}", daemon=True).start()

    def find_broken(self, partitions: Sequence[Partition]) -> Iterator[str]:
        """Yield for each partition what makes its run broken, empty if nothing does; raise `RawRootError`."""
        looks = [_Look(partition) for partition in partitions]
        for look in looks:
            self._asked.put(look)
        for look in looks:
            yield look.wait(self._timeout_s)

    def _work(self) -> None:
        while True:
            look = self._asked.get()
            look.answer(self._examiner)


class _Look:
    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._done = threading.Event()
        self._findings: Sequence[Finding] = ()
        self._error: Exception | None = None

    def answer(self, examiner: RunExaminer) -> None:
        try:
            self._findings = examiner.examine(self._partition, lambda: None)
        except Exception as error:  # noqa: BLE001 - raised again where the answer is awaited
            self._error = error
        self._done.set()

    def wait(self, timeout_s: float) -> str:
        if not self._done.wait(timeout_s):
            raise RawRootError(
                f"the raw store did not answer in time about the run of {self._partition.key}",
                "see whether it hangs, or allow more with --raw-timeout",
            )
        if self._error is not None:
            raise self._error
        return "; ".join(finding.detail for finding in self._findings if finding.kind.group is Group.BROKEN)
