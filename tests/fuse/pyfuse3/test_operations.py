"""pyfuse3's handlers, called directly: what they answer, and that nothing but an errno ever leaves them."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import pyfuse3
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from readyfs import errors
from readyfs.fuse.pyfuse3.operations import Operations
from readyfs.fuse.pyfuse3.raw_calls import RawCalls
from readyfs.vfs.attributes import FOREVER_S, Presentation
from readyfs.vfs.filesystem import Filesystem
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber
from tests.catalog.rows import JUNE_1, Row
from tests.vfs.place import DAY_1, METADATA, PAYLOAD, Place, named

PATIENCE_S: Final = 20.0
Call = Callable[[Operations], Awaitable[object]]

CALLS: Final[dict[str, Call]] = {
    "lookup": lambda ops: ops.lookup(1, b"x", None),
    "getattr": lambda ops: ops.getattr(1, None),
    "readdir": lambda ops: ops.readdir(1, 0, cast(pyfuse3.ReaddirToken, None)),
    "open": lambda ops: ops.open(1, 0, None),
    "read": lambda ops: ops.read(1, 0, 1),
    "release": lambda ops: ops.release(1),
    "getxattr": lambda ops: ops.getxattr(1, b"user.x", None),
    "listxattr": lambda ops: ops.listxattr(1, None),
}
"""Every handler that asks the filesystem."""

ERRNOS: Final = [
    (errors.NotADirectoryNodeError(), errno.ENOTDIR),
    (errors.IsADirectoryNodeError(), errno.EISDIR),
    (errors.BrokenRunError("x"), errno.EIO),
    (errors.StaleCatalogError(), errno.EIO),
    (errors.StaleHandleError("x"), errno.ESTALE),
    (errors.NoSuchAttributeError(), errno.ENODATA),
    (errors.AttributesUnsupportedError(), errno.ENOTSUP),
    (errors.AttributesDisabledError(), errno.ENOSYS),
    (errors.TooManyHandlesError("x"), errno.ENFILE),
]


class FailingFilesystem:
    """Raises one error from whatever it is asked, on the serving thread or on a worker."""

    def __init__(self, error: BaseException, *, in_memory: bool = True) -> None:
        self._error = error
        self._in_memory = in_memory

    def __getattr__(self, name: str) -> object:
        if name == "is_in_memory":
            return lambda inode: self._in_memory

        def fail(*arguments: object, may_block: bool = True, **others: object) -> object:
            if not may_block and not self._in_memory:
                raise errors.WouldBlockError
            raise self._error

        return fail


def failing(error: BaseException, *, in_memory: bool = True) -> Operations:
    return Operations(cast(Filesystem, FailingFilesystem(error, in_memory=in_memory)), RawCalls(2, PATIENCE_S))


async def errno_of_call(call: Call, operations: Operations) -> int:
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await call(operations)
    return caught.value.errno


def test_failing_filesystem_fails_as_told() -> None:
    fake: Any = FailingFilesystem(KeyError("x"), in_memory=False)
    with pytest.raises(errors.WouldBlockError):
        fake.lookup(1, b"x", may_block=False)
    with pytest.raises(KeyError):
        fake.lookup(1, b"x", may_block=True)
    assert fake.is_in_memory(1) is False


# ---- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(("error", "number"), ERRNOS, ids=lambda value: type(value).__name__)
async def test_error_of_ours_becomes_its_errno(operation: str, error: errors.FilesystemError, number: int) -> None:
    operations = failing(error)
    with capture_logs() as logs:
        assert await errno_of_call(CALLS[operation], operations) == number
    assert operations.tally.requests() == {operation: 1}
    assert operations.tally.errors_by_errno() == {errno.errorcode[number]: 1}
    assert logs == []


@pytest.mark.parametrize("operation", ["lookup", "readdir", "open"])
async def test_error_on_a_worker_thread_becomes_its_errno(operation: str) -> None:
    operations = failing(errors.BrokenRunError("x"), in_memory=False)
    assert await errno_of_call(CALLS[operation], operations) == errno.EIO


@pytest.mark.parametrize("operation", CALLS)
async def test_system_error_is_passed_on_and_logged(operation: str) -> None:
    operations = failing(OSError(errno.ENOSPC, "full"))
    with capture_logs() as logs:
        assert await errno_of_call(CALLS[operation], operations) == errno.ENOSPC
    assert [(line["log_level"], line["operation"]) for line in logs] == [("warning", operation)]
    assert operations.tally.errors_by_errno() == {"ENOSPC": 1}


async def test_raw_store_that_does_not_answer_is_an_io_error_and_logged() -> None:
    operations = failing(errors.RawStoreUnresponsiveError("the raw store does not answer"))
    with capture_logs() as logs:
        assert await errno_of_call(CALLS["open"], operations) == errno.EIO
    assert [(line["log_level"], line["event"]) for line in logs] == [("warning", "request failed")]


@pytest.mark.parametrize("error", [OSError("no number"), OSError(0, "zero")])
async def test_system_error_without_a_number_is_an_io_error(error: OSError) -> None:
    """Zero would be taken for success."""
    assert await errno_of_call(CALLS["getattr"], failing(error)) == errno.EIO


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(
    "error", [KeyError("x"), AssertionError(), RecursionError(), UnicodeDecodeError("a", b"", 0, 0, "x")]
)
async def test_unexpected_exception_is_an_io_error_with_its_traceback_logged(operation: str, error: Exception) -> None:
    """A bug must not end the mount."""
    operations = failing(error)
    with capture_logs() as logs:
        assert await errno_of_call(CALLS[operation], operations) == errno.EIO
    assert [(line["log_level"], line["operation"], line["exc_info"]) for line in logs] == [("error", operation, True)]
    assert operations.tally.errors_by_errno() == {"EIO": 1}


async def test_unexpected_exception_on_a_worker_thread_is_an_io_error() -> None:
    with capture_logs() as logs:
        assert await errno_of_call(CALLS["open"], failing(ZeroDivisionError(), in_memory=False)) == errno.EIO
    assert [line["log_level"] for line in logs] == ["error"]


async def test_absent_name_that_must_not_be_remembered_is_enoent(place: Place) -> None:
    operations = serve(place)
    control = place.inode(b".readyfs")
    assert await errno_of_call(lambda ops: ops.lookup(control, b"x", None), operations) == errno.ENOENT
    assert operations.tally.errors_by_errno() == {}


@pytest.mark.parametrize("operation", ["lookup", "readdir", "open", "read"])
async def test_cancellation_passes_through(operation: str, place: Place) -> None:
    """The end of the daemon gives up requests that wait for a hanging raw store."""
    place.serve(Row())
    operations = serve(place)
    day, hanging, release = place.day(), threading.Event(), threading.Event()
    inode = place.inode(PAYLOAD, start=day)
    handle = place.fs.open_file(inode).handle
    place.runs.report_damage(Row().partition, named("to be asked for again"))

    def hang(asked: str) -> None:
        hanging.set()
        assert release.wait(PATIENCE_S)

    place.store.before = hang
    if operation == "read":
        place.fs.read = lambda *arguments: cast(bytes, hang("read"))  # type: ignore[method-assign] # it hangs
    call: Call = {
        "lookup": lambda ops: ops.lookup(day, PAYLOAD, None),
        "readdir": lambda ops: ops.readdir(day, 0, cast(pyfuse3.ReaddirToken, None)),
        "open": lambda ops: ops.open(inode, 0, None),
        "read": lambda ops: ops.read(handle, 0, 1),
    }[operation]
    async with trio.open_nursery() as nursery:
        scope = await nursery.start(cancellable, call, operations)
        assert await trio.to_thread.run_sync(hanging.wait, PATIENCE_S)
        scope.cancel()
    release.set()
    assert scope.cancelled_caught
    assert operations.tally.errors_by_errno() == {}
    assert operations_waiting(operations) == []


async def cancellable(
    call: Call, operations: Operations, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await call(operations)


def operations_waiting(operations: Operations) -> list[str]:
    return [call.operation for call in operations._raw.waiting_longer_than(0.0)]


# ---- answers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "raw")


def serve(place: Place) -> Operations:
    return Operations(place.fs, RawCalls(2, PATIENCE_S))


async def test_lookup_answers_all_attributes_of_the_node(place: Place) -> None:
    """V9: st_nlink 1, all times alike, st_blocks in units of 512."""
    directory = place.serve(Row(), b"x" * 600)
    operations = serve(place)
    day = place.day()
    entry = await operations.lookup(day, PAYLOAD, None)
    assert entry.st_ino == place.inode(PAYLOAD, start=day)
    assert entry.generation == 0
    assert (entry.st_mode, entry.st_nlink, entry.st_uid, entry.st_gid) == (0o100444, 1, 7, 8)
    assert (entry.st_size, entry.st_blocks, entry.st_blksize) == (600, 2, 128 * 1024)
    mtime_ns = (directory / "payload.jsonl").stat().st_mtime_ns
    assert {entry.st_atime_ns, entry.st_mtime_ns, entry.st_ctime_ns} == {mtime_ns}
    assert entry.entry_timeout == entry.attr_timeout == FOREVER_S
    again = await operations.getattr(entry.st_ino, None)
    assert (again.st_ino, again.st_size, again.attr_timeout) == (entry.st_ino, 600, FOREVER_S)


async def test_absent_name_is_an_answer_that_the_kernel_may_remember(place: Place) -> None:
    """Inode 0 with a time is FUSE's negative entry; it counts no lookup."""
    operations = serve(place)
    entry = await operations.lookup(ROOT_INODE, b"absent", None)
    assert entry.st_ino == 0
    assert entry.entry_timeout == 2.0
    assert len(place.fs.inodes) == 1


