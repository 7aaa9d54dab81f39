"""Pages of what a mount knows to be broken."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from readyfs.control.broken_request import BrokenRequest
from readyfs.daemon.broken_answers import PAGE, describe_broken
from readyfs.errors import UsageError
from readyfs.partition import PartitionKey, RunKey, SeriesKey
from readyfs.vfs.damage_cause import Cause, DamageKind


class Register:
    def __init__(self, count: int) -> None:
        self._found = [
            ((PartitionKey(SeriesKey(b"a/\xff", b"%d" % (index % 7), b"q"), 738_000 + index), b"r"), CAUSE)
            for index in reversed(range(count))
        ]

    def broken_runs(self) -> Sequence[tuple[RunKey, Cause]]:
        return self._found


CAUSE = Cause(DamageKind.MISSING, "gone")


@pytest.mark.parametrize("count", [0, 1, PAGE, PAGE + 1, 3 * PAGE + 5])
def test_pages_hold_each_run_once_in_order(count: int) -> None:
    found: list[object] = []
    after: object = None
    while True:
        answer = describe_broken(Register(count), BrokenRequest(after if isinstance(after, str) else None))
        page = answer["broken"]
        assert isinstance(page, list)
        assert len(page) <= PAGE
        found += [one["key"] for one in page]
        after = answer["next"]
        if after is None:
            break
    assert len(found) == len(set(found)) == count
    assert found == sorted(found, key=str)
    assert all(str(key).startswith("a%2F%FF/") for key in found)


@pytest.mark.parametrize("after", ["", "a/b/c", "a/b/c/2024-6-1", "a/b/c/d/2024-06-01"])
def test_position_that_no_answer_named_is_refused(after: str) -> None:
    with pytest.raises(UsageError):
        describe_broken(Register(1), BrokenRequest(after))
