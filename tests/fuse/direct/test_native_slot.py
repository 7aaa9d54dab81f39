"""The slot of a call to the raw store (the table in src/native/slot.c): every transition, with a store that hangs."""

from __future__ import annotations

import random
import resource
import threading
import time
from collections.abc import Iterator

import pytest

from readyfs.fuse.direct.native_loop import ADOPTED, ANY_CALL
from readyfs.fuse.direct.protocol import IN_HEADER, Opcode
from readyfs.fuse.direct.workers import MOMENT_NS, MOMENT_S, QUIET_MOMENTS
from tests.descriptors import open_descriptors
from tests.fuse.direct.looped import INODE, PATIENCE_S, Looped, looped, needs_module
from tests.mount.bindfs import BoundStore, bound
from tests.mount.daemon import Place, wait_until

pytestmark = needs_module
CONTENT = b"0123456789"


@pytest.fixture
def store(place: Place) -> Iterator[BoundStore]:
    """A raw store that can hang, with one file in it."""
    (place.raw / "run").mkdir(parents=True)
    (place.raw / "run/a").write_bytes(CONTENT)
    with bound(place) as one:
        yield one


@pytest.fixture
def one(store: BoundStore) -> Iterator[Looped]:
    """A loop over that store, which knows the file."""
    with looped(store.path) as found:
        found.add_file("run", "a")
        yield found
        store.go_on()


def held_call(one: Looped) -> int:
    """Wait until the loop is in a call for longer than a moment; return its number."""
    found = one.loop.watch(MOMENT_NS)
    assert found is not None
    call, thread = found
    assert thread == one.thread_id
    return int(call)


def unique_of(request: bytes) -> int:
    return int(IN_HEADER.unpack_from(request)[2])


# ---- held, and free again by the reader ---------------------------------------------------------------------------


def test_call_that_comes_back_is_answered_and_cannot_be_adopted(one: Looped) -> None:
    handle = one.opened()
    unique = one.read(handle, 4, 3)
    assert one.answer() == (unique, 0, CONTENT[3:7])
    for call in (ANY_CALL, 1, 2, 3):
        assert one.loop.adopt(call) is None
    assert one.received.empty()


# ---- held, and adopted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["open", "read", "release"])
def test_call_that_hangs_is_adopted_once_and_undone(one: Looped, store: BoundStore, operation: str) -> None:
    """Its request is handed over as it came, with the moment since when; nothing of what it did stays."""
    handle = 0 if operation == "open" else one.opened()
    before = time.monotonic()
    store.stop()
    unique = one.open() if operation == "open" else one.read(handle, 4) if operation == "read" else one.release(handle)
    call = held_call(one)
    request, since_s = one.loop.adopt(call)
    assert unique_of(request) == unique
    assert before <= since_s <= time.monotonic() - MOMENT_S
    assert one.loop.adopt(call) is None
    assert one.loop.adopt(ANY_CALL) is None
    assert one.received.empty(), "its thread is in the call"
    store.go_on()
    assert one.next_received() == ADOPTED
    one.assert_answers()
    assert one.loop.open_files() == (1 if operation == "read" else 0)
    assert one.received.empty()


def test_adopted_open_leaves_no_descriptor(one: Looped, store: BoundStore) -> None:
    one.assert_answers()
    before = len(open_descriptors())
    store.stop()
    one.open()
    assert one.loop.adopt(held_call(one)) is not None
    store.go_on()
    assert one.next_received() == ADOPTED
    assert len(open_descriptors()) == before


def test_late_hand_adopts_no_other_call(one: Looped, store: BoundStore) -> None:
    """The number of a call that is over says nothing of the one that is held now."""
    store.stop()
    one.open()
    first = held_call(one)
    store.go_on()
    one.answer()
    store.stop()
    one.open()
    second = held_call(one)
    assert second != first
    assert one.loop.adopt(first) is None
    assert one.loop.adopt(second) is not None
    store.go_on()
    assert one.next_received() == ADOPTED


# ---- closed -------------------------------------------------------------------------------------------------------


