"""Both ways of opening beneath a directory, through the same tests; and the choice between them."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from readyfs.raw import beneath
from readyfs.raw.beneath import Opener, has_openat2, open_beneath, open_by_openat2, open_part_by_part
from tests.descriptors import open_descriptors
from tests.raw import exchange, without_openat2

BOTH = pytest.mark.parametrize("opener", [open_by_openat2, open_part_by_part])


@pytest.fixture
def root_fd(root: Path) -> Iterator[int]:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def read(opener: Opener, root_fd: int, *parts: bytes, flags: int = os.O_RDONLY) -> bytes:
    fd = opener(root_fd, parts, flags)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def refusal(opener: Opener, root_fd: int, *parts: bytes, flags: int = os.O_RDONLY) -> int:
    before = open_descriptors()
    with pytest.raises(OSError) as caught:
        opener(root_fd, parts, flags)
    assert open_descriptors() == before
    assert caught.value.errno is not None
    return caught.value.errno


@contextmanager
def exchanging(one: Path, other: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, exchange.__file__, str(one), str(other)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def test_this_kernel_has_openat2() -> None:
    assert has_openat2()


@BOTH
def test_a_file_some_levels_down_is_opened(opener: Opener, root: Path, root_fd: int) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/c").write_bytes(b"deep")
    before = open_descriptors()
    assert read(opener, root_fd, b"a", b"b", b"c") == b"deep"
    assert open_descriptors() == before


@BOTH
def test_no_parts_open_the_root_itself(opener: Opener, root: Path, root_fd: int) -> None:
    (root / "a").touch()
    fd = opener(root_fd, (), os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert os.listdir(fd) == ["a"]
    finally:
        os.close(fd)


@BOTH
@pytest.mark.parametrize("parts", [(), (b"a",)])
def test_descriptors_close_on_exec(opener: Opener, root: Path, root_fd: int, parts: tuple[bytes, ...]) -> None:
    (root / "a").mkdir()
    fd = opener(root_fd, parts, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


@BOTH
@pytest.mark.parametrize("name", [b"caf\xe9", b"a\nb", b"a\\b", b" ", b"2024-06-02T04:05:06.789Z", b"..."])
def test_any_byte_of_a_name_is_taken_as_it_is(opener: Opener, root: Path, root_fd: int, name: bytes) -> None:
    (root / os.fsdecode(name)).write_bytes(name)
    assert read(opener, root_fd, name) == name


@BOTH
@pytest.mark.parametrize("part", [b"", b".", b"..", b"/etc", b"a/b", b"a\0b"])
def test_a_part_that_is_no_single_name_is_einval(opener: Opener, root: Path, root_fd: int, part: bytes) -> None:
    """V12: no value can lead upwards, or further down than one name."""
    (root / "a").mkdir()
    (root / "a/b").touch()
    assert refusal(opener, root_fd, part) == errno.EINVAL
    assert refusal(opener, root_fd, b"a", part) == errno.EINVAL


@BOTH
@pytest.mark.parametrize("target", ["file", "/etc/hostname", "../outside", "nowhere", "/proc/self/exe"])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDONLY | os.O_DIRECTORY])
def test_a_final_symbolic_link_is_eloop(opener: Opener, root: Path, root_fd: int, target: str, flags: int) -> None:
    """V12: links are not followed, wherever they lead."""
    (root / "file").touch()
    (root / "link").symlink_to(target)
    assert refusal(opener, root_fd, b"link", flags=flags) == errno.ELOOP


@BOTH
@pytest.mark.parametrize("target", ["directory", "/etc", "..", "nowhere", "/proc/self/root"])
def test_a_symbolic_link_on_the_way_is_eloop(opener: Opener, root: Path, root_fd: int, target: str) -> None:
    """V12: links are not followed, wherever they stand."""
    (root / "directory").mkdir()
    (root / "directory/hostname").touch()
    (root / "link").symlink_to(target)
    assert refusal(opener, root_fd, b"link", b"hostname") == errno.ELOOP


@BOTH
def test_the_kernels_errors_come_through(opener: Opener, root: Path, root_fd: int) -> None:
    (root / "file").touch()
    assert refusal(opener, root_fd, b"gone") == errno.ENOENT
    assert refusal(opener, root_fd, b"gone", b"x") == errno.ENOENT
    assert refusal(opener, root_fd, b"file", b"x") == errno.ENOTDIR
    assert refusal(opener, root_fd, b"file", flags=os.O_RDONLY | os.O_DIRECTORY) == errno.ENOTDIR
    assert refusal(opener, root_fd, b"n" * 256) == errno.ENAMETOOLONG


@BOTH
def test_an_error_names_the_path_below_the_root(opener: Opener, root_fd: int) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        opener(root_fd, (b"a", b"caf\xe9"), os.O_RDONLY)
    assert os.fsencode(caught.value.filename) == b"a/caf\xe9"


@BOTH
def test_a_path_longer_than_the_kernel_takes_at_once_is_opened(opener: Opener, root: Path, root_fd: int) -> None:
    name = "d" * 250
    here = root_fd
    for _ in range(20):
        os.mkdir(name, dir_fd=here)
        step = os.open(name, os.O_PATH | os.O_DIRECTORY, dir_fd=here)
        if here != root_fd:
            os.close(here)
        here = step
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    assert read(opener, root_fd, *[name.encode()] * 20, b"file") == b""


@BOTH
def test_a_mount_below_the_root_is_entered(opener: Opener, root: Path, root_fd: int) -> None:
    volume = root / "volume"
    volume.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", volume], check=True, timeout=10)
    try:
        (volume / "file").write_bytes(b"there")
        assert read(opener, root_fd, b"volume", b"file") == b"there"
    finally:
        subprocess.run(["umount", volume], check=True, timeout=10)


@BOTH
def test_a_file_swapped_for_a_link_is_never_followed(opener: Opener, root: Path, root_fd: int) -> None:
    """V12: a race between a look and an open cannot be won."""
    (root / "secret").write_bytes(b"secret")
    (root / "name").write_bytes(b"served")
    (root / "other").symlink_to("secret")
    assert race(opener, root_fd, root / "name", root / "other", b"name") == {b"served", errno.ELOOP}


@BOTH
def test_a_directory_swapped_for_a_link_is_never_followed(opener: Opener, root: Path, root_fd: int) -> None:
    """V12: nor can it on the way."""
    outside = root / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"secret")
    inside = root / "inside"
    inside.mkdir()
    (inside / "name").mkdir()
    (inside / "name/file").write_bytes(b"served")
    (inside / "other").symlink_to(outside)
    parts = (b"inside", b"name", b"file")
    assert race(opener, root_fd, inside / "name", inside / "other", *parts) == {b"served", errno.ELOOP}


def race(opener: Opener, root_fd: int, one: Path, other: Path, *parts: bytes) -> set[bytes | int]:
    """Open a path while another process exchanges two names; return everything that came of it."""
    seen: dict[bytes | int, int] = {}
    with exchanging(one, other) as process:
        for _ in range(20_000):
            outcome: bytes | int
            try:
                outcome = read(opener, root_fd, *parts)
            except OSError as error:
                assert error.errno is not None
                outcome = error.errno
            seen[outcome] = seen.get(outcome, 0) + 1
            if len(seen) > 1 and min(seen.values()) >= 300:
                break
        assert process.poll() is None
    # While the part-by-part way asks what it was that was no directory, the directory can be back.
    if opener is open_part_by_part and len(parts) > 1:
        seen.pop(errno.ENOTDIR, None)
    return set(seen)


@BOTH
def test_a_lease_that_is_given_up_in_time_is_waited_for(opener: Opener, root: Path, root_fd: int) -> None:
    """A file server holds a lease (fcntl(2), F_SETLEASE): an O_NONBLOCK open answers EAGAIN until it gave it up."""
    leased = os.open(root / "file", os.O_CREAT | os.O_RDWR, 0o644)
    os.write(leased, b"leased")
    asked = []

    def give_up(*_: object) -> None:
        asked.append(True)
        fcntl.fcntl(leased, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    before = signal.signal(signal.SIGIO, give_up)
    try:
        fcntl.fcntl(leased, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert read(opener, root_fd, b"file", flags=os.O_RDONLY | os.O_NONBLOCK) == b"leased"
        assert asked
    finally:
        os.close(leased)
        signal.signal(signal.SIGIO, before)


@BOTH
def test_a_lease_that_is_kept_ends_in_eagain(
    opener: Opener, root: Path, root_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beneath, "_AGAIN_PAUSES_S", (0.0, 0.0))
    leased = os.open(root / "file", os.O_CREAT | os.O_RDWR, 0o644)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        fcntl.fcntl(leased, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert refusal(opener, root_fd, b"file", flags=os.O_RDONLY | os.O_NONBLOCK) == errno.EAGAIN
    finally:
        os.close(leased)
        signal.signal(signal.SIGIO, before)


def test_an_interrupted_openat2_is_tried_again(root: Path, root_fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "file").write_bytes(b"there")
    real, calls = beneath._libc.syscall, []

    class Interrupted:
        def syscall(self, *arguments: object) -> object:
            calls.append(True)
            if len(calls) == 1:
                ctypes.set_errno(errno.EINTR)
                return -1
            return real(*arguments)

    monkeypatch.setattr(beneath, "_libc", Interrupted())
    assert read(open_by_openat2, root_fd, b"file") == b"there"
    assert len(calls) == 2


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_where_openat2_is_refused_files_are_opened_part_by_part(root: Path, code: int) -> None:
    (root / "a").mkdir()
    (root / "a/file").write_bytes(b"there")
    done = subprocess.run(
        [sys.executable, without_openat2.__file__, str(code), str(root), "a/file"],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("False there\n", "")


def test_where_openat2_is_there_it_is_used(root: Path, root_fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "file").write_bytes(b"there")
    assert has_openat2()
    monkeypatch.setattr(beneath, "open_part_by_part", None)
    assert read(open_beneath, root_fd, b"file") == b"there"
