"""Measuring: every contender in every round, with cold caches first, in an order that turns from round to round."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final, Protocol

from benchmarks import workload

DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")


class Measured(Protocol):
    """What measuring needs of a contender."""

    @property
    def name(self) -> str:
        """Its name in the tables."""
        ...

    def mounted(self) -> AbstractContextManager[Path]:
        """Mount for the body and yield the top of the tree."""
        ...

    def requests(self) -> Counter[str]:
        """Return how many requests were served so far, by operation."""
        ...


@dataclass(slots=True)
class Result:
    """All rounds of one piece of work by one contender: seconds, and the requests of the last round."""

    seconds: list[float] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return median(self.seconds)


Results = dict[str, dict[str, Result]]
"""By piece of work, then by contender."""


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work, done `repeats` times on fresh mounts: the first is cold, the others are warm."""

    title: str
    kind: str
    repeats: int = 2

    def title_of(self, repeat: int) -> str:
        """Return the row's title for the first or a later time."""
        return f"{self.title}, {'again' if repeat else 'first'}"


TREE_WORKS: Final = (Work("walk and stat", "walk"), Work("read all small files", "read-all"))
LARGE_WORK: Final = Work("read the large file", "read-file", repeats=1)
TURNS: Final = 15
"""How often the large file is read again by each contender in turn: copying memory depends on who else does."""


def can_drop_caches() -> bool:
    """Return whether the kernel lets us drop its caches."""
    return os.access(DROP_CACHES, os.W_OK)


def measure(contenders: Sequence[Measured], works: Sequence[Work], large: bool, rounds: int) -> Results:
    """Return the results of all rounds; `large` measures the one file of the tree instead of the tree.

    Raises `RuntimeError` if two contenders did not do the same work.
    """
    # What is not written back yet cannot be dropped.
    os.sync()
    results: Results = {}
    counts: dict[str, set[int]] = {}
    for number in range(rounds):
        turned = [*contenders[number % len(contenders) :], *contenders[: number % len(contenders)]]
        for contender in turned:
            for work in works:
                # A fresh mount for each kind of work: reading would otherwise find names that walking had cached.
                with contender.mounted() as top:
                    path = next(top.rglob("payload.jsonl")) if large else top
                    if can_drop_caches():
                        DROP_CACHES.write_text("3")
                    for repeat in range(work.repeats):
                        before = contender.requests()
                        seconds, count = _run(work.kind, path)
                        title = work.title_of(repeat)
                        result = results.setdefault(title, {}).setdefault(contender.name, Result())
                        result.seconds.append(seconds)
                        result.requests = dict(contender.requests() - before)
                        counts.setdefault(title, set()).add(count)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    differing = {title: found for title, found in counts.items() if len(found) > 1}
    if differing:
        raise RuntimeError(f"the contenders did not do the same: {differing}")
    return results


def measure_in_turns(contenders: Sequence[Measured], work: Work, turns: int) -> Results:
    """Return how long each takes to read its one file again, all mounted at once and one after the other in turns."""
    results: dict[str, Result] = {contender.name: Result() for contender in contenders}
    with ExitStack() as stack:
        paths = [next(stack.enter_context(one.mounted()).rglob("payload.jsonl")) for one in contenders]
        pairs = list(zip(contenders, paths, strict=True))
        sizes = {_run(work.kind, path)[1] for path in paths}
        for turn in range(turns):
            for contender, path in pairs if turn % 2 else reversed(pairs):
                before = contender.requests()
                seconds, count = _run(work.kind, path)
                sizes.add(count)
                results[contender.name].seconds.append(seconds)
                results[contender.name].requests = dict(contender.requests() - before)
    if len(sizes) > 1:
        raise RuntimeError(f"the contenders did not read the same: {sizes}")
    return {work.title_of(1): results}


def _run(kind: str, path: Path) -> tuple[float, int]:
    # What the work complains about goes to our own standard error.
    done = subprocess.run([sys.executable, workload.__file__, kind, str(path)], stdout=subprocess.PIPE, check=True)
    seconds, count = done.stdout.split()
    return float(seconds), int(count)
