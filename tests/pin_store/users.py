"""A pin store among several users of one machine, each in a process of its own."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple, TypeVar

from readyfs.errors import UserError
from readyfs.privileges import drop_privileges

T = TypeVar("T")

GROUP: Final = 61000


class User(NamedTuple):
    """A user, with a group of its own and others."""

    uid: int
    groups: tuple[int, ...] = ()


ALICE: Final = User(61001, (GROUP,))
BOB: Final = User(61002, (GROUP,))
MALLORY: Final = User(61003)
ROOT: Final = User(0)
"""With what a daemon of root's keeps of its rights: it reads everything, and writes what any user could. So does
`root_squash`, but for the reading."""


@dataclass(frozen=True, slots=True)
class _Raised:
    kind: type[Exception]
    words: tuple[object, ...]


def done_by(user: User, call: Callable[[], T]) -> T:
    """Return what a call returns that a user makes, or raise what it raises; it has no right of root's."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            answer = pickle.dumps(_try(user, call))
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(answer)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    found = pickle.loads(answer)
    if isinstance(found, _Raised):
        raise found.kind(*found.words)
    return found  # type: ignore[no-any-return]


def _try(user: User, call: Callable[[], T]) -> T | _Raised:
    try:
        os.setgroups(user.groups)
        os.setresgid(user.uid, user.uid, user.uid)
        os.setresuid(user.uid, user.uid, user.uid)
        drop_privileges()
        os.umask(0o077)  # what a careful user has; the store is for others, too
        return call()
    except Exception as error:  # noqa: BLE001 - it is raised again by whoever asked
        words = (error.message, error.remedy) if isinstance(error, UserError) else error.args
        return _Raised(type(error), words)


@contextmanager
def shared_directory(mode: int, owner: int = 0, group: int = GROUP) -> Iterator[Path]:
    """An empty directory on a way that is open to all users."""
    with TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        directory = Path(base) / "store"
        directory.mkdir()
        os.chown(directory, owner, group)
        directory.chmod(mode)
        yield directory
