"""What becomes of plans: all clients plan, everything flips, all read, and each gets a word for what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final

from tests.clients.flips import STEPS, Flips, Row, truth_at
from tests.clients.planners import Found, Planner
from tests.mount.daemon import Daemon

EXACT: Final = "exact"
OTHER_MOMENT: Final = "exact, of another moment"
FLIPS_BETWEEN: Final = 3

Tree = Callable[[Daemon], AbstractContextManager[Path]]
"""Gives the top of a tree over which is planned: of a mount, or of a view of it."""


def judge(planner: Planner, read: Callable[[], Found], rows: Iterable[Row]) -> str:
    """Let a client read, and say whether it found what was ready at its plan."""
    try:
        found = sorted(tuple(record) for record in read())
    except Exception as error:  # noqa: BLE001  # each client has errors of its own
        return f"{type(error).__name__}: {error}"
    wanted = planner.choose(rows)
    if found == wanted:
        return EXACT
    if any(found == planner.choose(truth_at(step)) for step in range(STEPS)):
        return OTHER_MOMENT
    return f"silently {len(found)} records, of which {len(set(found) & set(wanted))} of {len(wanted)} are right"


def play(flips: Flips, planners: Sequence[Planner], tree: Tree) -> dict[str, str]:
    """Plan with all clients over trees of one moment while everything flips, then read; return a word for each."""
    with flips.going_on(), ExitStack() as held:
        with flips.held() as rows:
            tops = {name: held.enter_context(tree(daemon)) for name, daemon in flips.mounts.items()}
        reads = [(planner, _plan(planner, tops[planner.layout])) for planner in planners]
        flips.wait_for(FLIPS_BETWEEN)
        return {planner.name: judge(planner, read, rows) for planner, read in reads}


def _plan(planner: Planner, top: Path) -> Callable[[], Found]:
    """Plan; what fails already fails again where it is judged."""
    try:
        return planner.plan(top)
    except Exception as error:  # noqa: BLE001  # see `judge`
        trouble = error

    def fail() -> Found:
        raise trouble

    return fail
