"""What everybody is answered, over a disk that hangs or is full, and of catalogs that come back."""

from __future__ import annotations

import errno
import os
import pwd
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trio

from readyfs.catalog.tree import Catalog
from readyfs.control.peer import Entrance, Peer
from readyfs.control.pin_requests import PinRequest, PinsRequest, RenewRequest, UnpinRequest
from readyfs.daemon.kept_catalogs import KeptCatalogs
from readyfs.daemon.leases import Leases
from readyfs.daemon.pinned_memory import PinnedMemory
from readyfs.daemon.public_answers import DISK_THREADS, PublicAnswers
from readyfs.daemon.shared_pins import SharedPins
from readyfs.errors import HistoryError, NoPinError, PinStoreAwayError
from readyfs.history.moments import Moment
from readyfs.life import Life
from readyfs.pins.file import PinFile
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import Limits
from readyfs.pins.pin import Pin
from readyfs.pins.registry import Registry
from readyfs.vfs.freshness import Freshness

A, B = "aa" * 16, "bb" * 16
SECOND_NS = 1_000_000_000
ME = Peer(1001, frozenset())


@dataclass(slots=True)
class FakeHistory:
    """Knows moments, and what was held when it let go of what nobody keeps."""

    kept: list[Moment]
    held: Callable[[], object] = tuple
    trimmed: list[set[object]] = field(default_factory=list)

    def moments(self) -> Sequence[Moment]:
        return [one._replace(number=number) for number, one in enumerate(self.kept)]

    def newest_moments(self) -> dict[str, Moment]:
        return {one.fingerprint: one._replace(number=number) for number, one in enumerate(self.kept)}

    def flush(self, fingerprint: str) -> None:
        """Be on the disk already."""

    def trim(self) -> None:
        self.trimmed.append(set(cast(Sequence[object], self.held())))

    def in_memory(self) -> set[str]:
        return set()

    def catalog(self, fingerprint: str, *, may_block: bool) -> Catalog | None:
        return None


