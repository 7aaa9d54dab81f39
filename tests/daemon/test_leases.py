"""The task that ends views: what it tells the kernel, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import trio

from readyfs.daemon.kept_catalogs import KeptCatalogs
from readyfs.daemon.leases import Leases
from readyfs.daemon.pinned_memory import PinnedMemory
from readyfs.pins.registry import Registry
from readyfs.vfs.inode_number import ROOT_INODE
from readyfs.vfs.invalidation import Invalidation


class FakeClock:
    def adjust(self) -> bool:
        return False


class FakeRegistry:
    clock = FakeClock()
    is_saved = True

    def advance(self) -> list[object]:
        return []

    def held(self) -> list[str]:
        return []


class FakeMemory:
    def is_due(self, held: Iterable[str]) -> bool:
        return False


class FakeKept:
    """Has one view expire at the first look."""

    def __init__(self) -> None:
        self.looks = 0
        self.looked_often = trio.Event()

    def advance(self) -> list[str]:
        self.looks += 1
        if self.looks == 4:
            self.looked_often.set()
        return ["the view"] if self.looks == 1 else []


class FakeKernel:
    def __init__(self) -> None:
        self.told: list[tuple[int, list[Invalidation]]] = []
        self.kept = FakeKept()

    async def invalidate(self, plan: Iterable[Invalidation]) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append((self.kept.looks, list(plan)))


def plan_expiry(fingerprint: str) -> Iterator[Invalidation]:
    yield Invalidation(ROOT_INODE, (fingerprint.encode(),))


async def test_expired_view_is_told_again_a_tick_later(nursery: trio.Nursery) -> None:
    """V18: an answer that was under way while it expired may bring the kernel a name that opens."""
    kernel = FakeKernel()
    leases = Leases(
        cast(Registry, FakeRegistry()),
        cast(KeptCatalogs, kernel.kept),
        cast(PinnedMemory, FakeMemory()),
        lambda: None,
        plan_expiry,
        kernel,
        tick_s=0.005,
    )
    nursery.start_soon(leases.run)
    with trio.fail_after(10):
        await kernel.kept.looked_often.wait()
    plan = list(plan_expiry("the view"))
    assert kernel.told == [(1, plan), (2, plan)]