async def test_name_above_a_run_is_answered_on_the_serving_thread(place: Place) -> None:
    """A raw store whose every thread hangs holds up no lookup of what is ready."""
    place.publish(Row())
    operations = Operations(place.fs, cast(RawCalls, None))
    customer = await operations.lookup(ROOT_INODE, b"c", None)
    query = await operations.lookup(customer.st_ino, b"q", None)
    day = await operations.lookup(query.st_ino, DAY_1, None)
    await operations.getattr(day.st_ino, None)
    handle = await operations.opendir(query.st_ino, None)
    await operations.releasedir(handle)
    await operations.listxattr(day.st_ino, None)


async def test_forget_lowers_the_counts_of_every_inode_named(place: Place) -> None:
    place.publish(Row(customer=b"c1"), Row(customer=b"c2"))
    operations = serve(place)
    one = await operations.lookup(ROOT_INODE, b"c1", None)
    two = await operations.lookup(ROOT_INODE, b"c2", None)
    await operations.lookup(ROOT_INODE, b"c2", None)
    await operations.forget([(one.st_ino, 1), (two.st_ino, 1), (99, 5)])
    assert place.fs.inodes.peek(InodeNumber(one.st_ino)) is None
    assert place.fs.inodes.peek(InodeNumber(two.st_ino)) is not None
    assert operations.tally.requests()["forget"] == 1


