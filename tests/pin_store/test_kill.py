"""Two writers and a collector in processes of their own, killed with SIGKILL at some call, again and again."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from readyfs.pin_store.store import PinStore
from tests.pin_store.processes import Process
from tests.pin_store.stores import A, B, C, entries, is_whole, make_catalog, open_store, pin_of

GRACE_S: Final = 0.2
"""So short that every writer is held up for longer now and then."""
LONG_S: Final = 1e6
KEPT: Final = make_catalog(0)
OTHERS: Final = [make_catalog(number, KEPT) for number in range(1, 5)]
SAID: Final = 2
"""What a writer says of a pin: its number, and whether it is held."""


class Worker:
    """One process at a time, of one mount; `held` are the pins that it was told are made."""

    def __init__(self, path: Path, holder: str, work: Callable[[PinStore, int], None]) -> None:
        self._path = path
        self._holder = holder
        self._work = work
        self.held: set[int] = set()
        self._pid = self._pipe = -1

    def start(self, at: int) -> None:
        """Begin a life that ends at a call, with SIGKILL."""
        self._pipe, theirs = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            process = Process(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
            try:
                process.run(lambda: self._live(theirs))
            finally:
                os._exit(1)  # it comes here only by a mistake
        os.close(theirs)

    def wait_killed(self) -> None:
        """Return when it is dead, and note what it has said."""
        with open(self._pipe, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(self._pid, 0)
        assert os.WIFSIGNALED(status), f"it failed with {status}"
        for place in range(0, len(said), SAID):
            number, is_held = said[place], said[place + 1]
            (self.held.add if is_held else self.held.discard)(number)

    def _live(self, said: int) -> None:
        store = open_store(self._path, self._holder, grace_s=GRACE_S)
        while True:
            self._work(store, said)


def name_of(holder: str, number: int) -> str:
    return f"{holder[0]}-{number}"


def write(holder: str) -> Callable[[PinStore, int], None]:
    """Return what a writer does: it makes pins, and ends them."""

    def once(store: PinStore, said: int) -> None:
        number = random.randrange(len(OTHERS))
        pin = pin_of(OTHERS[number], name_of(holder, number), LONG_S)
        store.publish(OTHERS[number], pin, random.choice([None, KEPT, *OTHERS]))
        os.write(said, bytes([number, True]))
        if random.random() < 0.7:
            os.write(said, bytes([number, False]))
            store.end(pin)

    return once


def collect(store: PinStore, said: int) -> None:
    store.collect()


def play(path: Path, rounds: int) -> None:
    """Kill one after the other, and look at all pins while the rest goes on."""
    kept = open_store(path, A, grace_s=GRACE_S)
    kept.publish(KEPT, pin_of(KEPT, "kept", LONG_S), None)
    reader = open_store(path, "e" * 32, grace_s=GRACE_S)
    found = [Worker(path, B, write(B)), Worker(path, C, write(C)), Worker(path, "d" * 32, collect)]
    for worker in found:
        worker.start(random.randrange(50, 400))
    for turn in range(rounds):
        worker = found[turn % len(found)]
        worker.wait_killed()
        check(reader, worker.held)
        worker.start(random.randrange(50, 400))
    for worker in found:
        worker.wait_killed()
        check(reader, worker.held)
    settle(path, kept)


def check(reader: PinStore, held: set[int]) -> None:
    """Fail if anything that is held is not whole."""
    assert is_whole(reader, KEPT)
    for number in held:
        assert is_whole(reader, OTHERS[number]), number


def settle(path: Path, kept: PinStore) -> None:
    """Have all end but one pin, and fail if more than that is left."""
    for holder in (B, C):
        store = open_store(path, holder, grace_s=GRACE_S)
        for number, catalog in enumerate(OTHERS):
            store.end(pin_of(catalog, name_of(holder, number)))
    last = open_store(path, "d" * 32, grace_s=GRACE_S)
    while len(entries(path, "packs")) + len(entries(path, "trash")) > 1 or len(entries(path, "views")) > 2:
        last.collect()  # pytest's limit of time is the bound
    assert is_whole(kept, KEPT)
    assert entries(path, "tmp") == entries(path, "set-aside") == []


def test_pins_are_whole_while_writers_and_collectors_are_killed(tmp_path: Path) -> None:
    play(tmp_path, 9)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_pins_are_whole_while_writers_and_collectors_are_killed_many_times(tmp_path: Path) -> None:
    play(tmp_path, 600)
