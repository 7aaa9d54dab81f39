"""Who may ask over the public socket: whom the kernel would let into the mount, as the kernel names them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from readyfs.control.peer import Entrance, Peer, read_peer
from readyfs.privileges import Capability, has_capability

OWNER, GROUP, MOUNTER = 1001, 2001, 1005


def entrance(mode: int = 0o555, *, allow_other: bool = True) -> Entrance:
    return Entrance(OWNER, GROUP, mode, allow_other, MOUNTER)


def peer(uid: int, *groups: int) -> Peer:
    return Peer(uid, frozenset(groups))


@pytest.mark.parametrize(
    ("mode", "admitted"),
    [
        (0o555, {"owner", "member", "other"}),
        (0o550, {"owner", "member"}),
        (0o500, {"owner"}),
        (0o510, {"owner", "member"}),
        (0o511, {"owner", "member", "other"}),
        (0o554, {"owner", "member"}),
        (0o055, {"member", "other"}),  # the owner's bits count for the owner, whatever the others' say
        (0o505, {"owner", "other"}),
        (0o440, set()),
    ],
)
def test_the_mode_of_the_root_decides_as_for_the_kernel(mode: int, admitted: set[str]) -> None:
    who = {"owner": peer(OWNER, 5, GROUP), "member": peer(7, 5, GROUP), "other": peer(7, 5)}
    assert {name for name, one in who.items() if entrance(mode).admits(one)} == admitted


def test_root_may_enter_whatever_the_mode() -> None:
    assert entrance(0o000).admits(peer(0, 0))


@pytest.mark.parametrize("uid", [0, OWNER, 7])
def test_without_allow_other_the_mounting_user_alone_may_enter(uid: int) -> None:
    assert entrance(allow_other=False).admits(peer(MOUNTER, 9))
    assert not entrance(allow_other=False).admits(peer(uid, GROUP))


def test_operators_are_root_and_who_mounted() -> None:
    assert [uid for uid in (0, OWNER, MOUNTER, 7) if entrance().is_operator(peer(uid))] == [0, MOUNTER]


def test_a_peer_is_whom_the_kernel_names() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert read_peer(ours) == Peer(os.getuid(), frozenset({os.getgid(), *os.getgroups()}))


@pytest.mark.skipif(not has_capability(Capability.SYS_ADMIN), reason="becomes other users, which needs root")
@pytest.mark.parametrize(("groups", "known"), [([2001, 2002], {5, 2001, 2002}), (list(range(3000, 3300)), {5})])
def test_a_peer_has_the_groups_of_its_process(tmp_path: Path, groups: list[int], known: set[int]) -> None:
    """More than 256 groups cannot be asked for: such a user counts as in its first alone."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        script = (
            "import os, socket, sys\n"
            "s = socket.socket(socket.AF_UNIX)\n"
            f"os.chdir({str(tmp_path)!r}); os.setgroups({groups!r}); os.setgid(5)\n"
            "s.connect('s'); s.recv(1)"
        )
        process = subprocess.Popen([sys.executable, "-I", "-c", script])
        listening.settimeout(20)
        connection, _ = listening.accept()
        with connection:
            assert read_peer(connection) == Peer(0, frozenset(known))
        assert process.wait(20) == 0
