"""The task that ends views: what it tells the kernel, and when."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Final, cast

import trio

from readyfs.daemon.kept_catalogs import KeptCatalogs
from readyfs.daemon.leases import Leases
from readyfs.daemon.pinned_memory import PinnedMemory
from readyfs.pins.registry import Registry
from readyfs.vfs.inode_number import ROOT_INODE
from readyfs.vfs.invalidation import Invalidation

PATIENCE_S: Final = 3.0


class FakeClock:
    def adjust(self) -> bool:
        return False


class FakeRegistry:
    """Has something to save, onto a disk that hangs until it is released."""

    clock = FakeClock()
    is_saved = False

    def __init__(self) -> None:
        self.saves = 0
        self.released = threading.Event()

    def advance(self) -> list[object]:
        return []

    def held(self) -> list[str]:
        return []

    def save(self) -> None:
        self.saves += 1
        self.released.wait(PATIENCE_S)


class FakeMemory:
    def is_due(self, held: Iterable[str]) -> bool:
        return False

    def measure(self, held: Iterable[str]) -> None:
        pass


class FakeKept:
    """Has a view expire at the third look."""

    def __init__(self) -> None:
        self.looks = 0

    def advance(self) -> list[str]:
        self.looks += 1
        return ["the view"] if self.looks == 3 else []


class FakeKernel:
    def __init__(self) -> None:
        self.told: list[Invalidation] = []
        self.was_told = trio.Event()

    async def invalidate_ended(self, plan: Iterable[Invalidation]) -> None:
        await trio.lowlevel.checkpoint()
        self.told.extend(plan)
        self.was_told.set()


def plan_expiry(fingerprint: str) -> Iterator[Invalidation]:
    yield Invalidation(ROOT_INODE, (fingerprint.encode(),))


async def test_disk_that_hangs_keeps_no_view_from_its_end_and_nobody_from_stopping() -> None:
    registry, kernel = FakeRegistry(), FakeKernel()
    leases = Leases(
        cast(Registry, registry),
        cast(KeptCatalogs, FakeKept()),
        cast(PinnedMemory, FakeMemory()),
        lambda: None,
        plan_expiry,
        kernel,
        tick_s=0.005,
    )
    began = trio.current_time()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leases.run)
            await kernel.was_told.wait()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < PATIENCE_S
        assert (kernel.told, registry.saves) == ([*plan_expiry("the view")], 1)
    finally:
        registry.released.set()
