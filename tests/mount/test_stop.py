"""How a mount ends: by signals, by someone else, or never because it never began."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from readyfs.control.protocol import socket_path
from readyfs.errors import ExitCode
from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import Place, mount_arguments, mounted, partition, running, try_to_mount, wait_until
from tests.mount.forked import run_forked


@pytest.fixture
def ready(place: Place) -> Place:
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    return place


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_unmounts_and_ends_with_zero(ready: Place, engine: str, number: signal.Signals) -> None:
    """SIGTERM and SIGINT unmount; socket and mount are gone, the mount point is an empty directory."""
    with running(ready, engine=engine) as daemon:
        assert daemon.of(partition()).read_bytes() == b"x\n"
        assert daemon.stop(number) == ExitCode.OK
        assert not mounts_at(daemon.path)
        assert os.listdir(daemon.path) == []
        assert not socket_path(ready.runtime_dir, ready.mountpoint).exists()
        assert [line["exit_code"] for line in daemon.events("stopped")] == [0]


def test_signal_with_a_shell_inside_detaches_and_names_it(ready: Place, engine: str) -> None:
    """V5: busy: the mount is detached, the log says who holds it, and the daemon ends with the holder."""
    with running(ready, engine=engine) as daemon:
        shell = subprocess.Popen(
            ["sh", "-c", "cat payload.jsonl; read line; cat payload.jsonl metadata.json | wc -c"],
            cwd=daemon.directory(partition()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with shell:
            assert shell.stdin is not None
            assert shell.stdout is not None
            assert shell.stdout.readline() == b"x\n"
            daemon.process.terminate()
            wait_until(lambda: not mounts_at(daemon.path), "the mount is detached")
            wait_until(lambda: bool(daemon.events("mount is in use")), "the holder is logged")
            holders = {(line["pid"], line["how"]) for line in daemon.events("mount is in use")}
            assert (shell.pid, "cwd") in holders
            assert daemon.process.poll() is None
            shell.stdin.write(b"\n")
            shell.stdin.close()
            assert int(shell.stdout.readline()) > 2
        assert daemon.wait_ended() == ExitCode.OK


def test_second_signal_while_draining_changes_nothing(ready: Place, engine: str) -> None:
    """V5: impatience does not cost a reader its file."""
    with running(ready, engine=engine) as daemon:
        with open(daemon.of(partition()), "rb", buffering=0) as file:
            daemon.process.terminate()
            wait_until(lambda: not mounts_at(daemon.path), "the mount is detached")
            daemon.process.send_signal(signal.SIGTERM)
            daemon.process.send_signal(signal.SIGINT)
            assert file.read() == b"x\n"
        assert daemon.wait_ended() == ExitCode.OK


def test_start_at_a_detached_place_waits_for_the_drain(ready: Place, engine: str) -> None:
    """One place, one daemon: while an old one drains, a new one is refused with a clear line, then succeeds."""
    with running(ready, engine=engine) as daemon:
        with open(daemon.of(partition()), "rb"):
            daemon.process.terminate()
            wait_until(lambda: not mounts_at(daemon.path), "the mount is detached")
            assert try_to_mount(ready, engine=engine).returncode == ExitCode.MOUNT_POINT
        assert daemon.wait_ended() == ExitCode.OK
        with mounted(ready, engine=engine) as second:
            assert second.of(partition()).read_bytes() == b"x\n"


def test_second_mount_at_the_same_place_is_refused(ready: Place, engine: str) -> None:
    """The first one goes on as if nothing had happened."""
    with mounted(ready, engine=engine) as daemon:
        done = try_to_mount(ready, engine=engine)
        assert done.returncode == ExitCode.MOUNT_POINT
        assert str(ready.mountpoint) in done.stderr
        assert "Traceback" not in done.stderr
        elsewhere = try_to_mount(
            ready,
            *("--runtime-dir", str(ready.base / "r2"), "--state-dir", str(ready.base / "v2")),
            *("--public-dir", str(ready.base / "p2")),
            engine=engine,
        )
        assert elsewhere.returncode == ExitCode.MOUNT_POINT
        assert daemon.of(partition()).read_bytes() == b"x\n"
        assert len(mounts_at(daemon.path)) == 1


@pytest.mark.parametrize("command", [["umount"], ["umount", "--lazy"], ["fusermount3", "-u"]])
def test_unmount_by_someone_else_ends_the_daemon_with_zero(ready: Place, engine: str, command: list[str]) -> None:
    """An administrator's umount(8) is an orderly end."""
    with running(ready, engine=engine) as daemon:
        subprocess.run([*command, daemon.path], check=True, timeout=10)
        assert daemon.wait_ended() == ExitCode.OK
        assert daemon.events("the mount was taken away by someone else")
        assert not socket_path(ready.runtime_dir, ready.mountpoint).exists()


def test_umount_command_ends_the_daemon(ready: Place, engine: str) -> None:
    """`readyfs umount` returns when the daemon is gone."""
    with running(ready, engine=engine) as daemon:
        done = run_forked(["umount", str(daemon.path), "--runtime-dir", str(ready.runtime_dir)], 30)
        assert done.returncode == ExitCode.OK
        assert daemon.wait_ended() == ExitCode.OK


def test_daemon_without_a_state_does_not_mount(place: Place, engine: str) -> None:
    """The first load must succeed: no empty tree is shown for want of a state, and none is created."""
    place.producer.close()
    place.state.unlink()
    done = try_to_mount(place, engine=engine)
    assert done.returncode == ExitCode.STATE
    assert str(place.state) in done.stderr
    assert not place.state.exists()
    assert not mounts_at(place.mountpoint)


@pytest.mark.parametrize("where", ["raw", "raw/below", "."])
def test_mount_over_or_inside_our_own_data_is_refused(ready: Place, engine: str, where: str) -> None:
    """A mount that hides or lies in the raw root, the state or our directories would wait for itself."""
    target = ready.base / where
    target.mkdir(exist_ok=True)
    arguments = mount_arguments(ready, engine=engine)
    arguments[arguments.index(str(ready.mountpoint))] = str(target)
    done = run_forked(arguments, 30)
    assert done.returncode == ExitCode.MOUNT_POINT
    assert "Traceback" not in done.stderr
    assert not mounts_at(target)


def test_mount_that_another_namespace_holds_is_served_there_and_reported(ready: Place, engine: str) -> None:
    """V5: a container with a copy of the mount goes on reading for `--drain`; the log and the status say why."""
    read = f"read line; cat {daemon_file(ready)}; read line"
    with running(ready, "--drain", "20s", engine=engine) as daemon:
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", read]
        elsewhere = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with elsewhere:
            assert elsewhere.stdin is not None
            assert elsewhere.stdout is not None
            here = os.readlink("/proc/self/ns/mnt")
            wait_until(lambda: os.readlink(f"/proc/{elsewhere.pid}/ns/mnt") != here, "the namespace is there")
            daemon.process.terminate()
            event = "another mount namespace holds the mount, going on for it"
            wait_until(lambda: bool(daemon.events(event)), "it is logged")
            assert not mounts_at(daemon.path)
            assert daemon.status()["phase"] == "draining"
            elsewhere.stdin.write(b"\n")
            elsewhere.stdin.flush()
            assert elsewhere.stdout.readline() == b"x\n"
            elsewhere.stdin.write(b"\n")
            elsewhere.stdin.close()
        assert daemon.wait_ended() == ExitCode.OK


def daemon_file(place: Place) -> str:
    return str(place.mountpoint / partition().path / "payload.jsonl")