async def test_file_is_opened_read_and_closed(place: Place) -> None:
    place.serve(Row(), b"hello")
    operations = serve(place)
    opened = await operations.open(place.inode(b"c", b"q", DAY_1, PAYLOAD), os.O_RDONLY, None)
    assert (opened.keep_cache, opened.direct_io) == (True, False)
    assert await operations.read(opened.fh, 1, 3) == b"ell"
    await operations.release(opened.fh)
    assert await errno_of_call(lambda ops: ops.read(opened.fh, 0, 1), operations) == errno.ESTALE
    assert operations.tally.requests() == {"open": 1, "read": 2, "release": 1}


async def test_control_file_bypasses_the_page_cache_and_the_worker_threads(place: Place) -> None:
    place.fs.serve_status(lambda: b"{}")
    operations = Operations(place.fs, cast(RawCalls, None))
    opened = await operations.open(place.inode(b".readyfs", b"status.json"), os.O_RDONLY, None)
    assert (opened.keep_cache, opened.direct_io) == (False, True)
    assert await operations.read(opened.fh, 0, 100) == b"{}"


async def test_statfs_has_nothing_to_fill(place: Place) -> None:
    place.publish(Row(), Row(date=JUNE_1 + 1))
    data = await serve(place).statfs(None)
    assert (data.f_files, data.f_ffree, data.f_blocks, data.f_bavail) == (0, 0, 0, 0)
    assert data.f_namemax == 255
    assert data.f_bsize == data.f_frsize > 0


