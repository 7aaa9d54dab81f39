"""V8: nothing can be written, by anyone."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from readyfs.errors import ExitCode
from tests.mount import mutations
from tests.mount.daemon import Place, fails_with, mounted, partition, try_to_mount

NOBODY = 65534


def take_print(top: Path) -> dict[str, tuple[object, ...]]:
    """Return mode, owner, times and content of everything at or below a path."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [top, *top.rglob("*")]:
        seen = path.lstat()
        content = hashlib.blake2b(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_mtime_ns, seen.st_ctime_ns, content)
    return found


@pytest.mark.parametrize("uid", [0, NOBODY], ids=["root", "nobody"])
def test_every_change_is_refused_as_read_only(place: Place, engine: str, uid: int) -> None:
    """V8: every mutating system call fails with EROFS, and neither raw files nor state change."""
    part = partition()
    run = place.producer.write_and_publish(part, "r1", b"payload\n")
    (run.directory / "metadata.json").chmod(0o777)
    (run.directory / "payload.jsonl").chmod(0o777)
    place.raw.chmod(0o777)
    before = take_print(place.raw), take_print(place.state)
    with mounted(place, engine=engine) as daemon:
        file = f"{part.path}/payload.jsonl"
        done = subprocess.run(
            [sys.executable, mutations.__file__, daemon.path, part.path, file, f"{part.path}/missing", str(uid)],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        seen = json.loads(done.stdout)
        assert {name: number for name, number in seen["changes"].items() if number != "EROFS"} == {}
        assert len(seen["changes"]) == len(mutations.changes("", "", ""))
        # EROFS since the kernel hands file attributes to FUSE.
        assert seen["others"].pop("FS_IOC_SETFLAGS") in ("ENOTTY", "EROFS")
        assert seen["others"] == {
            "write to a read-only descriptor": "EBADF",
            "ftruncate": "EINVAL",
            "fallocate": "EBADF",
            "copy_file_range into": "EBADF",
            "sendfile into": "EBADF",
            "shared writable mapping": "EACCES",
            "write lock": "EBADF",
            "mkdir of what exists": "EEXIST",
            "execute": "EACCES",
        }
        assert seen["writable"] == {".": False, part.path: False, file: False}
        assert seen["first"]
    assert (take_print(place.raw), take_print(place.state)) == before


def test_changes_in_directories_above_are_refused(place: Place, engine: str) -> None:
    """V8: also where the names come from the state table, at the root and for the hidden control directory."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"payload\n")
    with mounted(place, engine=engine) as daemon:
        for directory, file in (("c1", "c1"), ("c1/q1", part.path), (".readyfs", ".readyfs/status.json")):
            calls = mutations.changes(*(str(daemon.path / path) for path in (directory, file, f"{directory}/missing")))
            answers = {name: mutations.answer(call) for name, call in calls.items()}
            # A directory cannot be opened for writing anywhere; those answers say nothing about this mount.
            wrong = {name: answer for name, answer in answers.items() if answer not in ("EROFS", "EISDIR")}
            assert wrong.keys() <= {"unlink", "link", "removexattr"}, wrong
            assert "succeeded" not in answers.values()


def test_mount_is_read_only_and_harmless_to_the_kernel(place: Place, engine: str) -> None:
    """V8: the mount table says so: ro, nosuid, nodev, noexec, the type of ours and no secret in the source."""
    place.producer.write_and_publish(partition(), "r1", b"payload\n")
    with mounted(place, engine=engine) as daemon:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        line = next(line for line in lines if line.split()[4] == str(daemon.path))
        before, _, after = line.partition(" - ")
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(before.split()[5].split(","))
        kind, source, options = after.split()
        assert kind == "fuse.readyfs"
        assert source.startswith("sqlite:")
        assert {"ro", "default_permissions", "allow_other"} <= set(options.split(","))


def test_daemon_holds_nothing_open_for_writing(place: Place, engine: str) -> None:
    """V8: of the raw store the daemon has no descriptor that could write, and of the state none between looks."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"payload\n")
    with mounted(place, engine=engine) as daemon, open(daemon.of(part), "rb") as file:
        assert file.read() == b"payload\n"
        daemon.refresh()
        looked_at = 0
        for link in Path(f"/proc/{daemon.pid}/fd").iterdir():
            try:
                target = os.readlink(link)
            except FileNotFoundError:
                continue  # closed meanwhile
            assert not target.startswith(str(place.state))
            if target.startswith(str(place.raw)):
                looked_at += 1
                flags = Path(f"/proc/{daemon.pid}/fdinfo/{link.name}").read_text().split("flags:")[1].split()[0]
                assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY, target
        assert looked_at or daemon.traits.kernel_reads  # there the kernel alone has the file


def test_remount_for_writing_changes_nothing(place: Place, engine: str) -> None:
    """V8: root can clear the mount's read-only flag, and then the engine itself refuses: raw files stay as they are."""
    part = partition()
    run = place.producer.write_and_publish(part, "r1", b"payload\n")
    before = take_print(run.directory)
    with mounted(place, engine=engine) as daemon:
        path = daemon.of(part)
        assert path.read_bytes() == b"payload\n"
        subprocess.run(["mount", "-i", "-o", "remount,rw", daemon.path], check=True, timeout=10)
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND):
            with fails_with(errno.EROFS, *((errno.ENOSYS,) if engine == "pyfuse3" else ())):
                fd = os.open(path, flags)
                try:
                    os.write(fd, b"EVIL")
                finally:
                    os.close(fd)
        changes: list[Callable[[], None]] = [
            path.unlink,
            (daemon.path / "new").mkdir,
            lambda: os.truncate(path, 1),
        ]
        for change in changes:
            with fails_with(errno.EROFS, *((errno.ENOSYS,) if engine == "pyfuse3" else ())):
                change()
        assert path.read_bytes() == b"payload\n"
    assert take_print(run.directory) == before


def test_log_file_that_is_not_ours_to_write_is_refused(place: Place, engine: str) -> None:
    """What root may write anywhere is given up before the mount, so a log would be lost without a word."""
    place.producer.write_and_publish(partition(), "r1", b"payload\n")
    logs = place.base / "logs"
    logs.mkdir(mode=0o755)
    os.chown(logs, NOBODY, NOBODY)
    done = try_to_mount(place, "--log-file", str(logs / "readyfs.log"), engine=engine)
    assert done.returncode == ExitCode.USAGE
    assert "cannot open the log file" in done.stderr
    assert list(logs.iterdir()) == []