def test_while_closed_no_call_begins_and_memory_answers(one: Looped) -> None:
    handle = one.opened()
    one.loop.allow_calls(False)
    for unique in (one.open(), one.read(handle, 4), one.release(handle)):
        one.assert_python_gets(unique)
    one.assert_answers()
    unique = one.put(Opcode.GETATTR)
    assert one.answer()[:2] == (unique, 0)
    unique = one.read(handle, 4, len(CONTENT))
    assert one.answer() == (unique, 0, b""), "behind the end nothing is asked"
    one.loop.allow_calls(True)
    unique = one.release(handle)
    assert one.answer() == (unique, 0, b"")


def test_end_of_the_daemon_adopts_whatever_is_held(one: Looped, store: BoundStore) -> None:
    """Also before a moment is over: nobody looks for it later."""
    store.stop()
    unique = one.open()
    one.loop.allow_calls(False)
    adopted: list[tuple[bytes, float]] = []

    def is_taken() -> bool:
        adopted.extend(filter(None, [one.loop.adopt(ANY_CALL)]))
        return bool(adopted) or not one.received.empty()

    wait_until(is_taken, "it has another owner")
    store.go_on()
    if adopted:
        assert unique_of(adopted[0][0]) == unique
        assert one.next_received() == ADOPTED
    else:
        one.assert_python_gets(unique)


# ---- the watch ----------------------------------------------------------------------------------------------------


def test_watch_that_sleeps_is_woken_by_a_call(one: Looped, store: BoundStore) -> None:
    found: list[object] = []
    assert one.opened()  # before, because a busy machine can make the watch find that one
    watch = threading.Thread(target=lambda: found.append(one.loop.watch(MOMENT_NS)))
    watch.start()
    time.sleep(MOMENT_S * QUIET_MOMENTS * 2)  # it goes to sleep, if it does: nothing tells
    store.stop()
    one.open()
    watch.join(PATIENCE_S)
    assert not watch.is_alive()
    assert found[0] is not None
    assert one.loop.adopt(ANY_CALL) is not None
    store.go_on()
    assert one.next_received() == ADOPTED


def test_watch_costs_nothing_while_nothing_is_asked(one: Looped) -> None:
    one.opened()
    watch = threading.Thread(target=lambda: one.loop.watch(MOMENT_NS))
    watch.start()
    time.sleep(MOMENT_S * QUIET_MOMENTS * 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    time.sleep(0.2)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before < 20, "it wakes for each moment"
    one.loop.end_watch()
    watch.join(PATIENCE_S)
    assert not watch.is_alive()


def test_ended_watch_says_so(one: Looped) -> None:
    one.loop.end_watch()
    assert one.loop.watch(MOMENT_NS) is None


# ---- all of it at once --------------------------------------------------------------------------------------------


def test_every_request_has_one_owner_whoever_is_first(place: Place) -> None:
    """Requests while somebody closes, opens and adopts without pause: each is answered, Python's, or adopted, once."""
    (place.raw / "run").mkdir(parents=True)
    (place.raw / "run/a").write_bytes(CONTENT)
    chance = random.Random(20260101)
    answered: list[int] = []
    adopted: list[int] = []
    began_while_closed: list[int] = []
    with looped(place.raw) as one:
        one.add_file("run", "a")
        sent: list[int] = []
        is_over = threading.Event()

        def disturb() -> None:
            while not is_over.is_set():
                is_open = chance.random() < 0.7
                one.loop.allow_calls(is_open)
                found = one.loop.adopt(ANY_CALL)
                if found is not None:
                    adopted.append(unique_of(found[0]))
                for _ in range(0 if is_open else 50):
                    if (found := one.loop.adopt(ANY_CALL)) is not None:
                        began_while_closed.append(unique_of(found[0]))

        disturber = threading.Thread(target=disturb)
        disturber.start()
        deadline = time.monotonic() + PATIENCE_S
        while (len(adopted) < 5 or len(sent) < 1000) and time.monotonic() < deadline:
            for _ in range(50):
                sent.append(one.open(INODE))
            last = one.put(Opcode.IOCTL)
            while (unique := one.answer()[0]) != last:
                answered.append(unique)
        is_over.set()
        disturber.join(PATIENCE_S)
        returned: list[int] = []
        lost = 0
        while not one.received.empty():
            received = one.next_received()
            assert received is not None
            if received == ADOPTED:
                lost += 1
            else:
                returned.append(unique_of(received))
        assert began_while_closed == []
        assert sorted(answered + adopted + returned) == sorted(sent)
        assert lost == len(adopted)
        assert adopted, "none was adopted: the test says nothing"
        assert one.loop.open_files() <= len(answered)
