from __future__ import annotations

import os
from pathlib import Path

import pytest

from readyfs.control.messages import MalformedMessageError, parse_reply, render_error, render_result
from readyfs.control.protocol import ControlRequest, parse_request, render_request, socket_path
from readyfs.errors import ExitCode, NotRunningError, RefreshFailedError, StateError, UsageError, UserError


@pytest.mark.parametrize(
    "request_",
    [
        ControlRequest("status"),
        ControlRequest("refresh", wait=True),
        ControlRequest("refresh", wait=True, accept="ab" * 16),
        ControlRequest("stop"),
    ],
)
def test_request_survives_the_wire(request_: ControlRequest) -> None:
    line = render_request(request_)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert parse_request(line) == request_


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b'{"op":"format"}',
        b'{"op":["stop"]}',
        b'{"op":"refresh","wait":1}',
        b'{"op":"refresh","accept":1}',
        b"[" * 9999,
    ],
)
def test_malformed_request_is_refused(line: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse_request(line)


def test_path_that_is_not_utf_8_survives_the_wire() -> None:
    mountpoint = os.fsdecode(b"/mnt/\xff\n")
    assert parse_reply(render_result({"mountpoint": mountpoint})) == {"mountpoint": mountpoint}


@pytest.mark.parametrize("kind", [StateError, NotRunningError, RefreshFailedError, UsageError])
def test_error_comes_back_as_its_own_kind(kind: type[UserError]) -> None:
    with pytest.raises(kind) as caught:
        parse_reply(render_error(kind("the state is locked", "wait")))
    assert (caught.value.message, caught.value.remedy) == ("the state is locked", "wait")
    assert caught.value.exit_code == kind.exit_code


def test_error_with_an_unknown_exit_code_is_internal() -> None:
    with pytest.raises(UserError) as caught:
        parse_reply(b'{"error":"odd","exit_code":99}')
    assert caught.value.exit_code == ExitCode.INTERNAL


@pytest.mark.parametrize("line", [b"{}", b"[]", b'{"result":1}', b"nonsense"])
def test_malformed_reply_is_refused(line: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse_reply(line)


def test_socket_of_a_long_mount_point_fits_a_socket_address(tmp_path: Path) -> None:
    path = socket_path(Path("/run/readyfs"), Path("/", *["directory" * 20] * 10, "x" * 255))
    assert len(os.fsencode(path)) <= 107


def test_sockets_of_different_mount_points_with_one_tail_differ() -> None:
    assert socket_path(Path("/r"), Path("/a/ready")) != socket_path(Path("/r"), Path("/b/ready"))
    assert socket_path(Path("/r"), Path("/a/ready")).name.startswith("ready-")


@pytest.mark.parametrize("name", [os.fsdecode(b"\xff\n"), "..x", "a b/c", "/"])
def test_socket_name_is_plain_whatever_the_mount_point(name: str) -> None:
    path = socket_path(Path("/r"), Path("/", name))
    assert path.parent == Path("/r")
    assert path.name.isascii()
    assert path.name.isprintable()
    assert not path.name.startswith(".")


def test_runtime_directory_too_long_for_a_socket_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--runtime-dir"):
        socket_path(Path("/", "x" * 90), Path("/mnt"))
