"""The public socket as a network service: whatever comes in, one line goes out, and the others are served."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from readyfs.control import allowance, public_server
from readyfs.control.allowance import CONNECTIONS
from readyfs.control.caller import NobodyListensError
from readyfs.control.peer import Entrance, Peer
from readyfs.control.pin_requests import PinRequest, PinsRequest, RenewRequest, UnpinRequest
from readyfs.control.public_client import PublicClient
from readyfs.control.public_protocol import MAX_REQUEST_BYTES, PublicRequest, render_public_request
from readyfs.control.public_server import serve_public
from readyfs.control.question_requests import ShownRequest, WatchRequest, WhyRequest
from readyfs.errors import (
    ExitCode,
    LimitError,
    MountPointError,
    NoAnswerError,
    NoPinError,
    NotPermittedError,
    NotRunningError,
    UsageError,
    UserError,
)

T = TypeVar("T")

MOUNTPOINT = Path("/")
EVERYBODY = Entrance(0, 0, 0o555, True, 0)
NOBODY = Entrance(0, 0, 0o555, False, 4_000_000)


class Handlers:
    """A daemon's side that records what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.error: Exception | None = None
        self.listed = 1
        self.may_answer = trio.Event()
        self.may_answer.set()
        self.takes_s = 0.0
        self.watching, self.watched = trio.Event(), trio.Event()

    def entries(self, request: PublicRequest) -> int:
        return self.listed if isinstance(request, PinsRequest) else 0

    async def answer(self, request: PublicRequest, peer: Peer) -> dict[str, object]:
        if isinstance(request, WatchRequest):
            self.watching.set()
            try:
                await trio.sleep(request.timeout_s)
            finally:
                self.watched.set()
        if isinstance(request, WhyRequest):
            await trio.sleep(self.takes_s)
        if not isinstance(request, PinsRequest):
            await self.may_answer.wait()
        self.asked.append((request, peer.uid))
        if self.error is not None and not isinstance(request, PinsRequest):
            raise self.error
        return {"pins": [{"name": "job"}], "name": "job", "fingerprint": "ab" * 16}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "public" / "ready.sock"


@asynccontextmanager
async def serving(
    path: Path, handlers: Handlers, entrance: Entrance = EVERYBODY, read_timeout_s: float = 5.0
) -> AsyncIterator[trio.Nursery]:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[None]) -> None:
                await serve_public(
                    path, MOUNTPOINT, entrance, handlers, read_timeout_s=read_timeout_s, task_status=task_status
                )

            await nursery.start(serve)
            yield nursery
            nursery.cancel_scope.cancel()


