"""The kernel: what its FUSE offers to a throwaway mount, and which engine and way of reading a real one would get.

With CAP_SYS_ADMIN the mount is made in a mount namespace of its own, which ends with the process; without, it is made
by fusermount3 like a real one, and taken away again by this process or, if that one was killed, by the doctor.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from readyfs.doctor.finding import Check, Finding, Group, good, note, problem, warning
from readyfs.doctor.raw import open_sample
from readyfs.doctor.subject import Subject
from readyfs.errors import FuseError
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.choose_reads import choose_reads
from readyfs.fuse.direct.handshake import negotiate, try_passthrough
from readyfs.fuse.direct.negotiation import Offer
from readyfs.fuse.direct.protocol import KERNEL_VERSION, MINOR_WITH_EPOCH, InitFlag
from readyfs.fuse.direct.stacking import OVER_STACKED_DEPTH, stack_depth
from readyfs.fuse.engine import KernelLacksError
from readyfs.fuse.engine_words import EngineWord, ReadsWord
from readyfs.fuse.mount_options import render_mount_options
from readyfs.fuse.mount_table import mounts_at, read_mount_table
from readyfs.fuse.unmount import detach

_CLONE_NEWNS: Final = 0x00020000
_MS_REC_PRIVATE: Final = 1 << 14 | 1 << 18
_FUSERMOUNT_S: Final = 5.0
_CACHED: Final = "a broken run fails at the first read and not at open, which many programs take for an empty file"
_LESS_STACKED: Final = "give a raw root that lies on no overlayfs; until then the daemon reads such files"

_libc: Final = ctypes.CDLL(None, use_errno=True)


class ThrowawayPlace:
    """An empty directory to mount on for a moment."""

    def __init__(self) -> None:
        # The doctor is the one that knows its name, whatever becomes of the process that mounts there.
        self.path = Path(os.path.realpath(tempfile.mkdtemp(prefix="readyfs-doctor-")))

    def clear(self) -> None:
        """Take away the mount, if there is one, and the directory."""
        while mounts_at(self.path):
            subprocess.run(
                ["fusermount3", "-u", "-z", "--", self.path], capture_output=True, timeout=_FUSERMOUNT_S, check=True
            )
        self.path.rmdir()


def kernel_check(subject: Subject) -> Check:
    """Return the check of the kernel; its directory is made now and removed by the doctor."""
    place = ThrowawayPlace()
    return Check(Group.MACHINE, "kernel", lambda: look_at_kernel(subject, place.path), tidy=place.clear)


def look_at_kernel(subject: Subject, place: Path) -> Iterator[Finding]:
    """Mount for a moment and say what the kernel offers and what that leads to."""
    yield good("kernel", f"Linux {platform.release()}")
    if subject.engine is EngineWord.PYFUSE3:
        yield good("engine", "pyfuse3, as asked for")
        return
    channel = Channel()
    try:
        yield from _negotiate(channel, subject, place)
    except KernelLacksError as error:
        if subject.engine is EngineWord.DIRECT:
            yield problem("engine", f"--engine direct cannot serve here: {error.message}", "--engine auto")
        else:
            yield warning(
                "engine", f"the slower engine, pyfuse3, would serve: {error.message}", "a kernel from Linux 5.1 on"
            )
    except FuseError as error:
        yield problem("engine", error.message, "sudo readyfs mount ...  # or mend what the sentence names")
    finally:
        if channel.is_open:
            channel.close()
            detach(place)


def _negotiate(channel: Channel, subject: Subject, place: Path) -> Iterator[Finding]:
    if subject.privileged:
        _enter_namespace()
    options = render_mount_options("doctor", allow_other=subject.allow_other)
    offer = channel.mount(os.fspath(place), options, privileged=subject.privileged)
    depth = OVER_STACKED_DEPTH
    if subject.raw is not None:
        depth = stack_depth(Path(subject.raw), read_mount_table(subject.places.mount_table))
    obstacle = negotiate(channel, offer, subject.reads, depth, privileged=subject.privileged)
    yield good("engine", f"direct: the kernel speaks FUSE {KERNEL_VERSION}.{offer.minor} and offers what it needs")
    if offer.minor < MINOR_WITH_EPOCH:
        yield note(
            "kernel-features",
            "a refresh that changes many names tells the kernel each one (Linux 6.16 and later drop all in one step)",
        )
    else:
        yield good("kernel-features", _features(offer))
    try:
        choice = choose_reads(subject.reads, obstacle)
    except FuseError as error:
        yield problem("reads", error.message, "--reads auto")
        return
    said = f"{choice.word}: {choice.reason}"
    refusal = _refusal(channel, subject) if choice.passthrough_from is not None else None
    if refusal is not None:
        yield note("reads", f"{said}; but the raw store's filesystem refuses passthrough: {refusal}", _LESS_STACKED)
    elif choice.word is ReadsWord.CACHED:
        yield warning("reads", f"{said}; {_CACHED}", "--reads auto")
    elif obstacle is not None and subject.reads is ReadsWord.AUTO and subject.privileged:
        yield note("reads", said, _remedy(offer))
    else:
        yield good("reads", said)


def _refusal(channel: Channel, subject: Subject) -> str | None:
    """Return why the kernel does not pass a file of a ready run through; None if it does, or none was found."""
    file = open_sample(subject)
    if file is None:
        return None
    try:
        return try_passthrough(channel, file)
    finally:
        file.close()


def _features(offer: Offer) -> str:
    passes = "passes raw files through, " if InitFlag.PASSTHROUGH in offer.flags else ""
    return f"the kernel {passes}drops all names in one step, and keeps listings"


def _remedy(offer: Offer) -> str:
    if InitFlag.PASSTHROUGH in offer.flags:
        return "run readyfs outside of user namespaces: passthrough takes the CAP_SYS_ADMIN of the whole machine"
    return "install a kernel from Linux 6.9 on"


def _enter_namespace() -> None:
    """Leave the machine's mounts for a copy of our own, from which nothing comes back (mount_namespaces(7))."""
    _check(_libc.unshare(ctypes.c_int(_CLONE_NEWNS)))
    none: Sequence[ctypes.c_char_p] = (ctypes.c_char_p(b"none"), ctypes.c_char_p(b"/"), ctypes.c_char_p(None))
    _check(_libc.mount(*none, ctypes.c_ulong(_MS_REC_PRIVATE), ctypes.c_char_p(None)))


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
