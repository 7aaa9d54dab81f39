from __future__ import annotations

import threading
import time

import pytest

from readyfs.errors import StaleHandleError, TooManyHandlesError
from readyfs.raw.store import RawStat
from readyfs.vfs.handles import HandleNumber, HandleTable, MemoryFileHandle, RawFileHandle
from readyfs.vfs.inode_number import NodeKind
from readyfs.vfs.nodes import control_file, raw_node
from tests.catalog.rows import Row
from tests.vfs.place import PAYLOAD, Place

CONTROL = control_file(b"x", 1, b"", 0)
NODE = raw_node(NodeKind.RAW_FILE, Row().partition, (), (PAYLOAD,), RawStat(0, 0))


class CountedFile:
    """A raw file that notes how often it was closed."""

    stat = RawStat(0, 0)

    def __init__(self) -> None:
        self.closed = 0

    def pread(self, size: int, offset: int) -> bytes:
        return b""

    def current_stat(self) -> RawStat:
        return self.stat

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.closed += 1


def test_removed_handle_is_unknown_and_its_file_closed_once() -> None:
    table, file = HandleTable(1), CountedFile()
    number = table.add(RawFileHandle(NODE, file))
    assert table.get(number, RawFileHandle).file is file
    table.remove(number)
    table.remove(number)
    assert file.closed == 1
    assert table.peek(number) is None
    with pytest.raises(StaleHandleError):
        table.get(number, RawFileHandle)


def test_handle_of_another_kind_is_refused() -> None:
    table = HandleTable(1)
    number = table.add(MemoryFileHandle(CONTROL))
    with pytest.raises(StaleHandleError):
        table.get(number, RawFileHandle)


def test_numbers_are_never_used_again() -> None:
    """A late request for a closed handle must not meet another one."""
    table = HandleTable(1)
    numbers = []
    for _ in range(5):
        numbers.append(table.add(MemoryFileHandle(CONTROL)))
        table.remove(numbers[-1])
    assert len(set(numbers)) == 5
    assert 0 not in numbers


def test_open_files_are_limited_and_nothing_else_is() -> None:
    table = HandleTable(2)
    first = table.add(RawFileHandle(NODE, CountedFile()))
    table.add(RawFileHandle(NODE, CountedFile()))
    with pytest.raises(TooManyHandlesError):
        table.add(RawFileHandle(NODE, CountedFile()))
    table.add(MemoryFileHandle(CONTROL))
    table.add(MemoryFileHandle(CONTROL))
    table.remove(first)
    table.add(RawFileHandle(NODE, CountedFile()))
    assert len(table) == 4


def test_refused_open_leaves_no_descriptor_behind(place: Place) -> None:
    place.max_open_files = 1
    place.__post_init__()
    place.serve(Row())
    held = place.open(b"c", b"q", b"2024-06-01", PAYLOAD)
    opened: list[CountedFile] = []
    real = place.store.open_file

    def counting(*arguments: object) -> CountedFile:
        file = CountedFile()
        file.stat = real(*arguments).stat  # type: ignore[arg-type] # passed on
        opened.append(file)
        return file

    place.store.open_file = counting  # type: ignore[method-assign, assignment] # a spy
    with pytest.raises(TooManyHandlesError):
        place.open(b"c", b"q", b"2024-06-01", b"metadata.json")
    assert [file.closed for file in opened] == [1]
    place.fs.close_file(held)
    place.open(b"c", b"q", b"2024-06-01", b"metadata.json")


class YieldingLimit(int):
    """A limit that lets another thread run between the look at it and what follows."""

    def __le__(self, other: int) -> bool:
        time.sleep(0)
        return super().__le__(other)


def test_table_holds_with_many_threads() -> None:
    limit, threads = 5, 6
    table = HandleTable(YieldingLimit(limit))
    given: list[HandleNumber] = []
    files: list[CountedFile] = []
    refused = [0] * threads
    errors: list[BaseException] = []
    start = threading.Barrier(threads)

    def hammer(own: int) -> None:
        start.wait()
        try:
            for _ in range(200):
                mine = []
                for _ in range(2):
                    file = CountedFile()
                    try:
                        mine.append(table.add(RawFileHandle(NODE, file)))
                        files.append(file)
                    except TooManyHandlesError:
                        refused[own] += 1
                given.extend(mine)
                assert len(table) <= limit
                assert sum(1 for number in mine if table.peek(number)) == len(mine)
                for number in mine:
                    table.remove(number)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)

    workers = [threading.Thread(target=hammer, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
        assert not worker.is_alive()
    assert not errors
    assert len(set(given)) == len(given)
    assert {file.closed for file in files} == {1}
    assert len(table) == 0
    for _ in range(limit):  # the count of open files came back to nothing
        table.add(RawFileHandle(NODE, CountedFile()))
    with pytest.raises(TooManyHandlesError):
        table.add(RawFileHandle(NODE, CountedFile()))