class World:
    """Answers over a real registry, and the disk as a test wants it."""

    def __init__(self, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # A clock that stands still: the disk may take its time, and what is told as an age is the same.
        self.clock = LeaseClock(lambda: 1000.0, lambda: 1_700_000_000 * SECOND_NS)
        self.state_dir = state_dir
        self.history = FakeHistory([Moment(A, SECOND_NS)])
        self.registry = self.read_again()
        self.history.held = self.registry.held
        self.write: Callable[[], None] = lambda: None
        real = PinFile.write

        def write(file: PinFile, *rest: object) -> None:
            if file is self.registry._file:  # and not that of a test before, whose threads go on once its disk does
                self.write()
            real(file, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(PinFile, "write", write)
        self.memory = PinnedMemory(self.history)
        self.answers = PublicAnswers(
            lambda: cast(Catalog, SimpleNamespace(fingerprint=self.history.kept[-1].fingerprint)),
            trio.lowlevel.checkpoint,
            Freshness(),
            self.history,
            self.registry,
            self.memory,
            Entrance(0, 0, 0o555, True, 0),
            Life(),
        )

    def read_again(self) -> Registry:
        """Return the pins as a daemon that starts now reads them."""
        file = PinFile(self.state_dir, Path("/mnt/ready"), self.clock)
        return Registry(file, Limits(60, 600, 60, 1000, 1), self.clock)

    async def pin(self, name: str = "job") -> dict[str, object]:
        return await self.answers.pin(PinRequest(name), ME)

    async def unpin(self, name: str = "job") -> dict[str, object]:
        return await self.answers.unpin(UnpinRequest(name), ME)

    async def pins(self) -> list[dict[str, object]]:
        return cast(list[dict[str, object]], (await self.answers.pins(PinsRequest()))["pins"])

    async def ended(self) -> list[dict[str, object]]:
        return cast(list[dict[str, object]], (await self.answers.pins(PinsRequest(True)))["pins"])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@pytest.fixture
def hanging(world: World) -> Iterator[threading.Event]:
    """A disk that hangs from when the event's test says so, up to the end."""
    over, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        over.wait()

    world.write = hang
    yield begun
    over.set()


async def cancelled_while_it_hangs(begun: threading.Event, call: Callable[[], Awaitable[object]]) -> None:
    """Call, and cancel that once the disk hangs; without the mend this never returns."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await trio.to_thread.run_sync(begun.wait, 10)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("verb", ["pin", "renew", "unpin", "settle"])
def test_a_disk_that_hangs_does_not_keep_the_daemon(world: World, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """V20: the end of the daemon cancels what waits for the disk, and what was not done is as before."""
    over, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        over.wait()

    async def scene() -> None:
        await world.pin()
        before = world.registry.pins()
        world.write = hang
        leases = Leases(
            world.registry,
            cast(KeptCatalogs, SimpleNamespace(advance=list)),
            world.memory,
            world.history.trim,
            lambda _: iter(()),
            cast("object", None),  # type: ignore[arg-type]
        )
        if verb == "settle":
            world.registry.expect_save()
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "pin": lambda: world.pin("other"),
            "renew": lambda: world.answers.renew(RenewRequest("job", 500.0), ME),
            "unpin": world.unpin,
            "settle": leases.run,
        }
        await cancelled_while_it_hangs(begun, calls[verb])
        assert world.registry.pins() == before
        assert world.registry.tombstones() == []
        assert world.registry.is_saving

    guard = threading.Timer(15, over.set)  # so that without the mend the test fails, and does not hang itself
    guard.start()
    try:
        trio.run(scene)
    finally:
        guard.cancel()
        over.set()


async def test_clients_that_wait_for_the_disk_leave_threads_to_others(world: World, hanging: threading.Event) -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(world.pin, f"job{number}")
            await trio.to_thread.run_sync(hanging.wait, 10)
            assert await trio.to_thread.run_sync(lambda: "free") == "free"
            assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
            assert world.answers.disk.borrowed_tokens == DISK_THREADS
            assert len(await world.pins()) == 100
            nursery.cancel_scope.cancel()


async def test_a_pin_whose_end_cannot_be_written_stays_and_is_held_all_the_time(world: World) -> None:
    await world.pin()
    held: list[object] = []

    def fail() -> None:
        held.extend(world.registry.held())
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    world.write = fail
    with pytest.raises(HistoryError, match="No space left"):
        await world.unpin()
    assert held == [A]
    assert [one["name"] for one in await world.pins()] == ["job"]
    assert await world.ended() == []
    assert world.history.trimmed == []
    world.write = lambda: None
    await world.unpin()
    assert world.history.trimmed == [set()]
    [left] = await world.ended()
    assert (left["reason"], left["ended_by_uid"]) == ("unpinned", ME.uid)
    with pytest.raises(NoPinError, match="the pin job ended 0s ago: unpinned"):
        await world.unpin()


async def test_a_pin_that_the_pin_store_refused_does_not_come_back_with_a_restart(world: World) -> None:
    def refuse(pin: Pin) -> None:
        assert [one.name for one in world.read_again().pins()] == [pin.name]  # the disk has it first
        raise PinStoreAwayError("the pin store is away", "mount it")

    world.answers = replace(
        world.answers, shared=cast(SharedPins, SimpleNamespace(publish=refuse, has=lambda pin: False))
    )
    with pytest.raises(PinStoreAwayError):
        await world.pin()
    assert (world.registry.pins(), world.read_again().pins()) == ([], [])


async def test_a_catalog_that_came_back_is_pinned_as_of_now(world: World) -> None:
    """V20: it was in force before, and the pin is of the moment that is in force."""
    world.history.kept += [Moment(B, 50 * SECOND_NS), Moment(A, 90 * SECOND_NS)]
    answer = await world.pin()
    assert answer["taken_at"] == "1970-01-01T00:01:30.000000+00:00"
    [listed] = await world.pins()
    assert (listed["behind_catalogs"], listed["behind_seconds"]) == (0, 0.0)
    world.history.kept += [Moment(B, 100 * SECOND_NS), Moment(A, 130 * SECOND_NS), Moment(B, 135 * SECOND_NS)]
    [listed] = await world.pins()
    assert listed["taken_at"] == answer["taken_at"]
    assert (listed["behind_catalogs"], listed["behind_seconds"]) == (1, 5.0)


async def test_users_are_looked_up_once_and_not_on_the_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        await world.pin(f"job{number}")
    looked_up: list[tuple[int, int]] = []

    def look_up(uid: int) -> pwd.struct_passwd:
        looked_up.append((uid, threading.get_ident()))
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", look_up)
    assert len(await world.pins()) == 20
    [(uid, thread)] = looked_up
    assert uid == ME.uid
    assert thread != threading.get_ident()
    assert world.answers.entries(PinsRequest()) == 20