async def ask(call: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(call, abandon_on_cancel=True)


async def exchange(path: Path, *pieces: bytes) -> list[dict[str, object]]:
    """Send pieces, close the sending half, and return every reply."""
    async with await trio.open_unix_socket(str(path)) as stream:
        with suppress(trio.BrokenResourceError):  # it may have been refused before it had said all
            for piece in pieces:
                await stream.send_all(piece)
            await stream.send_eof()
        received = b""
        with suppress(trio.BrokenResourceError):
            async for part in stream:
                received += part
    return [json.loads(line) for line in received.splitlines()]


def client(path: Path) -> PublicClient:
    return PublicClient(MOUNTPOINT, path)


async def test_every_verb_reaches_the_handlers_with_the_user_who_asks(path: Path) -> None:
    handlers, me = Handlers(), os.getuid()
    async with serving(path, handlers):
        asking = client(path)
        assert (await ask(lambda: asking.pin(PinRequest("job", 60.0, "why", True))))["name"] == "job"
        await ask(lambda: asking.renew("job", 5.0))
        await ask(lambda: asking.unpin("job"))
        assert await ask(lambda: asking.pins(expired=True)) == [{"name": "job"}]
        await ask(lambda: asking.watch("ab" * 16, 0.0))
        await ask(lambda: asking.why("a/b/2024-06-01"))
    assert handlers.asked == [
        (PinRequest("job", 60.0, "why", True), me),
        (RenewRequest("job", 5.0), me),
        (UnpinRequest("job"), me),
        (PinsRequest(True), me),
        (WatchRequest("ab" * 16, 0.0), me),
        (WhyRequest("a/b/2024-06-01", "/"), me),
    ]
    assert asking.view("ab" * 16) == MOUNTPOINT / ".readyfs/views" / ("ab" * 16)


@pytest.mark.parametrize(
    "error", [NoPinError("no pin", "x"), LimitError("full", "x"), NotPermittedError("not yours", "x")]
)
async def test_a_refusal_is_the_same_error_at_the_client(path: Path, error: UserError) -> None:
    handlers = Handlers()
    handlers.error = error
    async with serving(path, handlers):
        with pytest.raises(type(error), match=error.message):
            await ask(lambda: client(path).unpin("job"))


async def test_a_bug_in_a_handler_is_answered_without_its_text_and_the_server_lives(path: Path) -> None:
    handlers = Handlers()
    handlers.error = RuntimeError("password=s3cret")
    async with serving(path, handlers):
        with pytest.raises(UserError, match="internal error: RuntimeError") as caught:
            await ask(lambda: client(path).unpin("job"))
        assert "s3cret" not in str(caught.value)
        await ask(lambda: client(path).pins())


async def test_whoever_may_not_enter_is_told_nothing_but_that(path: Path) -> None:
    handlers = Handlers()
    async with serving(path, handlers, NOBODY):
        for line in (b'{"op":"pins"}\n', b'{"op":"unpin","name":"job"}\n', b"nonsense\n", b""):
            [reply] = await exchange(path, line)
            assert reply["error"] == "you may not enter this mount"
            assert reply["exit_code"] == ExitCode.NOT_PERMITTED
    assert handlers.asked == []


@pytest.mark.parametrize("line", [b'{"op":"status"}\n', b'{"op":"stop"}\n', b'{"op":"refresh","wait":true}\n'])
async def test_what_the_control_socket_does_is_not_done_here(path: Path, line: bytes) -> None:
    async with serving(path, Handlers()):
        [reply] = await exchange(path, line)
        assert "`op` is none of" in str(reply["error"])


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def test_everybody_may_enter_the_directory_and_connect_and_nobody_may_list_it(path: Path) -> None:
    before = os.umask(0o077)
    try:
        async with serving(path, Handlers()):
            assert mode_of(path) == 0o666
            assert mode_of(path.parent) == 0o711
            assert os.listdir(path.parent) == [path.name]
    finally:
        os.umask(before)
    assert os.listdir(path.parent) == []


async def test_a_directory_that_the_service_manager_closed_is_opened(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    async with serving(path, Handlers()):
        assert mode_of(path.parent) == 0o711


def plant_file(path: Path) -> None:
    path.write_bytes(b"")


def plant_open_directory(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def plant_foreign_directory(path: Path) -> None:
    path.mkdir()
    os.chown(path, 4_000_001, -1)


def plant_link(path: Path) -> None:
    path.with_name("elsewhere").mkdir()
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("plant", [plant_file, plant_open_directory, plant_foreign_directory, plant_link])
async def test_a_directory_that_others_could_change_is_refused(path: Path, plant: Callable[[Path], None]) -> None:
    if plant is plant_foreign_directory and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    plant(path.parent)
    with pytest.raises(UsageError, match="directory of the public sockets") as caught:
        await serve_public(path, MOUNTPOINT, EVERYBODY, Handlers())
    assert "--public-dir" in caught.value.remedy


async def test_the_socket_of_a_living_daemon_is_left_alone(path: Path) -> None:
    async with serving(path, Handlers()):
        with pytest.raises(MountPointError, match="another readyfs daemon"):
            await serve_public(path, MOUNTPOINT, EVERYBODY, Handlers())
        await ask(lambda: client(path).pins())


# ---- too much -----------------------------------------------------------------------------------------------------


async def test_one_user_cannot_have_every_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = iter([*[1] * (CONNECTIONS + 1), 2])
    monkeypatch.setattr(public_server, "read_peer", lambda _: Peer(next(users), frozenset()))
    async with serving(path, Handlers()):
        idle = [await trio.open_unix_socket(str(path)) for _ in range(CONNECTIONS)]
        [reply] = await exchange(path, b'{"op":"pins"}\n')
        assert "too many clients" in str(reply["error"])
        [reply] = await exchange(path, b'{"op":"pins"}\n')
        assert "result" in reply
        for stream in idle:
            await stream.aclose()


async def test_a_flood_of_requests_is_cut_off_and_others_are_served(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = iter([1, 1, 2])
    monkeypatch.setattr(public_server, "read_peer", lambda _: Peer(next(users), frozenset()))
    monkeypatch.setattr(allowance, "BURST_BYTES", 1000)
    monkeypatch.setattr(allowance, "BYTES_PER_S", 1)
    monkeypatch.setattr(public_server, "RESERVE", 0)
    line = b'{"op":"pins"}\n'
    async with serving(path, Handlers()):
        replies = await exchange(path, line * 200)
        assert "too much" in str(replies[-1]["error"])
        assert all("result" in reply for reply in replies[:-1])
        [reply] = await exchange(path, line)
        assert "error" in reply
        [reply] = await exchange(path, line)
        assert "result" in reply


async def test_refreshes_cost_more_than_what_is_answered_from_memory(path: Path) -> None:
    async with serving(path, Handlers()):
        replies = await exchange(path, b'{"op":"pin","refresh":true}\n' * 20)
        assert 3 < len(replies) < 12
        assert "too much" in str(replies[-1]["error"])
        [reply] = await exchange(path, b'{"op":"pins"}\n')
        assert "result" in reply


async def test_a_long_list_costs_what_it_is_long_before_it_is_made(path: Path) -> None:
    handlers = Handlers()
    handlers.listed = 1000
    async with serving(path, handlers):
        replies = await exchange(path, b'{"op":"pins"}\n' * 100)
        assert 3 < len(replies) < 12
        assert len(handlers.asked) == len(replies) - 1
        assert "too much" in str(replies[-1]["error"])
        [reply] = await exchange(path, b'{"op":"renew","name":"job"}\n')
        assert "result" in reply


async def test_everybody_may_have_the_longest_list(path: Path) -> None:
    handlers = Handlers()
    handlers.listed = 1_000_000
    async with serving(path, handlers):
        [reply] = await exchange(path, b'{"op":"pins","expired":true}\n')
        assert "result" in reply


async def test_a_request_without_an_end_is_cut_at_the_limit(path: Path) -> None:
    async with serving(path, Handlers()):
        [reply] = await exchange(path, b"x" * (MAX_REQUEST_BYTES + 9000))
        assert "longer than" in str(reply["error"])


async def test_a_slow_client_is_told_and_dropped_while_others_are_served(path: Path) -> None:
    async with serving(path, Handlers(), read_timeout_s=0.2), await trio.open_unix_socket(str(path)) as slow:
        await slow.send_all(b'{"op":')
        await ask(lambda: client(path).pins())
        reply = json.loads(await slow.receive_some())
        assert "in time" in reply["error"]
        assert await slow.receive_some() == b""


async def test_a_connection_is_not_kept_open_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_server, "CONVERSATION_S", 0.0)
    async with serving(path, Handlers()):
        [reply] = await exchange(path, b'{"op":"pins"}\n')
        assert "open for too long" in str(reply["error"])


async def test_others_are_served_while_one_waits(path: Path) -> None:
    handlers = Handlers()
    handlers.may_answer = trio.Event()
    async with serving(path, handlers) as nursery:
        nursery.start_soon(ask, lambda: client(path).unpin("job"))
        await ask(lambda: client(path).pins())
        handlers.may_answer.set()


async def test_whoever_hangs_up_while_watching_has_its_connection_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_server, "GONE_TICK_S", 0.01)
    handlers = Handlers()
    async with serving(path, handlers):
        async with await trio.open_unix_socket(str(path)) as stream:
            await stream.send_all(render_public_request(WatchRequest("ab" * 16, 30.0)))
            await handlers.watching.wait()
            assert not handlers.watched.is_set()
        with trio.fail_after(5):
            await handlers.watched.wait()
    assert handlers.asked == []


async def test_a_refusal_of_what_takes_long_is_the_same_error_at_the_client(path: Path) -> None:
    handlers = Handlers()
    handlers.error = NotRunningError("the mount is stopping", "x")
    async with serving(path, handlers):
        with pytest.raises(NotRunningError, match="stopping"):
            await ask(lambda: client(path).watch("ab" * 16, 0.0))


async def test_a_question_for_the_state_costs_more_than_one_that_is_answered_from_memory(path: Path) -> None:
    async with serving(path, Handlers()):
        replies = await exchange(path, render_public_request(WhyRequest("a", "/")) * 300)
        assert 100 < len(replies) < 200
        assert "too much" in str(replies[-1]["error"])
        replies = await exchange(path, render_public_request(ShownRequest(("a",), "/")) * 100)
        assert len(replies) == 100
        assert all("result" in reply for reply in replies)


async def test_a_question_that_took_long_costs_its_time_and_a_lease_can_still_be_renewed(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    handlers = Handlers()
    handlers.takes_s = 10.0
    async with serving(path, handlers):
        replies = await exchange(path, render_public_request(WhyRequest("a", "/")) * 3)
        assert ["error" in reply for reply in replies] == [False, True]
        [reply] = await exchange(path, b'{"op":"renew","name":"job"}\n')
        assert "result" in reply


async def test_a_peer_that_cannot_be_told_ends_no_server(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> Peer:
        raise OSError("gone")

    async with serving(path, Handlers()):
        with monkeypatch.context() as patch:
            patch.setattr(public_server, "read_peer", fail)
            assert await exchange(path, b'{"op":"pins"}\n') == []
        await ask(lambda: client(path).pins())


_PIECES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"\n",
            b"{",
            b"[" * 2000,
            b'{"op":"pins"}\n',
            b'{"op":"pin","name":"\\ud800"}\n',
            b'{"op":"pin","lease_seconds":-1e308}\n',
            b'{"op":"unpin","name":"' + b"a" * 4000,
            b"\xff" * 5000,
        ]
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(conversations=st.lists(st.lists(_PIECES, max_size=6), min_size=1, max_size=4), hang_up=st.booleans())
def test_whatever_comes_in_only_whole_lines_go_out_and_the_next_client_is_served(
    tmp_path_factory: pytest.TempPathFactory, conversations: list[list[bytes]], hang_up: bool
) -> None:
    """Random bytes, torn lines and clients that vanish: each reply is one line that says what is wrong, or a result."""

    async def talk(path: Path, pieces: list[bytes]) -> None:
        if hang_up:
            async with await trio.open_unix_socket(str(path)) as stream:
                with suppress(trio.BrokenResourceError):
                    for piece in pieces:
                        await stream.send_all(piece)
            return
        for reply in await exchange(path, *pieces):
            assert set(reply) in ({"result"}, {"error", "remedy", "exit_code"})
            assert str(reply.get("error", "")).isprintable()

    async def scene() -> None:
        path = tmp_path_factory.mktemp("fuzz") / "public" / "s.sock"
        async with serving(path, Handlers()):
            async with trio.open_nursery() as nursery:
                for pieces in conversations:
                    nursery.start_soon(talk, path, pieces)
            [reply] = await exchange(path, b'{"op":"pins"}\n')
            assert "result" in reply

    trio.run(scene)


# ---- without a server ---------------------------------------------------------------------------------------------


def test_a_client_without_a_daemon_says_not_running(path: Path) -> None:
    with pytest.raises(NobodyListensError, match="nobody listens at the public socket"):
        client(path).pins()


def test_a_directory_that_is_no_mount_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="nothing is mounted at"):
        PublicClient(tmp_path)


def test_what_may_not_be_looked_at_on_the_way_is_no_mount_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(look: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def look_or_refuse(path: object, **how: bool) -> os.stat_result:
            if str(path).endswith(".readyfs/socket"):
                raise PermissionError(errno.EACCES, "not for you")
            return look(path, **how)

        return look_or_refuse

    monkeypatch.setattr(os, "lstat", refusing(os.lstat))
    monkeypatch.setattr(os, "stat", refusing(os.stat))
    with pytest.raises(NotRunningError, match="nothing is mounted at"):
        PublicClient(tmp_path)


@contextmanager
def full_queue(path: Path) -> Iterator[socket.socket]:
    """Listen without accepting, with no room for another client."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as busy, ExitStack() as stack:
        busy.bind(str(path))
        busy.listen(0)
        busy.settimeout(20)
        for _ in range(3):
            one = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            one.connect_ex(str(path))
        yield busy


def test_a_full_queue_is_waited_for_so_long(path: Path) -> None:
    with full_queue(path), pytest.raises(NoAnswerError, match="does not take connections"):
        PublicClient(MOUNTPOINT, path).pin(PinRequest(), 0.2)


def test_a_queue_that_was_full_is_joined_when_there_is_room(path: Path) -> None:
    with full_queue(path) as busy:

        def answer() -> None:
            idle, _ = busy.accept()
            idle.close()
            connection, _ = busy.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b'{"result":{"a":1}}\n')

        answering = threading.Thread(target=answer)
        found: list[dict[str, object]] = []
        asking = threading.Thread(target=lambda: found.append(PublicClient(MOUNTPOINT, path).unpin("job")))
        for thread in (asking, answering):
            thread.start()
        for thread in (asking, answering):
            thread.join(20)
        assert found == [{"a": 1}]
