"""Two writers, a collector and readers on one store, each killed, or held up for however long, at every system call.

After each: every pin that was made is whole, whatever else is found is whole, too, and in the end nothing is left.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from readyfs.catalog.tree import Catalog
from readyfs.pin_store.store import PinStore
from tests.pin_store.processes import Process
from tests.pin_store.stores import GRACE_S, A, B, C, entries, make_catalog, open_store, pass_time, pin_of

OTHER: Final = "d" * 32
MOUNTS: Final = (A, B, C, OTHER)
LONG_S: Final = 1e6
KEPT: Final = make_catalog(1)
DEAD: Final = make_catalog(2, KEPT)
GARBAGE: Final = make_catalog(3)
FRESH: Final = make_catalog(4, KEPT)
ALL: Final = (KEPT, DEAD, GARBAGE, FRESH)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with a pin that lasts, a view that nothing needs, a pack that nothing names, and some in trash."""
    path = tmp_path_factory.mktemp("template")
    Process().run(lambda: fill(path))
    return path


def fill(path: Path) -> None:
    store = open_store(path)
    store.publish(KEPT, pin_of(KEPT, "kept", LONG_S), None)
    store.publish(DEAD, pin_of(DEAD, "dead"), KEPT)
    store.publish(GARBAGE, pin_of(GARBAGE, "garbage"), None)
    shutil.rmtree(path / "views" / GARBAGE.fingerprint)
    pass_time(path, 2 * GRACE_S)


class World:
    """A store, and the mounts that use it; `made` are the catalogs of which somebody was told that they are pinned."""

    def __init__(self, template: Path, path: Path) -> None:
        self.path = path
        self.made: list[Catalog] = [KEPT]
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(template, path, copy_function=shutil.copy2)
        self.stores = {holder: open_store(path, holder) for holder in MOUNTS}

    def publish(self, catalog: Catalog, holder: str, base: Catalog | None = None) -> None:
        name = f"of-{holder[0]}-{ALL.index(catalog)}"
        self.stores[holder].publish(catalog, pin_of(catalog, name, LONG_S), base)
        self.made.append(catalog)

    def renew_late(self) -> None:
        pin = pin_of(DEAD, "dead", LONG_S)
        if not self.stores[A].renew(pin):
            self.stores[A].publish(DEAD, pin, None)
        self.made.append(DEAD)

    def collect(self, holder: str = C) -> None:
        self.stores[holder].collect()

    def collect_much_later(self) -> None:
        """Collect again and again, as others do while somebody is held up for hours."""
        for holder in (OTHER, C, OTHER):
            pass_time(self.path, GRACE_S + 1)
            self.stores[holder].collect()

    def check(self) -> None:
        """Fail if anything that is found is not whole, or what was pinned is not found."""
        reader = PinStore(self.path, self.stores[A]._identity, "e" * 32, self.stores[A]._shape, GRACE_S)
        for catalog in ALL:
            found = reader.find(catalog.fingerprint)
            if found is not None:
                assert reader.load(found, None).fingerprint == catalog.fingerprint
            if catalog in self.made:
                assert found is not None
                assert found.ends_in_s > 0
        assert reader.resolve("kept") == KEPT.fingerprint

    def end(self) -> None:
        """Have everything end, and fail if anything is left."""
        for holder, catalog in product((A, B, OTHER), ALL):
            self.stores[holder].end(pin_of(catalog, f"of-{holder[0]}-{ALL.index(catalog)}"))
        self.stores[A].end(pin_of(KEPT, "kept"))
        self.stores[A].end(pin_of(DEAD, "dead"))
        for _ in range(4):
            pass_time(self.path, GRACE_S + 1)
            self.stores[A].collect()
        for holder in MOUNTS:
            open_store(self.path, holder)
        left = [one for one in entries(self.path) if not one.startswith("clock/")]
        assert left == ["collected", "readyfs-pin-store"], left


ACTS: Final[dict[str, Callable[[World], None]]] = {
    "publish what is about to be collected": lambda world: world.publish(DEAD, B),
    "publish what nothing names": lambda world: world.publish(GARBAGE, B),
    "publish what differs": lambda world: world.publish(FRESH, B, KEPT),
    "renew late": World.renew_late,
    "collect": lambda world: world.collect(),
}
BESIDE: Final[dict[str, Callable[[World], None]]] = {
    "another publishes the same": lambda world: world.publish(DEAD, OTHER),
    "another publishes what nothing names": lambda world: world.publish(GARBAGE, OTHER),
    "another collects": lambda world: world.collect(OTHER),
    "others collect for hours": World.collect_much_later,
}


def count_calls(template: Path, path: Path, act: Callable[[World], None]) -> int:
    world = World(template, path)
    process = Process()
    assert process.run(lambda: act(world))
    Process().run(world.check)
    Process().run(world.end)
    return process.calls


def some(count: int, stride: int) -> Iterator[int]:
    """Yield some of the numbers below a count, others each time, so that many runs see all."""
    yield from range(random.randrange(stride), count, stride)


def kill(template: Path, path: Path, act: Callable[[World], None], at: int) -> None:
    """Have somebody die at a call, look, and have another do it all."""
    world = World(template, path)
    assert not Process(at).run(lambda: act(world))
    Process().run(world.check)
    Process().run(world.collect_much_later)
    Process().run(world.check)
    Process().run(lambda: act(world))
    Process().run(world.check)
    Process().run(world.end)


def hold_up(template: Path, path: Path, act: Callable[[World], None], beside: Callable[[World], None], at: int) -> None:
    """Have somebody wait at a call until another is done, and look while both go on and after."""
    world = World(template, path)

    def meanwhile() -> None:
        Process().run(lambda: beside(world))
        Process().run(world.check)

    assert Process(at, meanwhile).run(lambda: act(world))
    Process().run(world.check)
    Process().run(world.collect_much_later)
    Process().run(world.check)
    Process().run(world.end)


def test_whoever_is_killed_or_held_up_at_some_calls_does_no_harm(template: Path, tmp_path: Path) -> None:
    for act in ACTS.values():
        calls = count_calls(template, tmp_path / "store", act)
        for at in some(calls, 40):
            kill(template, tmp_path / "store", act, at)
        for beside in random.sample([*BESIDE.values()], 2):
            hold_up(template, tmp_path / "store", act, beside, random.randrange(calls))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_whoever_is_killed_at_any_call_leaves_nothing_that_is_not_whole(
    template: Path, tmp_path: Path, act: Callable[[World], None]
) -> None:
    for at in range(count_calls(template, tmp_path / "store", act)):
        kill(template, tmp_path / "store", act, at)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_whoever_is_held_up_at_any_call_while_others_work_does_no_harm(
    template: Path, tmp_path: Path, act: Callable[[World], None], beside: Callable[[World], None]
) -> None:
    for at in range(count_calls(template, tmp_path / "store", act)):
        hold_up(template, tmp_path / "store", act, beside, at)
