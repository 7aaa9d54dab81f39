"""What this process may do, decided by its capabilities (capabilities(7)) and never by its user id.

Root without CAP_SYS_ADMIN cannot mount, and a user of its own that a service manager gave the capability can. The
daemon calls `drop_privileges` once, before it starts a thread: capabilities belong to threads, and a thread gets those
of the one that starts it, as a child process does.
"""

from __future__ import annotations

import ctypes
import enum
import os
from collections.abc import Callable, Set
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger("readyfs.privileges")


class Capability(enum.IntEnum):
    """The capabilities that this program knows of, by their bit (include/uapi/linux/capability.h)."""

    DAC_READ_SEARCH = 2
    SETPCAP = 8
    SYS_PTRACE = 19
    SYS_ADMIN = 21


DAEMON_CAPABILITIES: Final = frozenset({Capability.SYS_ADMIN, Capability.DAC_READ_SEARCH, Capability.SYS_PTRACE})
"""All that a daemon keeps of what it was started with.

`SYS_ADMIN` mounts, hands raw files to the kernel (passthrough) and unmounts. `DAC_READ_SEARCH` reads the state file and
raw files of any owner. `SYS_PTRACE` names the processes of other users that keep the mount busy. `DAC_OVERRIDE` is not
among them: what it adds is writing, which a daemon that only reads must not be able to do.
"""

# include/uapi/linux/capability.h: two words of 32 bits for each of the three sets.
_VERSION_3: Final = 0x20080522
_WORDS: Final = 2

# include/uapi/linux/prctl.h
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38

_THREADS: Final = Path("/proc/self/task")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Word(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_Words = _Word * _WORDS
_libc: Final = ctypes.CDLL(None, use_errno=True)


def has_capability(capability: Capability) -> bool:
    """Tell whether the calling thread has a capability in force."""
    return _effective(_read_words()) >> capability & 1 == 1


def drop_privileges(keep: Set[Capability] = DAEMON_CAPABILITIES) -> None:
    """Give up every capability that is not in `keep`, for good; nothing happens where there is none to give up.

    Afterwards the effective and permitted sets hold no more than `keep`, and the inheritable and ambient ones nothing,
    so that a program which is started gains nothing by it. As root it would gain what the bounding set allows, which is
    reduced to `keep` too where that is permitted (CAP_SETPCAP). With CAP_SYS_ADMIN kept no set-uid helper is needed to
    unmount, so set-uid programs lose their effect as well (PR_SET_NO_NEW_PRIVS).

    Reaches the calling thread and whatever it starts from now on. Threads that are there already keep what they have,
    and a warning says so. Raises `OSError` if the kernel refuses.
    """
    words = _read_words()
    before = _permitted(words)
    if not before:
        return
    kept = sum(1 << capability for capability in keep)
    # In this order: CAP_SETPCAP, which the bounding set asks for, is then given up with the rest.
    if _effective(words) >> Capability.SETPCAP & 1:
        _reduce_bounding_set(kept)
    _write_words(before & kept)
    if before & kept & 1 << Capability.SYS_ADMIN:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    others = len(os.listdir(_THREADS)) - 1
    if others:
        log.warning("threads that were started before keep their privileges", threads=others)


def _reduce_bounding_set(kept: int) -> None:
    for number in range(32 * _WORDS):
        if kept >> number & 1:
            continue
        try:
            is_there = _prctl(_PR_CAPBSET_READ, number)
        except OSError:
            return  # EINVAL: the first number that this kernel knows no capability for
        if is_there:
            _prctl(_PR_CAPBSET_DROP, number)


def _read_words() -> ctypes.Array[_Word]:
    words = _Words()
    _check(_libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), words))
    return words


def _write_words(permitted: int) -> None:
    """Set the effective and the permitted set; empty the inheritable one, and with it the ambient (capabilities(7))."""
    parts = (permitted >> shift & 0xFFFFFFFF for shift in range(0, 32 * _WORDS, 32))
    words = _Words(*(_Word(part, part, 0) for part in parts))
    _check(_libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), words))


def _effective(words: ctypes.Array[_Word]) -> int:
    return _join(words, lambda word: word.effective)


def _permitted(words: ctypes.Array[_Word]) -> int:
    return _join(words, lambda word: word.permitted)


def _join(words: ctypes.Array[_Word], part: Callable[[_Word], int]) -> int:
    return sum(part(word) << 32 * place for place, word in enumerate(words))


def _prctl(option: int, argument: int) -> int:
    # prctl(2) takes unsigned longs; those that an option does not use have to be 0.
    arguments = (ctypes.c_ulong(value) for value in (argument, 0, 0, 0))
    return _check(_libc.prctl(ctypes.c_int(option), *arguments))


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
