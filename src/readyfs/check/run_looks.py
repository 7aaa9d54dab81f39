"""Looking at the runs of rows as they go by: which of those that are ready a mount could not serve.

Several runs are looked at in turn by threads of ours, each answer of the raw store within a limit. The threads end with
the process, for one of them may hang with its call.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

from readyfs.check.examine import Contents, Examiner
from readyfs.check.findings import Finding, Group
from readyfs.check.root import check_root
from readyfs.check.sweep import Limits, RunExaminer
from readyfs.errors import RawRootError
from readyfs.layout import RawLayout
from readyfs.partition import Partition
from readyfs.raw.open import open_raw
from readyfs.vfs.file_filter import FileFilter


def open_looks(
    raw: str, layout: RawLayout, files: Sequence[str], required_files: Sequence[str], limits: Limits
) -> RunLooks:
    """Return what looks at runs below a raw root; raise `RawRootError` if that cannot be used."""
    store = open_raw(raw, layout)
    check_root(store, limits.timeout_s)
    # Only what a reader gets is asked: that metadata are those of the row is the business of a check.
    nothing = Contents(b"", b"", deep=False)
    required = [os.fsencode(name) for name in required_files]
    return RunLooks(Examiner(store, required, FileFilter(files), nothing, None), limits)


class RunLooks:
    """Looks at runs on threads."""

    def __init__(self, examiner: RunExaminer, limits: Limits) -> None:
        self._examiner = examiner
        self._timeout_s = limits.timeout_s
        self._asked: SimpleQueue[_Look] = SimpleQueue()
        for number in range(limits.threads):
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
