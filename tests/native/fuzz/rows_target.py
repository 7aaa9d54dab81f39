"""The table of rows beside the one in Python: the same steps, and calls that no program of ours would make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, Final

from readyfs.vfs.packed_rows import SHARDS, PackedRows
from tests.native.fuzz.target import Difference, Journal

STEPS: Final = 500
SMALLEST: Final = -(1 << 63)
LARGEST: Final = (1 << 63) - 1


class Revenant:
    """A reference that uses the table while the table lets go of it."""

    def __init__(self, rows: Any, key: int) -> None:
        self.rows, self.key = rows, key

    def __del__(self) -> None:
        rows = self.rows
        rows.add(self.key, (0,) * 2, (b"", None))
        rows.count(self.key)
        rows.scan(self.key % SHARDS, 0)
        rows.lower(self.key, 2)


def rows(module: ModuleType, random: Random, base: Path, journal: Journal) -> Iterator[None]:
    """Run an episode; see `Target`."""
    compiled, reference = module.Rows(2, 2), PackedRows(2, 2)
    keys = [_key(random) for _ in range(random.choice((3, 40, 600)))]
    for _ in range(STEPS):
        key = random.choice(keys)
        name, arguments = random.choice(_CALLS)(random, key)
        journal.note(f"{name}{arguments}")
        if random.random() < 0.05:
            _strange_call(compiled, random, keys)
        elif random.random() < 0.02:
            other = module.Rows(2, 2)
            other.add(key, (1, 2), (Revenant(other, random.choice(keys)), None))
            getattr(other, random.choice(("update", "add")))(key, (1, 2), (b"", Revenant(other, key)))
            other.lower(key, 1)
        else:
            _compare(compiled, reference, name, arguments)
        yield
    if len(compiled) != len(reference):
        raise Difference(f"{len(compiled)} rows, not {len(reference)}")


def _key(random: Random) -> int:
    crowded = random.choice((0, 1, SHARDS - 1)) + random.randrange(20) * SHARDS
    return random.choice((crowded, random.randint(SMALLEST, LARGEST), SMALLEST, LARGEST, -1))


def _integers(random: Random) -> tuple[int, int]:
    return random.randint(SMALLEST, LARGEST), random.choice((0, -1, SMALLEST, LARGEST, SMALLEST - 1, LARGEST + 1))


def _references(random: Random) -> tuple[object, object]:
    return random.randbytes(3), random.choice((None, (b"a", b"b"), b""))


_CALLS: Final = (
    lambda random, key: ("add", (key, _integers(random), _references(random))),
    lambda random, key: ("add", (key, (1, 2), _references(random))),
    lambda random, key: ("add", (key, (1, 2), _references(random))),
    lambda random, key: ("update", (key, (3, random.randint(SMALLEST, LARGEST)), _references(random))),
    lambda random, key: ("count", (key,)),
    lambda random, key: ("lower", (key, random.choice((1, 1, 1, 2, 3, LARGEST)))),
    lambda random, key: ("get", (key,)),
    lambda random, key: ("lookups", (key,)),
    lambda random, key: ("__contains__", (key,)),
    lambda random, key: ("__len__", ()),
)


def _compare(compiled: Any, reference: Any, name: str, arguments: tuple[object, ...]) -> None:
    outcomes = []
    for table in (compiled, reference):
        try:
            outcomes.append(getattr(table, name)(*arguments))
        except OverflowError:
            outcomes.append(OverflowError)
    if outcomes[0] != outcomes[1]:
        raise Difference(f"{name}{arguments}: {outcomes[0]!r}, not {outcomes[1]!r}")


def _strange_call(compiled: Any, random: Random, keys: list[int]) -> None:
    """Call with what no program of ours would give: any exception will do, if the table stays as it was."""
    before = len(compiled), [compiled.get(key) for key in keys[:20]]
    junk: tuple[Any, ...] = (
        None,
        "",
        b"",
        (),
        (1,),
        (1, 2),
        (1, 2, 3),
        [1, 2],
        1.5,
        1 << 64,
        -(1 << 64),
        object(),
        True,
        {},
        compiled,
    )
    name = random.choice(("add", "update", "scan", "get", "lookups", "count", "__contains__", "lower"))
    arguments = [random.choice(junk) for _ in range(random.randrange(5))]
    if name in ("add", "update", "count", "lower") and len(arguments) and isinstance(arguments[0], int):
        return  # what may well be meant
    try:
        getattr(compiled, name)(*arguments)
    except (TypeError, ValueError, OverflowError, IndexError):
        pass
    if (len(compiled), [compiled.get(key) for key in keys[:20]]) != before:
        raise Difference(f"{name}{arguments} changed the table")
