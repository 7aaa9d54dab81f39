"""A cluster of dask: a scheduler in the test's namespace, and a worker on each of a few machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.clients.background import in_background, wait_for_line
from tests.clients.machines import Machine

_PLACE: Final = ("--host", "127.0.0.1", "--no-dashboard")


@contextmanager
def dask_cluster(base: Path, python: Path, machines: Sequence[Machine]) -> Iterator[str]:
    """Run scheduler and workers; give the scheduler's address."""
    with ExitStack() as programs:
        log = base / "scheduler.log"
        scheduler = (str(python), "-m", "dask", "scheduler", *_PLACE, "--port", "0")
        programs.enter_context(in_background(log, scheduler))
        address = wait_for_line(log, r"Scheduler at: *(tcp://[\d.:]+)")
        for one in machines:
            words = (*_PLACE, "--nthreads", "1", "--no-nanny", "--local-directory", str(one.place.base / "work"))
            worker = (*one.wrapper, str(python), "-m", "dask", "worker", *words, address)
            programs.enter_context(in_background(one.place.base / "worker.log", worker))
        yield address
