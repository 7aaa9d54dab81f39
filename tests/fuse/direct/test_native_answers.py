"""What the compiled loop answers, and what it leaves to Python as it came."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from readyfs import native
from readyfs.fuse.direct.protocol import IN_HEADER, OPEN_IN, OPEN_OUT, READ_IN, Opcode, OpenFlag
from tests.descriptors import open_descriptors
from tests.fuse.direct.looped import ALL_SIZES, INODE, SERVED, Looped, looped, needs_module

pytestmark = needs_module
CONTENT = bytes(range(256)) * 1024
SUPERSEDED = 2
REGULAR = 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "run/sub").mkdir(parents=True)
    (tmp_path / "run/a").write_bytes(CONTENT)
    return tmp_path


@pytest.fixture
def one(root: Path) -> Iterator[Looped]:
    with looped(root) as found:
        found.add_file("run", "a")
        yield found


# ---- opening ------------------------------------------------------------------------------------------------------


def test_open_gives_a_handle_and_keeps_the_pages(one: Looped) -> None:
    unique = one.open()
    answered, error, body = one.answer()
    handle, flags, backing = OPEN_OUT.unpack(body)
    assert (answered, error, flags, backing) == (unique, 0, OpenFlag.KEEP_CACHE, 0)
    assert handle > 2**62
    assert one.loop.open_files() == 1
    unique = one.release(handle)
    assert one.answer() == (unique, 0, b"")
    assert one.loop.open_files() == 0


def truncate(path: Path) -> None:
    path.write_bytes(CONTENT[:-1])


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def replace_alike(path: Path) -> None:
    """Another file of the same size and time."""
    seen = path.stat()
    other = path.with_name("other")
    other.write_bytes(CONTENT)
    os.utime(other, ns=(seen.st_mtime_ns, seen.st_mtime_ns))
    other.rename(path)


def remove(path: Path) -> None:
    path.unlink()


def to_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_link(path: Path) -> None:
    path.rename(path.with_name("b"))
    path.symlink_to("b")


def parent_to_link(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to("elsewhere")


@pytest.mark.parametrize(
    "change", [truncate, touch, replace_alike, remove, to_directory, to_fifo, to_link, parent_to_link]
)
def test_file_that_is_not_as_its_row_says_is_pythons(one: Looped, root: Path, change: object) -> None:
    """Which errno that is, and whether it is damage, is said there alone; no descriptor stays."""
    one.assert_answers()
    before = len(open_descriptors())
    assert callable(change)
    change(root / "run/a")
    one.assert_python_gets(one.open())
    assert one.loop.open_files() == 0
    assert len(open_descriptors()) == before


@pytest.mark.parametrize("state", [0, REGULAR, SERVED & ~REGULAR, SERVED | SUPERSEDED])
def test_file_that_the_loop_may_not_open_is_pythons(root: Path, state: int) -> None:
    with looped(root) as one:
        one.add_file("run", "a", state=state)
        one.assert_python_gets(one.open())


def test_generation_and_other_bits_of_a_state_change_nothing(root: Path) -> None:
    with looped(root) as one:
        one.add_file("run", "a", state=SERVED | 8 | 3 << 8)
        assert one.opened()


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR])
def test_open_for_writing_is_pythons(one: Looped, flags: int) -> None:
    one.assert_python_gets(one.put(Opcode.OPEN, OPEN_IN.pack(flags, 0)))


def test_open_is_pythons_while_views_are_to_be_told_of_it(one: Looped) -> None:
    assert one.opened()
    one.loop.allow_opens(False)
    one.assert_python_gets(one.open())
    one.loop.allow_opens(True)
    assert one.opened()


def test_limit_of_open_files_is_shared(root: Path) -> None:
    with looped(root, max_files=3) as one:
        one.add_file("run", "a")
        one.loop.set_other_files(1)
        handles = [one.opened(), one.opened()]
        one.assert_python_gets(one.open())
        one.loop.set_other_files(0)
        handles.append(one.opened())
        assert len(set(handles)) == 3
        one.assert_python_gets(one.open())
        one.release(handles[0])
        one.answer()
        assert one.opened() not in handles


def test_want_of_descriptors_is_pythons(one: Looped) -> None:
    one.assert_answers()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        one.assert_python_gets(one.open())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert one.opened()


# ---- reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [
        (0, 4096, CONTENT[:4096]),
        (1, 131072, CONTENT[1:131073]),
        (len(CONTENT) - 5, 4096, CONTENT[-5:]),
        (len(CONTENT), 4096, b""),
        (2**63 + 7, 4096, b""),
        (2**64 - 1, 2**32 - 1, b""),
        (0, 0, b""),
    ],
)
def test_read_is_clipped_to_the_sealed_size(one: Looped, offset: int, size: int, expected: bytes) -> None:
    handle = one.opened()
    unique = one.read(handle, size, offset)
    assert one.answer() == (unique, 0, expected)


def test_large_read_is_pythons_with_its_file(one: Looped, root: Path) -> None:
    """The file moves there, and the loop knows its handle no more."""
    handle = one.opened()
    one.assert_python_gets(one.read(handle, 131073))
    inode, fd, size, mtime_ns, _ = one.loop.take_handle(handle)
    try:
        seen = (root / "run/a").stat()
        assert (inode, size, mtime_ns) == (INODE, seen.st_size, seen.st_mtime_ns)
        assert os.fstat(fd).st_ino == seen.st_ino
    finally:
        os.close(fd)
    assert one.loop.open_files() == 0
    one.assert_python_gets(one.read(handle, 4))
    one.assert_python_gets(one.release(handle))


def test_read_of_a_file_that_was_cut_while_open_is_pythons(one: Looped, root: Path) -> None:
    handle = one.opened()
    os.truncate(root / "run/a", 10)
    one.assert_python_gets(one.read(handle, 4096))
    unique = one.read(handle, 10)
    assert one.answer() == (unique, 0, CONTENT[:10])


def test_number_that_was_never_given_is_nothing(one: Looped) -> None:
    """Nor one that was released, though its place is used again."""
    handle = one.opened()
    for bit in range(64):
        one.assert_python_gets(one.read(handle ^ 1 << bit, 4))
        one.assert_python_gets(one.release(handle ^ 1 << bit))
        assert one.loop.take_handle(handle ^ 1 << bit) is None
    one.release(handle)
    one.answer()
    again = one.opened()
    assert again != handle
    one.assert_python_gets(one.read(handle, 4))
    one.assert_python_gets(one.release(handle))
    assert one.loop.open_files() == 1


# ---- the end of a listing -----------------------------------------------------------------------------------------


def read_directory(one: Looped, offset: int, inode: int = INODE) -> int:
    return one.put(Opcode.READDIRPLUS, READ_IN.pack(0, offset, 4096, 0, 0, 0, 0), inode)


def test_end_of_a_listing_is_answered_once_and_there_alone(one: Looped) -> None:
    one.loop.note_end(INODE, 7)
    unique = read_directory(one, 7)
    assert one.answer() == (unique, 0, b"")
    one.assert_python_gets(read_directory(one, 7))
    one.loop.note_end(INODE, 7)
    one.assert_python_gets(read_directory(one, 6))
    one.assert_python_gets(read_directory(one, 7))
    one.loop.note_end(INODE, 0)
    one.assert_python_gets(read_directory(one, 0))


def test_ends_of_two_directories_in_one_place_cost_a_request_and_no_more(one: Looped) -> None:
    one.loop.note_end(INODE, 7)
    one.loop.note_end(INODE + 4096, 7)
    one.assert_python_gets(read_directory(one, 7))
    unique = read_directory(one, 7, INODE + 4096)
    assert one.answer() == (unique, 0, b"")


# ---- whatever comes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [*Opcode, 0, 9999, 2**32 - 1])
def test_request_that_is_cut_anywhere_is_pythons(one: Looped, opcode: int) -> None:
    """Of any length but its own, and shorter than its opcode needs; it reads nothing behind its end."""
    _, whole = one.request(opcode, bytes(40))
    for length in range(len(whole)):
        assert one.loop.answer(whole[:length]) is None
    for length in range(IN_HEADER.size, len(whole)):
        cut = length.to_bytes(4, "little") + whole[4:length]
        found = one.loop.answer(cut)
        assert found is None or opcode in (Opcode.GETATTR, Opcode.IOCTL, Opcode.OPEN, Opcode.READ, Opcode.RELEASE)
    assert one.loop.answer(whole + b"x") is None
    assert one.loop.answer(bytes(1 << 20)) is None


def test_terminal_check_is_refused(one: Looped) -> None:
    unique = one.put(Opcode.IOCTL, bytes(32), inode=12345)
    assert one.answer() == (unique, errno.ENOTTY, b"")


def test_answer_that_nobody_received_is_undone(root: Path) -> None:
    """The file is closed by whoever may wait for that."""
    before = len(open_descriptors())
    one = Looped(root)
    one.add_file("run", "a")
    one.start()
    one.assert_answers()
    assert native.module is not None
    unique, data = one.request(Opcode.OPEN, OPEN_IN.pack(os.O_RDONLY, 0))
    one.break_answers()
    one.kernel.send(data)
    received = one.next_received()
    assert received is not None
    assert IN_HEADER.unpack_from(received)[2] == unique, "what else befalls an answer is Python's to say"
    assert one.loop.open_files() == 1
    one.loop.close_dropped()
    assert one.loop.open_files() == 0
    one.end()
    assert len(open_descriptors()) <= before


def test_counts_are_those_of_pythons_requests(one: Looped) -> None:
    """By opcode: buckets, then how many began, then nanoseconds; what went to Python is not among them."""
    handle = one.opened()
    for _ in range(3):
        one.read(handle, 4)
        one.answer()
    one.assert_python_gets(one.read(handle, 131073))
    counts = one.loop.counts()
    *buckets, begun, spent_ns = counts[Opcode.READ]
    assert sum(buckets) == begun == 3
    assert spent_ns > 0
    assert counts[Opcode.OPEN][-2] == 1
    assert counts[Opcode.RELEASE][-2] == 0


def test_who_has_an_answer_finds_it_counted(one: Looped) -> None:
    for number in range(1, 301):
        one.assert_answers()
        assert one.loop.counts()[Opcode.IOCTL][-2] == number


def test_arguments_of_another_shape_are_refused(root: Path) -> None:
    assert native.module is not None
    make, rows = native.module.Loop, native.module.Rows(5, 2)
    good: list[object] = [-1, rows, os.fsencode(root), bytes(104), 3, (1, 2), 0, 0]
    assert make(*good)
    for at, wrong in ((1, {}), (3, bytes(103)), (5, tuple(range(17))), (5, ("x",))):
        with pytest.raises((TypeError, ValueError)):
            make(*[*good[:at], wrong, *good[at + 1 :]])
    assert ALL_SIZES > 0
