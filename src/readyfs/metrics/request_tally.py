"""What one thread of an engine counts: requests, errors and durations by operation."""

from __future__ import annotations

import errno
from collections import Counter, defaultdict
from collections.abc import Iterable

from readyfs.metrics.durations import BEGUN, REQUEST_BOUNDS_NS, Durations


class RequestTally:
    """Written by one thread, because adding to a shared counter is not atomic; any thread may read it.

    `durations` holds by operation how many requests were taken and how long those took that were answered; `errors`
    counts answers by operation and errno name.
    """

    __slots__ = ("durations", "errors")

    def __init__(self) -> None:
        self.errors: Counter[tuple[str, str]] = Counter()
        self.durations: defaultdict[str, Durations] = defaultdict(lambda: Durations(REQUEST_BOUNDS_NS))

    def add(self, other: RequestTally) -> None:
        """Add what another tally has counted so far."""
        self.errors.update(other.errors.copy())
        for operation, durations in tuple(other.durations.items()):
            self.durations[operation].add([durations])

    def requests(self) -> Counter[str]:
        """Return how many requests were taken, by operation."""
        return Counter({name: one[BEGUN] for name, one in tuple(self.durations.items()) if one[BEGUN]})

    def failed(self, operation: str, number: int) -> None:
        """Count an error answer."""
        self.errors[operation, errno.errorcode.get(number, str(number))] += 1

    def errors_by_errno(self) -> Counter[str]:
        """Return the error answers by errno name."""
        found: Counter[str] = Counter()
        for (_, name), count in self.errors.copy().items():
            found[name] += count
        return found


def sum_tallies(tallies: Iterable[RequestTally]) -> RequestTally:
    """Return the sum of what several threads have counted so far."""
    total = RequestTally()
    for tally in tuple(tallies):
        total.add(tally)
    return total
