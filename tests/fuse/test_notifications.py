from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator

import pytest
import trio
import trio.lowlevel
import trio.testing
from structlog.testing import capture_logs

from readyfs.fuse import notifications as notifications_module
from readyfs.fuse.notifications import Notifications
from readyfs.vfs.inode_number import InodeNumber
from readyfs.vfs.invalidation import Invalidation

PATIENCE_S = 20.0
ONE, TWO, THREE = InodeNumber(11), InodeNumber(12), InodeNumber(13)


class RecordingKernel:
    """A kernel that notes each notification and on which thread it came, and does what a test hooks in."""

    def __init__(self) -> None:
        self.sent: list[tuple[object, ...]] = []
        self.threads: set[int] = set()
        self.before: Callable[[tuple[object, ...]], None] = lambda what: None

    def invalidate_entry(self, parent: InodeNumber, name: bytes) -> None:
        self._note(("entry", parent, name))

    def invalidate_inode(self, inode: InodeNumber, *, attributes_only: bool) -> None:
        self._note(("attributes" if attributes_only else "listing", inode))

    def expire_names(self) -> bool:
        return False

    def _note(self, what: tuple[object, ...]) -> None:
        self.threads.add(threading.get_ident())
        self.before(what)
        self.sent.append(what)


@pytest.fixture
def kernel() -> RecordingKernel:
    return RecordingKernel()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which a close does not succeed."""
    monkeypatch.setattr(notifications_module, "CLOSE_TIMEOUT_S", 0.05)


@pytest.fixture
def cache(kernel: RecordingKernel) -> Iterator[Notifications]:
    cache = Notifications(kernel)
    yield cache
    kernel.before = lambda what: None
    assert cache.close()


def refuse(number: int) -> Callable[[tuple[object, ...]], None]:
    def fail(what: tuple[object, ...]) -> None:
        raise OSError(number, os.strerror(number))

    return fail


async def test_touched_come_first_then_names_and_the_listing_last(
    cache: Notifications, kernel: RecordingKernel
) -> None:
    """The order carries weight: a listing dropped earlier could be filled again by a late reply."""
    await cache.invalidate([Invalidation(ONE, (b"a", b"b"), (TWO, THREE))])
    assert kernel.sent == [
        ("attributes", TWO),
        ("attributes", THREE),
        ("entry", ONE, b"a"),
        ("entry", ONE, b"b"),
        ("listing", ONE),
    ]
    assert cache.sent == 5


async def test_directories_are_told_in_the_order_of_the_plan(cache: Notifications, kernel: RecordingKernel) -> None:
    await cache.invalidate([Invalidation(TWO, (b"x",)), Invalidation(ONE, (b"y",))])
    assert [what[1] for what in kernel.sent] == [TWO, TWO, ONE, ONE]


async def test_directory_with_no_changed_name_keeps_its_listing(cache: Notifications, kernel: RecordingKernel) -> None:
    await cache.invalidate([Invalidation(ONE, (), (TWO,), listing=False)])
    assert kernel.sent == [("attributes", TWO)]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR, errno.ESTALE])
async def test_what_the_kernel_does_not_hold_is_no_matter(
    cache: Notifications, kernel: RecordingKernel, number: int
) -> None:
    kernel.before = refuse(number)
    with capture_logs() as logs:
        await cache.invalidate([Invalidation(ONE, (b"a",))])
    assert logs == []
    assert cache.sent == 2


@pytest.mark.parametrize("number", [errno.EIO, errno.EBADF, errno.ENOSYS])
async def test_refused_notification_is_logged_and_the_others_go_on(
    cache: Notifications, kernel: RecordingKernel, number: int
) -> None:
    kernel.before = refuse(number)
    with capture_logs() as logs:
        await cache.invalidate([Invalidation(ONE, (b"a",)), Invalidation(TWO, (b"b",))])
    assert cache.sent == 4
    assert [(line["log_level"], line["error"]) for line in logs] == [("warning", os.strerror(number))] * 4


async def test_invalidate_returns_only_after_the_last_notification(
    cache: Notifications, kernel: RecordingKernel
) -> None:
    """V3: a refresh ends when the last kernel notification has returned."""
    reached, release = threading.Event(), threading.Event()
    returned = trio.Event()

    def hold_the_last(what: tuple[object, ...]) -> None:
        if what == ("listing", TWO):
            reached.set()
            assert release.wait(PATIENCE_S)

    kernel.before = hold_the_last

    async def invalidate() -> None:
        await cache.invalidate([Invalidation(ONE, (b"a",)), Invalidation(TWO, (b"b",))])
        returned.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(invalidate)
        assert await trio.to_thread.run_sync(reached.wait, PATIENCE_S)
        await trio.testing.wait_all_tasks_blocked()
        assert not returned.is_set()
        release.set()
        with trio.fail_after(PATIENCE_S):
            await returned.wait()
    assert kernel.sent[-1] == ("listing", TWO)


async def test_notifications_never_come_from_the_serving_thread(cache: Notifications, kernel: RecordingKernel) -> None:
    """One can wait for a request in flight, which the serving thread has to answer."""
    await cache.invalidate([Invalidation(ONE, (b"a",), (TWO,))])
    assert threading.get_ident() not in kernel.threads


async def test_plan_is_made_as_it_is_sent(cache: Notifications, kernel: RecordingKernel) -> None:
    """What the kernel forgot meanwhile by itself need not be sent."""
    seen: list[int] = []

    def plan() -> Iterator[Invalidation]:
        for inode in (ONE, TWO):
            seen.append(len(kernel.sent))
            yield Invalidation(inode, (b"a",))

    await cache.invalidate(plan())
    assert seen == [0, 2]


async def test_second_refresh_waits_for_the_first(cache: Notifications, kernel: RecordingKernel) -> None:
    reached, release = threading.Event(), threading.Event()

    def hold(what: tuple[object, ...]) -> None:
        reached.set()
        assert release.wait(PATIENCE_S)

    kernel.before = hold
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cache.invalidate, [Invalidation(ONE, (b"a",))])
        assert await trio.to_thread.run_sync(reached.wait, PATIENCE_S)
        nursery.start_soon(cache.invalidate, [Invalidation(TWO, (b"b",))])
        await trio.testing.wait_all_tasks_blocked()
        release.set()
    assert [what[1] for what in kernel.sent] == [ONE, ONE, TWO, TWO]


# ---- damage -------------------------------------------------------------------------------------------------------


def wait_for(reached: threading.Event) -> None:
    assert reached.wait(PATIENCE_S)


def test_damage_is_sent_by_a_thread_of_its_own(kernel: RecordingKernel) -> None:
    cache = Notifications(kernel)
    done = threading.Event()
    kernel.before = lambda what: done.set() if what[0] == "listing" else None
    cache.invalidate_damaged(Invalidation(ONE, (b"a",)))
    wait_for(done)
    assert cache.close()  # waits for what is under way
    assert kernel.sent == [("entry", ONE, b"a"), ("listing", ONE)]
    assert threading.get_ident() not in kernel.threads


async def test_stuck_damage_holds_up_no_refresh(cache: Notifications, kernel: RecordingKernel) -> None:
    """Names below a run can wait for a hanging raw store, names above it cannot."""
    stuck, release = threading.Event(), threading.Event()

    def hang(what: tuple[object, ...]) -> None:
        if what[1] == ONE:
            stuck.set()
            assert release.wait(PATIENCE_S)

    kernel.before = hang
    cache.invalidate_damaged(Invalidation(ONE, (b"a",)))
    assert await trio.to_thread.run_sync(stuck.wait, PATIENCE_S)
    try:
        with trio.fail_after(PATIENCE_S):
            await cache.invalidate([Invalidation(TWO, (b"b",))])
        assert kernel.sent == [("entry", TWO, b"b"), ("listing", TWO)]
        assert cache.stuck_s() == 0.0
    finally:
        release.set()


async def test_stuck_end_of_a_view_holds_up_no_refresh(cache: Notifications, kernel: RecordingKernel) -> None:
    """It has names below runs, and whoever lists a directory of that view may stand still."""
    stuck, release = threading.Event(), threading.Event()

    def hang(what: tuple[object, ...]) -> None:
        if what[1] == ONE:
            stuck.set()
            assert release.wait(PATIENCE_S)

    kernel.before = hang
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cache.invalidate_ended, [Invalidation(ONE, (b"a",))])
        assert await trio.to_thread.run_sync(stuck.wait, PATIENCE_S)
        try:
            with trio.fail_after(PATIENCE_S / 4):
                await cache.invalidate([Invalidation(TWO, (b"b",))])
            assert kernel.sent == [("entry", TWO, b"b"), ("listing", TWO)]
            assert cache.stuck_s() == 0.0
        finally:
            release.set()


def test_damage_is_queued_without_waiting(kernel: RecordingKernel) -> None:
    cache = Notifications(kernel)
    stuck, release, done = threading.Event(), threading.Event(), threading.Event()

    def hang(what: tuple[object, ...]) -> None:
        stuck.set()
        assert release.wait(PATIENCE_S)
        if what == ("listing", THREE):
            done.set()

    kernel.before = hang
    for inode in (ONE, TWO, THREE):
        cache.invalidate_damaged(Invalidation(inode, (b"a",)))
    wait_for(stuck)
    assert kernel.sent == []
    release.set()
    wait_for(done)
    assert cache.close()
    assert [what[1] for what in kernel.sent if what[0] == "listing"] == [ONE, TWO, THREE]


def test_damage_thread_outlives_an_unexpected_exception(cache: Notifications, kernel: RecordingKernel) -> None:
    """A bug costs one notification, not all that follow."""
    done = threading.Event()

    def fail_once(what: tuple[object, ...]) -> None:
        if what == ("entry", ONE, b"a"):
            raise RuntimeError("bug")
        if what == ("listing", TWO):
            done.set()

    kernel.before = fail_once
    with capture_logs() as logs:
        cache.invalidate_damaged(Invalidation(ONE, (b"a",)))
        cache.invalidate_damaged(Invalidation(TWO, (b"b",)))
        wait_for(done)
    assert [(line["log_level"], line.get("exc_info")) for line in logs] == [("error", True)]


# ---- stuck, and the end -------------------------------------------------------------------------------------------


async def test_stuck_time_is_that_of_the_notification_under_way(kernel: RecordingKernel) -> None:
    """A large refresh that makes progress is not stuck, however long it takes."""
    now_s = [100.0]
    cache = Notifications(kernel, lambda: now_s[0])
    during: list[float] = []

    def take_time(what: tuple[object, ...]) -> None:
        now_s[0] += 10.0
        during.append(cache.stuck_s())

    kernel.before = take_time
    assert cache.stuck_s() == 0.0
    await cache.invalidate([Invalidation(ONE, tuple(b"%d" % number for number in range(20)), (TWO,))])
    assert during == [10.0] * 22
    assert cache.stuck_s() == 0.0
    assert cache.close()


async def test_unexpected_exception_costs_a_refresh_one_notification(
    cache: Notifications, kernel: RecordingKernel
) -> None:
    def fail_once(what: tuple[object, ...]) -> None:
        if what[0] == "entry":
            raise RuntimeError("bug")

    kernel.before = fail_once
    with capture_logs() as logs:
        await cache.invalidate([Invalidation(ONE, (b"a",))])
    assert kernel.sent == [("listing", ONE)]
    assert [(line["log_level"], line.get("exc_info")) for line in logs] == [("error", True)]


async def test_nothing_is_stuck_after_a_plan_that_failed(kernel: RecordingKernel) -> None:
    cache = Notifications(kernel, lambda: 1.0)

    def plan() -> Iterator[Invalidation]:
        yield Invalidation(ONE, (b"a",))
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        await cache.invalidate(plan())
    assert cache.stuck_s() == 0.0
    assert cache.close()


async def test_close_tells_that_a_notification_is_still_under_way(kernel: RecordingKernel, impatient: None) -> None:
    """The session must not be freed below it."""
    cache = Notifications(kernel)
    stuck, release = threading.Event(), threading.Event()

    def hang(what: tuple[object, ...]) -> None:
        stuck.set()
        assert release.wait(PATIENCE_S)

    kernel.before = hang
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cache.invalidate, [Invalidation(ONE, (b"a",))])
        assert await trio.to_thread.run_sync(stuck.wait, PATIENCE_S)
        nursery.cancel_scope.cancel()  # abandons the thread, as the end of the daemon does
    assert not cache.close()
    release.set()


async def test_nothing_is_sent_after_close(kernel: RecordingKernel) -> None:
    """It would reach a session that is freed: neither the rest of a plan nor damage that is queued."""
    cache = Notifications(kernel)
    reached, release = threading.Event(), threading.Event()
    closed: list[bool] = []

    def hold_the_first(what: tuple[object, ...]) -> None:
        reached.set()
        assert release.wait(PATIENCE_S)

    kernel.before = hold_the_first
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cache.invalidate, [Invalidation(ONE, (b"a", b"b")), Invalidation(TWO, (b"c",))])
        assert await trio.to_thread.run_sync(reached.wait, PATIENCE_S)
        closing = threading.Thread(target=lambda: closed.append(cache.close()))
        closing.start()
        while not cache._closed:
            await trio.lowlevel.checkpoint()
        cache.invalidate_damaged(Invalidation(THREE, (b"d",)))
        release.set()
    await trio.to_thread.run_sync(closing.join)
    assert kernel.sent == [("entry", ONE, b"a")]
    assert closed == [True]


def test_damage_that_is_queued_is_not_sent_after_close(kernel: RecordingKernel) -> None:
    cache = Notifications(kernel)
    stuck, release = threading.Event(), threading.Event()
    closed: list[bool] = []

    def hang(what: tuple[object, ...]) -> None:
        stuck.set()
        assert release.wait(PATIENCE_S)

    kernel.before = hang
    cache.invalidate_damaged(Invalidation(ONE, (b"a",)))
    cache.invalidate_damaged(Invalidation(TWO, (b"b",)))
    wait_for(stuck)
    closing = threading.Thread(target=lambda: closed.append(cache.close()))
    closing.start()
    while not cache._closed:
        threading.Event().wait(0.001)
    release.set()
    closing.join()
    assert closed == [True]
    assert {what[1] for what in kernel.sent} == {ONE}


async def test_refresh_after_close_sends_nothing(kernel: RecordingKernel) -> None:
    cache = Notifications(kernel)
    assert cache.close()
    with trio.move_on_after(0.01):
        await cache.invalidate([Invalidation(ONE, (b"a",))])
    assert kernel.sent == []


def test_close_tells_that_damage_is_still_under_way(kernel: RecordingKernel, impatient: None) -> None:
    cache = Notifications(kernel)
    stuck, release = threading.Event(), threading.Event()

    def hang(what: tuple[object, ...]) -> None:
        stuck.set()
        assert release.wait(PATIENCE_S)

    kernel.before = hang
    cache.invalidate_damaged(Invalidation(ONE, (b"a",)))
    wait_for(stuck)
    assert not cache.close()
    release.set()


def test_close_ends_the_damage_thread(kernel: RecordingKernel) -> None:
    before = set(threading.enumerate())
    cache = Notifications(kernel)
    (thread,) = set(threading.enumerate()) - before
    assert cache.close()
    assert not thread.is_alive()


class EpochKernel(RecordingKernel):
    """A kernel that can be made to ask for every name again."""

    def expire_names(self) -> bool:
        self._note(("epoch",))
        return True


async def test_many_names_are_expired_at_once_and_listings_dropped_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """One name of each directory is dropped all the same, which waits for listings of before that are in flight.

    They bring old names as if they were new ones, so that all have to be asked for again behind the last of them.
    """
    monkeypatch.setattr(notifications_module, "EXPIRE_ALL_FROM", 4)
    kernel = EpochKernel()
    cache = Notifications(kernel)
    try:
        plan = [Invalidation(ONE, (b"a",)), Invalidation(TWO, (b"b", b"c", b"d"), (ONE,)), Invalidation(THREE, (b"e",))]
        await cache.invalidate(plan)
    finally:
        assert cache.close()
    assert kernel.sent == [
        ("entry", ONE, b"a"),
        ("listing", ONE),
        ("epoch",),
        ("attributes", ONE),
        ("entry", TWO, b"b"),
        ("listing", TWO),
        ("entry", THREE, b"e"),
        ("listing", THREE),
        ("epoch",),
    ]
    assert cache.sent == 9


async def test_where_names_cannot_be_expired_each_is_dropped(
    monkeypatch: pytest.MonkeyPatch, cache: Notifications, kernel: RecordingKernel
) -> None:
    monkeypatch.setattr(notifications_module, "EXPIRE_ALL_FROM", 1)
    await cache.invalidate([Invalidation(ONE, (b"a", b"b"))])
    assert kernel.sent == [("entry", ONE, b"a"), ("entry", ONE, b"b"), ("listing", ONE)]
