from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from readyfs.control.client import ControlClient
from readyfs.control.protocol import MAX_REQUEST_BYTES
from readyfs.control.runtime_dir import read_registration
from readyfs.control.server import MAX_CONNECTIONS, serve_control
from readyfs.control.socket_place import is_listening
from readyfs.errors import MountPointError, NoAnswerError, NotRunningError, RefreshFailedError, UsageError, UserError

T = TypeVar("T")

MOUNTPOINT = "/mnt/ready"


class Handlers:
    """A daemon's side that records what was asked of it."""

    def __init__(self) -> None:
        self.stopped = trio.Event()
        self.refresh_may_end = trio.Event()
        self.refresh_error: Exception | None = None
        self.padding = ""
        self.nonsense = False

    def status(self) -> dict[str, object]:
        if self.nonsense:
            raise RuntimeError("password=s3cret")
        return {"mountpoint": MOUNTPOINT, "padding": self.padding}

    async def refresh(self, wait: bool, accept: str | None) -> dict[str, object]:
        if wait:
            await self.refresh_may_end.wait()
        if self.refresh_error is not None:
            raise self.refresh_error
        return {"waited": wait}

    def stop(self) -> None:
        self.stopped.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "run" / "ready.sock"


@asynccontextmanager
async def serving(path: Path, handlers: Handlers, read_timeout_s: float = 5.0) -> AsyncIterator[trio.Nursery]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[None]) -> None:
                await serve_control(path, handlers, read_timeout_s=read_timeout_s, task_status=task_status)

            await nursery.start(serve)
            yield nursery
            nursery.cancel_scope.cancel()


