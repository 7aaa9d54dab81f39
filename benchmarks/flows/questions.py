"""The questions that are measured, and the plain SQL that a person would write for each."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from benchmarks.flows.contest import Cost, run_to_first_byte, run_whole

BAR: Final = 2.0
BAR_BYTES: Final = 200_000_000
_KEY: Final = "source, customer_id, query_name"


class Question(NamedTuple):
    """One command of readyfs, and SQL for the same or less; `codes` are its exit codes that are no failure."""

    name: str
    arguments: tuple[str, ...]
    sqlite: str
    postgresql: str
    codes: tuple[int, ...] = (0,)


def _missing(next_day: str) -> str:
    days = (
        f"SELECT *, lag(logical_date) OVER (PARTITION BY {_KEY} ORDER BY logical_date) AS before FROM partition_state"
    )
    return (
        f"SELECT {_KEY}, logical_date, status, before FROM ({days}) AS days WHERE status <> 'success' "
        f"OR logical_date > {next_day} ORDER BY {_KEY}, logical_date"
    )


_LIST: Final = (
    f"SELECT {_KEY}, logical_date, status, current_run_id, record_count, updated_at FROM partition_state "
    f"ORDER BY {_KEY}, logical_date"
)
_LATEST: Final = (
    f"SELECT {_KEY}, max(logical_date), max(updated_at) FROM partition_state WHERE status = 'success' "
    f"GROUP BY {_KEY} ORDER BY {_KEY}"
)


def _latest_complete(next_day: str) -> str:
    """Return SQL for all that `latest` tells: also up to which date there is no gap."""
    days = (
        f"SELECT *, lag(logical_date) OVER (PARTITION BY {_KEY} ORDER BY logical_date) AS behind FROM partition_state "
        "WHERE status = 'success'"
    )
    until = f"coalesce(min(CASE WHEN logical_date > {next_day} THEN behind END), max(logical_date))"
    wanted = f"SELECT {_KEY}, max(logical_date), max(updated_at), {until}"
    return f"{wanted} FROM ({days}) AS days GROUP BY {_KEY} ORDER BY {_KEY}"


def questions(last_day: str) -> tuple[Question, ...]:
    """Return the questions of a table whose newest date is this."""
    return (
        Question("ls", ("ls",), _LIST, _LIST),
        Question("ls --json", ("ls", "--json"), _LIST, _LIST),
        Question("latest, bare SQL", ("latest", "--until", last_day), _LATEST, _LATEST),
        Question(
            "latest, same SQL",
            ("latest", "--until", last_day),
            _latest_complete("date(behind, '+1 day')"),
            _latest_complete("behind + 1"),
        ),
        Question(
            "gaps",
            ("gaps", "--cadence", "daily", "--until", last_day),
            _missing("date(before, '+1 day')"),
            _missing("before + 1"),
            (0, 12),
        ),
    )


@dataclass(frozen=True, slots=True)
class Result:
    """What one question costs by both ways, the medians of some rounds; `first_s` is until the first byte."""

    store: str
    name: str
    ours: Cost
    plain: Cost
    first_s: float
    plain_first_s: float
    empty_s: float
    """The first byte of the same command of an empty table: what it takes to start."""

    @property
    def ratio(self) -> float:
        """How many times the processor's time of plain SQL ours is."""
        return self.ours.cpu_s / self.plain.cpu_s


def measure(
    store: str,
    question: Question,
    commands: tuple[Sequence[str], Sequence[str], Sequence[str]],
    server: int | None,
    rounds: int,
) -> Result:
    """Measure a question: our command, plain SQL, and our command of an empty table, in turns."""
    ours, plain, empty = commands
    costs: list[tuple[Cost, Cost]] = []
    firsts: list[tuple[float, float, float]] = []
    for _ in range(rounds):
        costs.append((run_whole(ours, server, question.codes), run_whole(plain, server)))
        firsts.append((run_to_first_byte(ours), run_to_first_byte(plain), run_to_first_byte(empty)))
    first_s, plain_first_s, empty_s = (statistics.median(column) for column in zip(*firsts, strict=True))
    return Result(
        store,
        question.name,
        _median([one for one, _ in costs]),
        _median([two for _, two in costs]),
        first_s,
        plain_first_s,
        empty_s,
    )


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.cpu_s for cost in costs),
        statistics.median(cost.wall_s for cost in costs),
        max(cost.memory for cost in costs),
    )
