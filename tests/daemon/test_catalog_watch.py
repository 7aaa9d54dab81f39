"""Waiting for another catalog: who is woken when, and how many may wait."""

from __future__ import annotations

from typing import Final

import trio
import trio.testing

from readyfs.daemon import catalog_watch
from readyfs.daemon.catalog_watch import USER_WATCHES, CatalogWatch

A, B, C = "aa" * 16, "bb" * 16, "cc" * 16
ME: Final = 1001
LONG_S: Final = 30.0


class World:
    def __init__(self) -> None:
        self.in_force = A
        self.watch = CatalogWatch(lambda: self.in_force)

    async def wait(self, fingerprint: str, timeout_s: float = LONG_S, uid: int = ME) -> tuple[str, bool]:
        return await self.watch.wait(uid, fingerprint, timeout_s)


async def test_another_catalog_than_the_one_in_force_is_told_at_once() -> None:
    with trio.fail_after(5):
        assert await World().wait(B) == (A, True)


async def test_the_time_is_up_without_another(autojump_clock: trio.testing.MockClock) -> None:
    begun = trio.current_time()
    assert await World().wait(A) == (A, True)
    assert trio.current_time() - begun == LONG_S


async def test_whoever_waits_is_woken_when_the_kernel_was_told_and_not_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world, found, begun = World(), list[tuple[str, bool]](), trio.current_time()

    async def wait() -> None:
        found.append(await world.wait(A))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        world.in_force = B
        await trio.testing.wait_all_tasks_blocked()
        assert found == []
        world.watch.announce()
    assert found == [(B, True)]
    assert trio.current_time() == begun


async def test_a_catalog_of_which_the_kernel_is_still_told_is_no_news(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    world.in_force, begun = B, trio.current_time()
    assert await world.wait(A, 1.0) == (A, True)
    assert trio.current_time() - begun == 1.0
    world.watch.announce()
    begun = trio.current_time()
    assert await world.wait(A) == (B, True)
    assert trio.current_time() == begun


async def test_who_knows_a_catalog_before_the_kernel_is_not_told_of_the_one_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World()
    world.in_force = B
    begun = trio.current_time()
    assert await world.wait(B) == (A, True)
    assert trio.current_time() - begun == LONG_S


async def test_only_so_many_of_one_user_wait_and_others_still_may(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        for _ in range(USER_WATCHES):
            nursery.start_soon(world.wait, A)
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        assert await world.wait(A) == (A, False)
        assert trio.current_time() == begun
        nursery.start_soon(world.wait, A, LONG_S, ME + 1)
        await trio.testing.wait_all_tasks_blocked()
        world.in_force = B
        world.watch.announce()
    assert await world.wait(B, 1.0) == (B, True)


async def test_only_so_many_wait_in_all(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        for number in range(catalog_watch.ALL_WATCHES):
            nursery.start_soon(world.wait, A, LONG_S, number)
        await trio.testing.wait_all_tasks_blocked()
        assert await world.wait(A, uid=ME) == (A, False)
        nursery.cancel_scope.cancel()
    assert await world.wait(A, 1.0) == (A, True)