async def ask(call: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(call, abandon_on_cancel=True)


async def exchange(path: Path, *pieces: bytes) -> list[dict[str, object]]:
    """Send pieces, close the sending half, and return every reply."""
    async with await trio.open_unix_socket(str(path)) as stream:
        for piece in pieces:
            await stream.send_all(piece)
        await stream.send_eof()
        received = b"".join([part async for part in stream])
    return [json.loads(line) for line in received.splitlines()]


async def test_status_refresh_and_stop_reach_the_handlers(path: Path) -> None:
    handlers = Handlers()
    async with serving(path, handlers):
        client = ControlClient(path)
        assert (await ask(client.status))["mountpoint"] == MOUNTPOINT
        assert await ask(lambda: client.refresh(wait=False)) == {"waited": False}
        assert await ask(client.stop) == {}
        assert handlers.stopped.is_set()


async def test_stop_is_answered_although_it_ends_the_server(path: Path) -> None:
    handlers = Handlers()
    async with serving(path, handlers) as nursery:
        handlers.stop = nursery.cancel_scope.cancel  # type: ignore[method-assign]
        with trio.CancelScope(shield=True):
            assert await ask(ControlClient(path).stop) == {}


async def test_waiting_refresh_returns_when_it_has_ended(path: Path) -> None:
    handlers = Handlers()
    async with serving(path, handlers) as nursery:
        answers: list[dict[str, object]] = []
        answered = trio.Event()

        async def refresh() -> None:
            answers.append(await ask(lambda: ControlClient(path, 20).refresh(wait=True)))
            answered.set()

        nursery.start_soon(refresh)
        await ask(ControlClient(path).status)
        assert not answered.is_set()
        handlers.refresh_may_end.set()
        await answered.wait()
        assert answers == [{"waited": True}]


async def test_failed_refresh_is_the_same_error_at_the_client(path: Path) -> None:
    handlers = Handlers()
    handlers.refresh_error = RefreshFailedError("the state is locked", "wait")
    async with serving(path, handlers):
        with pytest.raises(RefreshFailedError, match="the state is locked; wait"):
            await ask(lambda: ControlClient(path).refresh(wait=False))


async def test_bug_in_a_handler_is_answered_without_its_text_and_the_server_lives(path: Path) -> None:
    handlers = Handlers()
    async with serving(path, handlers):
        handlers.nonsense = True
        with pytest.raises(UserError, match="internal error: RuntimeError") as caught:
            await ask(ControlClient(path).status)
        assert "s3cret" not in str(caught.value)
        handlers.nonsense = False
        await ask(ControlClient(path).status)


async def test_several_requests_share_a_connection(path: Path) -> None:
    async with serving(path, Handlers()):
        replies = await exchange(path, b'{"op":"sta', b'tus"}\n{"op":"refresh"}\n')
        assert [next(iter(reply)) for reply in replies] == ["result", "result"]


@pytest.mark.parametrize("line", [b"hello\n", b'{"op":"format"}\n', b"\n", b"\xff\xfe\n"])
async def test_malformed_request_is_answered_with_an_error(path: Path, line: bytes) -> None:
    async with serving(path, Handlers()):
        [reply] = await exchange(path, line)
        assert "malformed" in str(reply["error"])
        await ask(ControlClient(path).status)


async def test_request_without_an_end_is_cut_at_the_limit(path: Path) -> None:
    async with serving(path, Handlers()):
        async with await trio.open_unix_socket(str(path)) as stream:
            await stream.send_all(b"x" * (MAX_REQUEST_BYTES + 1))
            reply = json.loads(await stream.receive_some())
        assert "longer than" in reply["error"]


async def test_slow_client_is_told_and_dropped_while_others_are_served(path: Path) -> None:
    async with serving(path, Handlers(), read_timeout_s=0.2), await trio.open_unix_socket(str(path)) as slow:
        await slow.send_all(b'{"op":')
        await ask(ControlClient(path).status)
        reply = json.loads(await slow.receive_some())
        assert "in time" in reply["error"]
        assert await slow.receive_some() == b""


async def test_client_that_never_reads_is_dropped(path: Path) -> None:
    handlers = Handlers()
    handlers.padding = "x" * 2_000_000
    async with serving(path, handlers, read_timeout_s=0.2):
        async with await trio.open_unix_socket(str(path)) as deaf:
            await deaf.send_all(b'{"op":"status"}\n')
            await wait_hung_up(deaf)
        assert len(str((await ask(ControlClient(path).status))["padding"])) == 2_000_000


async def wait_hung_up(stream: trio.SocketStream) -> None:
    with pytest.raises(trio.BrokenResourceError):
        while True:
            await stream.send_all(b"\n")
            await trio.sleep(0.01)


async def test_client_that_hangs_up_before_the_answer_disturbs_nobody(path: Path) -> None:
    handlers = Handlers()
    handlers.padding = "x" * 2_000_000
    async with serving(path, handlers):
        for _ in range(5):
            async with await trio.open_unix_socket(str(path)) as stream:
                await stream.send_all(b'{"op":"status"}\n')
        await ask(ControlClient(path).status)


async def test_too_many_clients_are_refused_not_queued_for_ever(path: Path) -> None:
    async with serving(path, Handlers()):
        idle = [await trio.open_unix_socket(str(path)) for _ in range(MAX_CONNECTIONS)]
        await ask(lambda: None)
        with pytest.raises(UserError, match="too many clients"):
            await ask(ControlClient(path).status)
        for stream in idle:
            await stream.aclose()
        with trio.fail_after(5):
            while True:
                try:
                    await ask(ControlClient(path).status)
                    break
                except UserError:
                    await trio.sleep(0.01)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def test_socket_is_for_the_owner_alone_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        async with serving(path, Handlers()):
            assert mode_of(path) == 0o600
            assert mode_of(path.parent) == 0o700
    finally:
        os.umask(before)


async def test_server_registers_its_mount_point_and_process(path: Path) -> None:
    async with serving(path, Handlers()):
        registration = read_registration(path)
        assert registration is not None
        assert (str(registration.mountpoint), registration.pid) == (MOUNTPOINT, os.getpid())
        assert await ask(ControlClient(path).peer_pid) == os.getpid()


async def test_socket_and_registration_are_gone_at_the_end(path: Path) -> None:
    async with serving(path, Handlers()):
        pass
    assert os.listdir(path.parent) == []


async def test_stale_socket_of_a_dead_daemon_is_replaced(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(path, Handlers()):
        await ask(ControlClient(path).status)


async def test_socket_of_a_living_daemon_is_left_alone(path: Path) -> None:
    async with serving(path, Handlers()):
        with pytest.raises(MountPointError, match="another readyfs daemon"):
            await serve_control(path, Handlers())
        await ask(ControlClient(path).status)


async def test_socket_of_a_hung_daemon_is_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen(0)
        waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(3)]
        for one in waiting:
            one.connect_ex(str(path))
        with pytest.raises(MountPointError):
            await serve_control(path, Handlers())
        for one in waiting:
            one.close()


async def test_successor_of_a_server_keeps_its_socket(path: Path) -> None:
    async with serving(path, Handlers()):
        os.unlink(path)
        successor = socket.socket(socket.AF_UNIX)
        successor.bind(str(path))
        successor.listen()
    assert is_listening(path)
    successor.close()


async def test_directory_that_vanished_does_not_fail_the_end(path: Path) -> None:
    async with serving(path, Handlers()):
        shutil.rmtree(path.parent)


async def test_runtime_directory_of_others_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(UsageError, match="written by others"):
        await serve_control(path, Handlers())


def test_client_without_a_daemon_says_not_running(path: Path) -> None:
    with pytest.raises(NotRunningError, match="/mnt/x"):
        ControlClient(path, mountpoint=Path("/mnt/x")).status()


def test_client_of_a_dead_daemon_says_not_running(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NotRunningError):
        ControlClient(path).status()


def test_client_of_a_hung_daemon_gives_up_in_time(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen()
        began = time.monotonic()
        with pytest.raises(NoAnswerError, match="within 200ms"):
            ControlClient(path, 0.2).status()
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("reply", [b"", b"{}\n", b"garbage\n", b'{"result"'])
def test_client_of_a_confused_server_says_no_answer(path: Path, reply: bytes) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(NoAnswerError):
            ControlClient(path, 5).status()
        thread.join()


def test_client_does_not_trust_a_directory_that_others_can_write(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(UsageError):
        ControlClient(path).status()
