"""A mount's answers to which runs are broken, by its register: as far as somebody has looked at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Final, Protocol

import trio

from readyfs.control.broken_request import BrokenRequest, parse_parts, render_parts
from readyfs.control.peer import Peer
from readyfs.daemon.turns import Turns
from readyfs.errors import NoAnswerError, UsageError
from readyfs.partition import PartitionKey, RunKey, SeriesKey, parse_date, render_date
from readyfs.vfs.damage_cause import Cause

PAGE: Final = 1000
"""How many runs one answer holds at most."""
DEADLINE_S: Final = 8.0
"""How long one answer may take; a client waits for ten seconds."""


class Register(Protocol):
    """What knows which runs are broken."""

    def broken_runs(self) -> Sequence[tuple[RunKey, Cause]]:
        """Return the runs of ready partitions that are known to be broken, with what was found last."""
        ...


@dataclass(slots=True)
class BrokenAnswers:
    """Answers `broken`; called on the trio loop."""

    register: Register
    turns: Turns = field(default_factory=lambda: Turns(2, 1))

    async def answer(self, request: BrokenRequest, peer: Peer) -> dict[str, object]:
        """Tell which runs are broken; raise `UsageError`, `NoAnswerError`."""
        try:
            return await self.turns.run(peer.uid, lambda: describe_broken(self.register, request), DEADLINE_S)
        except trio.TooSlowError:
            raise NoAnswerError("the daemon has too much to look up", "try again") from None


def describe_broken(register: Register, request: BrokenRequest) -> dict[str, object]:
    """Return the next runs that are broken, and where to go on; raise `UsageError`."""
    after = None if request.after is None else _read_position(request.after)
    left = [one for one in register.broken_runs() if after is None or one[0][0] > after]
    page = nsmallest(PAGE, left, key=lambda one: one[0])
    return {
        "broken": [
            {"key": _render_position(key), "run_id": render_parts(run), "kind": cause.kind.value, "detail": cause.text}
            for (key, run), cause in page
        ],
        "next": _render_position(page[-1][0][0]) if len(left) > PAGE else None,
    }


def _render_position(key: PartitionKey) -> str:
    return render_parts(*key.series, render_date(key.date))


def _read_position(text: str) -> PartitionKey:
    *series, day = parse_parts(text)
    date = parse_date(day)
    if len(series) != len(SeriesKey._fields) or date is None:
        raise UsageError("`after` is no position", "ask for what the answer before named as `next`")
    return PartitionKey(SeriesKey(*series), date)