async def test_xattrs_are_passed_through(place: Place) -> None:
    place.publish(Row())
    operations = serve(place)
    assert await operations.getxattr(place.day(), b"user.readyfs.run_id", None) == b"r1"
    assert b"user.readyfs.run_id" in await operations.listxattr(place.day(), None)


async def test_xattrs_that_are_off_have_the_kernel_stop_asking(tmp_path: Path) -> None:
    place = Place(tmp_path / "raw", look=Presentation(0, 0, xattrs=False))
    operations = serve(place)
    assert await errno_of_call(lambda ops: ops.getxattr(1, b"user.x", None), operations) == errno.ENOSYS


@pytest.mark.parametrize("call", [lambda ops: ops.flush(1), lambda ops: ops.access(1, 4, None)])
async def test_what_the_kernel_can_decide_alone_it_is_told_to_stop_asking(call: Call, place: Place) -> None:
    assert await errno_of_call(call, serve(place)) == errno.ENOSYS


# ---- readdir ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reply:
    """The kernel's buffer: takes so many entries and no more."""

    room: int
    taken: list[tuple[bytes, int, int]] = field(default_factory=list)

    def __call__(self, token: object, name: bytes, attributes: pyfuse3.EntryAttributes, next_id: int) -> bool:
        if len(self.taken) == self.room:
            return False
        self.taken.append((name, attributes.st_ino, next_id))
        return True

    @property
    def names(self) -> list[bytes]:
        return [name for name, _, _ in self.taken]


async def read_directory(
    operations: Operations, handle: int, position: int, room: int, monkeypatch: pytest.MonkeyPatch
) -> Reply:
    reply = Reply(room)
    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    await operations.readdir(handle, position, cast(pyfuse3.ReaddirToken, None))
    return reply


