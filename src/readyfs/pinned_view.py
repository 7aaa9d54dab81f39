"""A view that a Python program holds: pinned on entering, kept alive in the background, let go on leaving.

`readyfs.pin` is the way in. The lease is short and renewed by a thread, so that a program that was killed holds nothing
for long. Nothing here needs privileges, FUSE or a database driver.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Generic, TypeVar

from readyfs.clock import boottime_s
from readyfs.control.pin_requests import MAX_LEASE_S, PinRequest, parse_lease
from readyfs.control.public_client import PublicClient
from readyfs.errors import NoPinError, UsageError, UserError

T = TypeVar("T")

DEFAULT_LEASE: Final = "10m"
RENEWALS_A_LEASE: Final = 3
"""How often a lease is renewed while it lasts: two renewals may fail."""
RETRY_S: Final = 1.0
"""How soon a renewal that failed is tried again at the latest."""
MIN_LEASE_S: Final = 1.0
MIN_RENEWAL_S: Final = 1.0
ANSWER_S: Final = 90.0
REFRESH_S: Final = 300.0
"""How long a pin is waited for, without and with a refresh before it: longer than a pin store may take for it."""


class LeaseLostError(NoPinError):
    """The view was not held for as long as it was used: what was read of it late may have failed."""


def pin(
    mountpoint: str | os.PathLike[str],
    *,
    name: str | None = None,
    lease: str | float | timedelta = DEFAULT_LEASE,
    note: str = "",
    refresh: bool = False,
    socket: str | os.PathLike[str] | None = None,
) -> PinnedView:
    """Return a context manager that holds what a mount shows now, as a tree that never changes; it gives its path.

    `with readyfs.pin("/mnt/ready") as path:`, or `async with` in asyncio and trio. `lease` is a duration such as "10m",
    seconds, or a `timedelta`: for so long the view is still held if the program dies. With `refresh` the daemon looks
    at the state first. `socket` is the public socket, where it is not at the place that the mount names.

    What cannot be a pin is a `UsageError`. Entering raises a `UserError` if nothing can be pinned: `NotRunningError`,
    `NoAnswerError`, `NotPermittedError`, `LimitError`, `HistoryError`, `RefreshFailedError` or `UsageError`. Leaving
    raises `LeaseLostError` if the view was not held all the time.
    """
    return PinnedView(mountpoint, name, _seconds(lease), note, refresh, socket)


class PinnedView:
    """One pin, as a context manager that is used once.

    The process that entered lets go. In a process that was forked from it the lease is kept alive, too, and leaving
    does nothing.
    """

    def __init__(
        self,
        mountpoint: str | os.PathLike[str],
        name: str | None,
        lease_s: float,
        note: str,
        refresh: bool,
        socket: str | os.PathLike[str] | None,
    ) -> None:
        if not os.fspath(mountpoint):
            # As a path it would be the working directory, which nobody means who has a variable that is not set.
            raise UsageError("the mount point is empty", "name a directory")
        self._mountpoint = Path(os.path.abspath(mountpoint))  # noqa: PTH100 - no link is followed, as `readyfs pin` does
        self._lease_s = lease_s
        self._request = PinRequest(name, lease_s, note, refresh)
        self._socket = None if socket is None else Path(socket)
        self._keeper: _Keeper | None = None

    def __enter__(self) -> Path:
        """Pin, and return the path of the view."""
        if self._keeper is not None:
            raise UsageError("this pin was entered already", "make another with readyfs.pin")
        client = PublicClient(self._mountpoint, self._socket)
        asked_s = boottime_s()
        answer = client.pin(self._request, REFRESH_S if self._request.refresh else ANSWER_S)
        self._keeper = _Keeper(client, answer, self._lease_s, asked_s)
        self._keeper.start()
        return client.view(str(answer["fingerprint"]))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go; raise `LeaseLostError` if the view was not held all the time, unless the body raised already."""
        assert self._keeper is not None
        lost = self._keeper.stop()
        if lost is None:
            return
        if error is None:
            raise lost
        error.add_note(str(lost))

    def _let_go(self) -> None:
        if self._keeper is not None:
            self._keeper.stop()

    async def __aenter__(self) -> Path:
        """Pin on a thread, and return the path of the view."""
        return await _on_thread(self.__enter__, self._let_go)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go on a thread, as `__exit__` does."""
        await _on_thread(lambda: self.__exit__(kind, error, traceback))


class _Keeper:
    """Renews one lease until it is stopped, or the lease is lost.

    Its own thread writes when the lease ends; whoever stops it reads that.
    """

    def __init__(self, client: PublicClient, answer: Mapping[str, object], lease_s: float, asked_s: float) -> None:
        self._client = client
        self._name = str(answer["name"])
        self._lease_s = lease_s
        self._ends_s = asked_s + lease_s
        self._latest_s = asked_s + _number(answer, "latest_in_seconds")
        self._lost: UserError | None = None
        self._pid = os.getpid()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to renew, in this process."""
        self._stopped = threading.Event()  # a fork may have left the one before locked
        threading.Thread(target=self._keep, args=(self._stopped,), name="readyfs-lease", daemon=True).start()
        _keepers.add(self)

    def stop(self) -> LeaseLostError | None:
        """Remove the pin, in the process that made it; return why the view was not held, None if it was."""
        self._stopped.set()
        _keepers.discard(self)
        if os.getpid() != self._pid:
            return None
        try:
            self._client.unpin(self._name)
        except NoPinError as error:
            self._lost = self._lost or error
        except UserError:
            pass  # The daemon is away or busy; the lease ends by itself.
        if self._lost is None and boottime_s() <= self._ends_s:
            return None
        why = "the daemon did not renew its lease in time" if self._lost is None else self._lost.message
        return LeaseLostError(f"the pin {self._name} was not held to the end: {why}", "read again what was read late")

    def _keep(self, stopped: threading.Event) -> None:
        pause_s = self._lease_s / RENEWALS_A_LEASE
        while not stopped.wait(pause_s):
            asked_s = boottime_s()
            lease_s = min(self._lease_s, self._latest_s - asked_s)
            if lease_s < MIN_RENEWAL_S:
                return  # held for as long as a pin can be
            try:
                answer = self._client.renew(self._name, lease_s)
            except NoPinError as error:
                self._lost = error
                return
            except UserError:
                pause_s = min(RETRY_S, pause_s)
            else:
                self._ends_s = max(self._ends_s, asked_s + lease_s)
                self._latest_s = asked_s + _number(answer, "latest_in_seconds")
                pause_s = self._lease_s / RENEWALS_A_LEASE


