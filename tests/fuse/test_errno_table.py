from __future__ import annotations

import ast
import errno
from pathlib import Path

import pytest

from readyfs import errors
from readyfs.fuse.errno_table import errno_of
from readyfs.vfs.inode_table import InodeCollisionError


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (errors.NotADirectoryNodeError, errno.ENOTDIR),
        (errors.IsADirectoryNodeError, errno.EISDIR),
        (errors.BrokenRunError, errno.EIO),
        (errors.StaleCatalogError, errno.EIO),
        (errors.RawStoreUnresponsiveError, errno.EIO),
        (errors.RequestInterruptedError, errno.EINTR),
        (errors.StaleHandleError, errno.ESTALE),
        (errors.NoSuchAttributeError, errno.ENODATA),
        (errors.AttributesUnsupportedError, errno.ENOTSUP),
        (errors.AttributesDisabledError, errno.ENOSYS),
        (errors.TooManyHandlesError, errno.ENFILE),
    ],
)
def test_each_error_has_its_errno(error: type[errors.FilesystemError], number: int) -> None:
    assert errno_of(error("why")) == number


def test_error_without_a_row_answers_as_its_nearest_ancestor() -> None:
    """A collision is an error like a broken run: loud."""
    assert errno_of(InodeCollisionError()) == errno.EIO

    class Closed(errors.StaleHandleError):
        pass

    assert errno_of(Closed()) == errno.ESTALE


def test_error_without_row_or_ancestor_is_loud() -> None:
    class Unheard(errors.FilesystemError):
        pass

    assert errno_of(Unheard()) == errno.EIO


def test_system_error_keeps_its_number() -> None:
    assert errno_of(OSError(errno.EMFILE, "many")) == errno.EMFILE
    assert errno_of(FileNotFoundError(errno.ENOENT, "gone")) == errno.ENOENT


@pytest.mark.parametrize("error", [OSError("no number"), OSError(0, "zero"), TimeoutError(), KeyError("bug")])
def test_system_error_without_a_number_and_a_bug_are_loud(error: Exception) -> None:
    assert errno_of(error) == errno.EIO


def test_errno_of_an_answer_is_decided_here_alone() -> None:
    """Elsewhere an errno is only compared with what the system said."""
    package = Path(errors.__file__).parent
    decided = {f"errno.{name}" for name in ("EAGAIN", "EINTR", "EIO", "ENOSYS", "ENOTTY", "ERANGE", "EROFS")}
    found = {
        str(path.relative_to(package))
        for room in ("fuse", "vfs")
        for path in (package / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in decided
    }
    assert found == {"fuse/errno_table.py"}


def test_no_error_is_ever_turned_into_absence() -> None:
    """V10, V11: a reader that skips what is missing would return less data without an error."""
    found: list[type[errors.FilesystemError]] = []
    todo: list[type[errors.FilesystemError]] = [errors.FilesystemError]
    while todo:
        found.append(todo.pop())
        todo.extend(found[-1].__subclasses__())
    assert {error for error in found if errno_of(error.__new__(error)) in (0, errno.ENOENT)} == set()