async def test_readdir_counts_exactly_what_the_kernel_took(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """READDIRPLUS counts a lookup for each entry but the dots; what did not fit was never handed out."""
    place.publish(*(Row(customer=b"c%d" % number) for number in range(5)))
    operations = serve(place)
    handle = await operations.opendir(ROOT_INODE, None)
    reply = await read_directory(operations, handle, 0, 4, monkeypatch)
    assert reply.names == [b".", b"..", b"c0", b"c1"]
    assert len(place.fs.inodes) == 3
    for _, inode, _ in reply.taken[2:]:
        assert place.fs.inodes.lookups(InodeNumber(inode)) == 1
    assert place.fs.inodes.lookups(ROOT_INODE) == 1


async def test_readdir_goes_on_where_the_buffer_was_full(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.publish(*(Row(customer=b"c%d" % number) for number in range(5)))
    operations = serve(place)
    handle = await operations.opendir(ROOT_INODE, None)
    names: list[bytes] = []
    position = 0
    while (reply := await read_directory(operations, handle, position, 2, monkeypatch)).taken:
        names += reply.names
        position = reply.taken[-1][2]
    assert names == [b".", b"..", b"c0", b"c1", b"c2", b"c3", b"c4"]


async def test_readdir_of_a_run_asks_the_raw_store_on_a_worker(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.serve(Row())
    operations = serve(place)
    handle = await operations.opendir(place.day(), None)
    serving, asked = threading.get_ident(), []
    place.store.before = lambda operation: asked.append(threading.get_ident())
    reply = await read_directory(operations, handle, 0, 99, monkeypatch)
    assert reply.names == [b".", b"..", METADATA, PAYLOAD]
    assert asked
    assert serving not in asked


async def test_readdir_of_a_directory_that_is_not_known_is_stale(place: Place) -> None:
    operations = serve(place)
    handle = await operations.opendir(99, None)
    token = cast(pyfuse3.ReaddirToken, None)
    assert await errno_of_call(lambda ops: ops.readdir(handle, 0, token), operations) == errno.ESTALE
    await operations.releasedir(handle)


# ---- the raw store's threads --------------------------------------------------------------------------------------


async def test_hanging_raw_store_holds_up_its_own_readers_only(place: Place) -> None:
    """V11: what is ready can be listed while every worker thread hangs."""
    place.serve(Row())
    operations = serve(place)
    day, hanging, release = place.day(), threading.Semaphore(0), threading.Event()

    def hang(asked: str) -> None:
        hanging.release()
        assert release.wait(PATIENCE_S)

    place.store.before = hang
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(operations.lookup, day, PAYLOAD, None)
        for _ in range(2):  # as many as there are threads
            assert await trio.to_thread.run_sync(lambda: hanging.acquire(timeout=PATIENCE_S))
        await trio.testing.wait_all_tasks_blocked()
        assert operations_waiting(operations) == ["lookup"] * 4
        with trio.fail_after(PATIENCE_S):
            await operations.lookup(ROOT_INODE, b"c", None)
            await operations.statfs(None)
        release.set()
    assert operations_waiting(operations) == []


async def test_lookup_that_was_given_up_is_not_counted(place: Place) -> None:
    """The kernel never learned of the node, so it will never forget it."""
    place.serve(Row())
    day = place.day()
    operations, release = Operations(place.fs, RawCalls(1, 0.01)), threading.Event()
    held = len(place.fs.inodes)
    worker_done = hang_once(place, release)
    assert await errno_of_call(lambda ops: ops.lookup(day, PAYLOAD, None), operations) == errno.EIO
    release.set()
    await until(lambda: worker_done() and len(place.fs.inodes) == held)


async def test_open_that_was_given_up_leaves_no_handle(place: Place) -> None:
    place.serve(Row())
    inode = place.inode(b"c", b"q", DAY_1, PAYLOAD)
    operations, release = Operations(place.fs, RawCalls(1, 0.01)), threading.Event()
    worker_done = hang_once(place, release)
    assert await errno_of_call(lambda ops: ops.open(inode, os.O_RDONLY, None), operations) == errno.EIO
    release.set()
    await until(lambda: worker_done() and len(place.fs.handles) == 0)


def hang_once(place: Place, release: threading.Event) -> Callable[[], bool]:
    """Make the raw store hang; return what tells whether it has answered."""
    threads: list[threading.Thread] = []

    def hang(asked: str) -> None:
        threads.append(threading.current_thread())
        assert release.wait(PATIENCE_S)
        place.store.before = lambda asked: None

    place.store.before = hang
    return lambda: bool(threads) and place.store.before is not hang


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - a worker thread makes it so
            await trio.sleep(0.001)


async def test_init_says_that_the_mount_is_served(place: Place) -> None:
    operations = serve(place)
    assert not operations.served.is_set()
    operations.init()
    assert operations.served.is_set()