_keepers: Final[set[_Keeper]] = set()


def _go_on_after_fork() -> None:
    for keeper in list(_keepers):
        keeper.start()


os.register_at_fork(after_in_child=_go_on_after_fork)


async def _on_thread(call: Callable[[], T], undo: Callable[[], object] = lambda: None) -> T:
    """Return what a blocking call returns, without holding up the event loop, whichever it is.

    It is not cut short. With asyncio whoever is cancelled meanwhile does not wait for it, so that it is undone then.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        with trio.CancelScope(shield=True):
            found: T = await trio.to_thread.run_sync(call)
            return found
    import asyncio

    attempt = _Attempt(call, undo)
    try:
        return await asyncio.to_thread(attempt.run)
    except asyncio.CancelledError:
        attempt.forsake()
        raise


class _Attempt(Generic[T]):
    """A call on a thread that is undone if nobody waits for it any more, whichever comes first."""

    def __init__(self, call: Callable[[], T], undo: Callable[[], object]) -> None:
        self._call = call
        self._undo = undo
        self._lock = threading.Lock()
        self._is_done = self._is_forsaken = False

    def run(self) -> T:
        """Make the call."""
        found = self._call()
        with self._lock:
            self._is_done, is_forsaken = True, self._is_forsaken
        if is_forsaken:
            self._undo()
        return found

    def forsake(self) -> None:
        """Have the call undone; return at once."""
        with self._lock:
            is_done, self._is_forsaken = self._is_done, True
        if is_done:
            threading.Thread(target=self._undo, name="readyfs-undo").start()


def _seconds(lease: str | float | timedelta) -> float:
    match lease:
        case str():
            seconds = parse_lease(lease)
        case timedelta():
            seconds = lease.total_seconds()
        case int() | float() if not isinstance(lease, bool):
            seconds = float(lease)
        case _:
            raise UsageError(f"{lease!r} is no lease", 'give a duration such as "10m", seconds, or a timedelta')
    if not MIN_LEASE_S <= seconds < MAX_LEASE_S:
        raise UsageError(f"a lease cannot last {seconds:g} seconds", f"choose {MIN_LEASE_S:g} or more")
    return seconds


def _number(answer: Mapping[str, object], key: str) -> float:
    value = answer.get(key)
    return float(value) if isinstance(value, int | float) else 0.0
