"""A mount's answers to what changed: pages of a batch, and the consumers who acknowledge theirs.

Catalogs are read and compared on threads. What a consumer is given is on the disk before it is answered: its catalogs,
then its pin.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeVar

import structlog
import trio

from readyfs.catalog.tree import Catalog
from readyfs.consumer.change_lines import Page, make_page, parse_place, render_place
from readyfs.consumer.changes import Difference
from readyfs.control.change_requests import AckRequest, ChangesRequest
from readyfs.control.peer import Peer
from readyfs.daemon.catalog_watch import CatalogWatch
from readyfs.daemon.public_answers import PublicAnswers
from readyfs.daemon.transfers import Batch, Transfers
from readyfs.daemon.turns import Turns
from readyfs.duration import parse_duration
from readyfs.errors import (
    HistoryError,
    NoAnswerError,
    ResyncError,
    UnreadableHistoryError,
    UsageError,
    WouldBlockError,
)
from readyfs.history.moments import Moment
from readyfs.history.times import parse_time
from readyfs.partition import PartitionKey, render_time
from readyfs.pins.consumer import name_batch, repeats
from readyfs.pins.pin import BEGINNING, Pin
from readyfs.text import escape_text

log = structlog.get_logger("readyfs.daemon")

DEADLINE_S: Final = 80.0
"""How long catalogs may take to be read and compared; a client waits for a little longer."""
TELL_S: Final = 5.0
"""How long the kernel may take to be told of a catalog before its changes are told."""
_CURSOR: Final = re.compile(r"[0-9a-f]{16,32}", re.ASCII)
"""A fingerprint, or as much of it as people are shown."""
_WHOLE_CURSOR: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_SHOWN: Final = 60
_ANEW: Final = "load everything anew, with `--since beginning`"

T = TypeVar("T")


class HistoryPort(Protocol):
    """What is asked of the history."""

    def find(self, name: str) -> str | None:
        """Return the fingerprint of the catalog at a time, or None."""
        ...

    def moments(self) -> Sequence[Moment]:
        """Return the moments that are kept, the oldest first; the last is in force."""
        ...

    def catalog(self, fingerprint: str, *, may_block: bool) -> Catalog | None:
        """Return a kept catalog, None if there is none such."""
        ...

    def flush(self, fingerprint: str) -> None:
        """Return when a kept catalog is on the disk; raise `HistoryError`. Blocking."""
        ...

    def first_taken_at_ns(self, fingerprint: str) -> int | None:
        """Return when a kept catalog was put into force first; None if it is not kept."""
        ...


@dataclass(frozen=True, slots=True)
class PublicChanges:
    """Handles the requests of `readyfs changes`; called on the trio loop. `pins` keeps what consumers hold."""

    pins: PublicAnswers
    history: HistoryPort
    watch: CatalogWatch
    transfers: Transfers = field(default_factory=Transfers)
    turns: Turns = field(default_factory=lambda: Turns(2, 1))

    async def changes(self, request: ChangesRequest, peer: Peer) -> dict[str, object]:
        """Return a page of changes; raise `ResyncError` if what changed cannot be told any more, and `UserError`."""
        self.pins.refuse_unless_serving()
        if request.until is not None:
            assert request.after is not None and request.since is not None
            return await self._next_page(Batch(peer.uid, request.since, request.until), request.after)
        since = None if request.since is None else self._resolve(request.since)
        self.pins.refuse_stale()
        there = None if request.consumer is None else self.pins.registry.get(request.consumer)
        if there is None or not repeats(there, since):
            await self._wait_told()
        told: dict[str, object] = {}
        if request.consumer is not None:
            pin = await self._offer(request.consumer, since, request.lease_s, peer)
            assert pin.acknowledged is not None
            batch = Batch(peer.uid, pin.acknowledged, pin.fingerprint)
            told = {"batch": name_batch(pin), "expires_in_seconds": self.pins.expires_in_s(pin)}
            if pin.is_open and told["batch"] == request.seen:
                return {"since": batch.since, "until": batch.until, "changes": "", "after": None, "waits": True, **told}
        else:
            assert since is not None
            batch = Batch(peer.uid, since, self.pins.in_force().fingerprint)
        return await self._page(batch, await self._difference(batch), None) | told

    async def acknowledge(self, request: AckRequest, peer: Peer) -> dict[str, object]:
        """Have a consumer's batch acknowledged, on the disk; raise `ResyncError`, `UsageError`, `HistoryError`."""
        self.pins.refuse_unless_serving()
        _check_cursor(request.cursor)
        registry = self.pins.registry
        before, pin = registry.batches.acknowledge(
            request.consumer, request.cursor, request.lease_s, self.pins.asker(peer)
        )
        answer = await self._settle(before, pin)
        log.info("acknowledged", name=pin.name, cursor=request.cursor, user=pin.owner)
        return answer

    # ---- the first page ---------------------------------------------------------------------------------------

    def _resolve(self, since: str) -> str:
        """Return the cursor that a cursor, a time, an age or `beginning` stands for, of a catalog that is kept."""
        shown = escape_text(since[:_SHOWN])
        if since == BEGINNING:
            return since
        if _CURSOR.fullmatch(since) is None:
            return self._resolve_time(since, shown)
        if self.history.first_taken_at_ns(since) is not None:
            return since
        found = {moment.fingerprint for moment in self.history.moments() if moment.fingerprint.startswith(since)}
        if len(found) > 1:
            raise UsageError(f"{shown} is the beginning of several cursors", "give all of its 32 digits")
        if found:
            return found.pop()
        raise ResyncError(f"what changed since {shown} cannot be told: that catalog is not kept", _ANEW)

    def _resolve_time(self, since: str, shown: str) -> str:
        now_ns = time.time_ns()
        moment, time_ns = since, parse_time(since)
        if time_ns is None:
            with suppress(UsageError):
                time_ns = now_ns - round(parse_duration(since) * 1e9)
                moment = render_time(time_ns).decode("ascii")
        if time_ns is None or time_ns > now_ns:
            raise UsageError(
                f"{shown} is no cursor, and no time that has been",
                "give the cursor of a bookmark, a time such as 2024-06-02T05:00Z, an age such as 10m, or `beginning`",
            )
        found = self.history.find(moment)
        if found is not None:
            return found
        oldest = render_time(self.history.moments()[0].taken_at_ns).decode("ascii")
        raise ResyncError(
            f"what changed since {shown} cannot be told: the catalog of then is not kept; the oldest is of {oldest}",
            _ANEW,
        )

    async def _wait_told(self) -> None:
        """Return when the kernel was told of the catalog in force, so that what is told of can be opened."""
        with trio.move_on_after(TELL_S) as wait:
            while self.watch.seen != self.pins.in_force().fingerprint:  # noqa: ASYNC110 - seldom, and short
                await trio.sleep(0.01)
        if wait.cancelled_caught:
            raise NoAnswerError("the kernel does not know yet what changed last", "try again")

    async def _offer(self, name: str, since: str | None, lease_s: float | None, peer: Peer) -> Pin:
        # Without a pause up to the pin, so that what is in force now is what is held.
        registry = self.pins.registry
        there = registry.get(name)
        moment: Pin | Moment = there if there is not None and repeats(there, since) else self.pins.moment_in_force()
        before, pin = registry.batches.offer(
            name, since, lease_s, self.pins.asker(peer), moment.fingerprint, moment.taken_at_ns
        )
        gone = next((one for one in pin.holds if self.history.first_taken_at_ns(one) is None), None)
        if gone is not None:
            self._undo(before, pin)
            raise ResyncError(f"what changed since {gone} cannot be told: that catalog is not kept", _ANEW)
        if pin != before:
            await self._settle(before, pin)
        else:
            registry.confirm(pin)
        if before is None:
            log.info("pinned", name=pin.name, fingerprint=pin.fingerprint, user=pin.owner, note=pin.note)
        return pin

    async def _settle(self, before: Pin | None, pin: Pin) -> dict[str, object]:
        """Have a consumer's pin on the disk, or as it was."""
        try:
            answer = await self.pins.make_durable(pin)
        except BaseException:
            self._undo(before, pin)
            raise
        if before is not None:
            self.pins.registry.confirm(before)
            self.pins.history.trim()
        return answer

    def _undo(self, before: Pin | None, pin: Pin) -> None:
        if before is None:
            self.pins.registry.withdraw(pin)
        else:
            self.pins.registry.restore(before)
            self.pins.registry.confirm(before)

    # ---- every page -------------------------------------------------------------------------------------------

    async def _next_page(self, batch: Batch, after: str) -> dict[str, object]:
        for cursor in (batch.since, batch.until):
            if cursor != BEGINNING:
                _check_cursor(cursor)
        try:
            place = parse_place(after)
        except ValueError as error:
            raise UsageError("`after` is not what a page said", "begin the batch again") from error
        return await self._page(batch, await self._difference(batch), place)

    async def _difference(self, batch: Batch) -> Difference:
        found = self.transfers.find(batch)
        if found is None:
            # Looked up without a pause: what is kept now may not be kept by the time that a thread comes to it.
            known = {cursor: self._in_memory(cursor) for cursor in (batch.since, batch.until)}
            found = await self._on_thread(batch.uid, partial(self._compare, batch, known))
            self.transfers.hold(batch, found)
        return found

    def _in_memory(self, fingerprint: str) -> Catalog | None:
        try:
            return self.history.catalog(fingerprint, may_block=False)
        except WouldBlockError:
            return None

    def _compare(self, batch: Batch, known: Mapping[str, Catalog | None]) -> Difference:
        old = None if batch.since == BEGINNING else known[batch.since] or self._catalog(batch.since)
        new = known[batch.until] or self._catalog(batch.until)
        # A cursor that somebody was told should mean something after a crash, too; without a disk it still does now.
        with suppress(HistoryError):
            self.history.flush(batch.until)
        return Difference(old, new)

    def _catalog(self, fingerprint: str) -> Catalog:
        try:
            catalog = self.history.catalog(fingerprint, may_block=True)
        except UnreadableHistoryError as error:
            raise HistoryError(str(error), "try again") from error
        if catalog is None:
            raise ResyncError(f"what changed cannot be told: the catalog {fingerprint} is not kept", _ANEW)
        return catalog

    async def _page(self, batch: Batch, difference: Difference, after: PartitionKey | None) -> dict[str, object]:
        def make() -> Page:
            return make_page(difference.changes(after), difference.new.layout)

        page = await self._on_thread(batch.uid, make)
        if page.after is None:
            self.transfers.drop(batch)
        return {
            "since": batch.since,
            "until": batch.until,
            "changes": page.lines,
            "after": None if page.after is None else render_place(page.after),
            "waits": False,
        }

    async def _on_thread(self, uid: int, call: Callable[[], T]) -> T:
        try:
            return await self.turns.run(uid, call, DEADLINE_S)
        except trio.TooSlowError:
            raise NoAnswerError("the daemon has too much to compare", "try again") from None


def _check_cursor(cursor: str) -> None:
    if _WHOLE_CURSOR.fullmatch(cursor) is None:
        raise UsageError(f"{escape_text(cursor[:_SHOWN])} is no cursor", "take the one of a bookmark")
