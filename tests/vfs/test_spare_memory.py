"""Memory goes back to the system when the kernel has forgotten much, and only then."""

from __future__ import annotations

import threading

import pytest

from readyfs.vfs.spare_memory import MUCH, SpareMemory, trim_heap


def test_much_that_was_forgotten_is_handed_back_once() -> None:
    trimmed = threading.Semaphore(0)
    memory = SpareMemory(trimmed.release, quiet_s=0.01)
    memory.note(MUCH - 1)
    memory.note(1)
    assert trimmed.acquire(timeout=20)
    memory.note(MUCH - 1)
    assert not trimmed.acquire(blocking=False)


def test_little_is_not_worth_while() -> None:
    memory = SpareMemory(lambda: pytest.fail("trimmed"), quiet_s=0.0)
    before = threading.active_count()
    memory.note(MUCH - 1)
    assert threading.active_count() == before


def test_it_happens_again_after_it_happened() -> None:
    trimmed = threading.Semaphore(0)
    memory = SpareMemory(trimmed.release, quiet_s=0.0)
    for _ in range(3):
        memory.note(MUCH)
        assert trimmed.acquire(timeout=20)


def test_heap_can_be_trimmed() -> None:
    trim_heap()
