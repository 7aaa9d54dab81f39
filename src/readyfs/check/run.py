"""One check from start to end: the stores are opened, read and closed here."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from readyfs.catalog.build import CatalogShape
from readyfs.check.examine import Contents, Examiner
from readyfs.check.findings import Tally
from readyfs.check.plan import Plan, make_plan, make_plan_of_view
from readyfs.check.report import Ending, Report, Subject
from readyfs.check.root import check_root
from readyfs.check.sweep import Limits, Sweep
from readyfs.check.twins import Twins
from readyfs.raw.open import open_raw
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.store import StateTable
from readyfs.text import escape_text
from readyfs.vfs.file_filter import FileFilter


@dataclass(frozen=True, slots=True)
class CheckJob:
    """What to check and how: the settings of a mount that decide what its readers get, and those of the check.

    With a `view` its rows are looked at, and not those of the `state`.
    """

    state: str | None
    view: Path | None
    state_table: StateTable
    filters: Filters
    state_timeout_s: float
    raw: str
    shape: CatalogShape
    limits: Limits
    contents: Contents
    examples: int


Watch = Callable[[int, int], None]
"""Told several times a second how many partitions were checked, and how many there are."""


def run_check(job: CheckJob, on_progress: Watch, on_empty: Callable[[], None]) -> Report:
    """Check everything; Ctrl-C ends it early with what was found until then. Called on the main thread.

    `on_empty` is called if nothing is ready that the filters want.
    Raises `StateError`, `RawRootError` and `UsageError`.
    """
    began_s = time.monotonic()
    raw = open_raw(job.raw, job.shape.raw_layout)
    required = [os.fsencode(name) for name in job.shape.required_files]
    shown = FileFilter(job.shape.files)
    check_root(raw, job.limits.timeout_s)
    label, plan = _load(job)
    if not plan.catalog.partitions and not plan.withheld.total():
        on_empty()
    tally = Tally(job.examples)
    above_runs = job.shape.raw_layout.above_runs
    twins = None
    if above_runs is not None and job.view is None:  # in a view no run takes the place of another
        twins = Twins(open_raw(job.raw, above_runs), job.shape.raw_layout)
    examiner = Examiner(raw, required, shown, job.contents, twins)
    sweep = Sweep(plan.slices(), examiner, tally, job.limits)
    total = plan.catalog.partitions
    with _interruptions() as stop:
        is_whole = sweep.run(stop, lambda checked: on_progress(checked, total))
        ending = Ending.COMPLETE if is_whole else Ending.INTERRUPTED if stop.is_set() else Ending.RAW_TIMEOUT
    return Report(
        Subject(escape_text(label), raw.label, job.contents.deep),
        ending,
        total,
        sweep.checked,
        tally,
        twins.partitions if twins is not None else None,
        plan.withheld,
        time.monotonic() - began_s,
        job.examples,
    )


def _load(job: CheckJob) -> tuple[str, Plan]:
    if job.view is not None:
        return str(job.view), make_plan_of_view(job.view, job.shape)
    assert job.state is not None
    store = open_state(job.state, job.state_table, job.filters, job.state_timeout_s)
    try:
        return store.label, make_plan(store, job.shape)
    finally:
        store.close()


@contextmanager
def _interruptions() -> Iterator[threading.Event]:
    """Have Ctrl-C set an event; a second one interrupts as usual."""
    stop = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
