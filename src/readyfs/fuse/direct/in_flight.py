"""Requests that may wait for the raw store, and who answers each of them: a worker, or the clock.

A client whose request was taken and never answered cannot even be killed. So a request has a deadline, and one whose
client was sent a signal (FUSE_INTERRUPT) has a short one. The life of a request:

| it is | which means | and becomes |
|---|---|---|
| read | a worker took it from the kernel (`Dispatch.serve`) | answered, waiting, parked, given up |
| waiting | in flight; a thread asks the raw store for it (`Dispatch.finish`) | answered, postponed, late, given up |
| parked | in flight; as many wait as may, so it stands in line (`Workers`) | waiting, late, given up |
| postponed | in flight; too many calls hang on its volume (`PostponedError`) | parked, late, given up |
| answered | its worker took it out of flight and sent the answer | |
| late | the clock took it out at its deadline and sent `late_error` | |
| given up | the end of the daemon took it out, or let it in no more, and sent `late_error` | |

In flight is what stands in the table here. Whoever takes a request out of it answers it, and nobody else does. A worker
whose request was taken out meanwhile undoes what its answer would have promised. It asks for one that was parked no
more, unless that is a RELEASE: what it lets go of would stay for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from readyfs.errors import FilesystemError, RawStoreUnresponsiveError, RequestInterruptedError

INTERRUPT_GRACE_S: Final = 0.1
"""A request that is only slow is answered properly within this: a program with a signal handler must not see EINTR
from a filesystem that works, and for who was killed it is short."""


@dataclass(slots=True, eq=False)
class Request:
    """One request: the header's fields that matter, and the body."""

    unique: int
    opcode: int
    operation: str
    inode: int
    body: bytes
    since: float = 0.0
    deadline: float = 0.0
    late_error: type[FilesystemError] = RawStoreUnresponsiveError


class InFlight:
    """The table of requests in flight, used by workers and by the one who calls `take_late` from time to time.

    All steps are atomic.
    """

    def __init__(self, timeout_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._requests: dict[int, Request] = {}
        self._given_up = False

    def enter(self, request: Request, since: float | None = None) -> bool:
        """Let a request wait, now or parked; return False if it must not, because everything was given up.

        One that was adopted from the loop has waited since then already.
        """
        request.since = self._monotonic() if since is None else since
        request.deadline = request.since + self._timeout_s
        self._requests[request.unique] = request
        # Asked after it was entered: `give_up` takes it out, or is seen here.
        return not (self._given_up and self.take(request))

    def take(self, request: Request) -> bool:
        """Take a request out to answer it; return False if somebody else did."""
        return self._requests.pop(request.unique, None) is not None

    def waits(self, request: Request) -> bool:
        """Whether the request is still in flight."""
        return request.unique in self._requests

    def interrupt(self, unique: int) -> bool:
        """Note that a request's client was sent a signal; return whether the request is known."""
        request = self._requests.get(unique)
        if request is None:
            return False
        request.late_error = RequestInterruptedError
        request.deadline = min(request.deadline, self._monotonic() + INTERRUPT_GRACE_S)
        return True

    def take_late(self) -> list[Request]:
        """Take out every request whose deadline is over: the caller answers each with its `late_error`."""
        now = self._monotonic()
        return [one for one in tuple(self._requests.values()) if one.deadline <= now and self.take(one)]

    def give_up(self) -> list[Request]:
        """Take out every request, and let none in from now on."""
        self._given_up = True
        return [one for one in tuple(self._requests.values()) if self.take(one)]

    def waited_ns(self, request: Request) -> int:
        """Return for how many nanoseconds a request that entered has been under way."""
        return int((self._monotonic() - request.since) * 1e9)

    def waits_s(self) -> Sequence[float]:
        """Return for how many seconds each request has waited."""
        now = self._monotonic()
        return [now - request.since for request in tuple(self._requests.values())]

    def waiting_longer_than(self, seconds: float) -> Sequence[Request]:
        """Return the requests under way for at least that long, the oldest first."""
        limit = self._monotonic() - seconds
        late = [request for request in tuple(self._requests.values()) if request.since <= limit]
        return sorted(late, key=lambda request: request.since)
