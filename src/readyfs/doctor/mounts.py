"""The mounts of this machine: dead and hung ones, the place of the next one, who will see it, who serves it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from readyfs.control.caller import NobodyListensError
from readyfs.control.client import ControlClient
from readyfs.control.protocol import socket_path
from readyfs.control.runtime_dir import list_registrations
from readyfs.doctor.finding import Finding, good, note, problem, quote, refused, show, warning
from readyfs.doctor.subject import Subject
from readyfs.duration import render_duration
from readyfs.errors import MountPointError, UserError
from readyfs.fuse.mount_point import Reserved, check_mount_point, check_overlap
from readyfs.fuse.mount_table import (
    Answer,
    Mount,
    ask_mount,
    mount_containing,
    mounts_at,
    read_mount_table,
    resolve_mount_point,
    stack_at,
)
from readyfs.text import escape_text

ANSWER_TIMEOUT_S: Final = 2.0
LATE_INTERVALS: Final = 3.0
LATE_S: Final = 60.0
"""A catalog that is older than this and than so many intervals has missed looks at the state."""

_MOST_AT_ONCE: Final = 32


def look_at_dead_mounts(timeout_s: float = ANSWER_TIMEOUT_S) -> Iterator[Finding]:
    """Ask every visible readyfs mount whether a daemon serves it: in child processes, all at once."""
    table = read_mount_table()
    stacks = [stack_at(table, place) for place in dict.fromkeys(one.mount_point for one in table if one.is_readyfs)]
    mounts = [stack[-1] for stack in stacks if stack and stack[-1].is_readyfs]
    if not mounts:
        yield good("dead-mounts", "no readyfs is mounted")
        return
    with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
        verdicts = list(pool.map(lambda mount: _judge_life(mount, timeout_s), mounts))
    yield from (finding for finding in verdicts if finding is not None)
    served = verdicts.count(None)
    if served:
        yield good("dead-mounts", f"{served} readyfs {'mount is' if served == 1 else 'mounts are'} served")


def _judge_life(mount: Mount, timeout_s: float) -> Finding | None:
    place, (owner, _) = mount.mount_point, mount.owner
    if os.geteuid() not in (0, owner) and "allow_other" not in mount.super_options:
        return note("dead-mounts", f"only user {owner} can tell whether the mount at {show(place)} is dead")
    answer = ask_mount(mount, timeout_s)
    if answer is Answer.DEAD:
        remedy = f"readyfs umount {quote(place)}" if os.geteuid() == owner else f"sudo umount -l {quote(place)}"
        return problem("dead-mounts", f"the readyfs mount at {show(place)} is dead: its daemon is gone", remedy)
    if answer is Answer.NONE:
        return problem(
            "dead-mounts",
            f"the readyfs mount at {show(place)} does not answer within {render_duration(timeout_s)}: "
            "its daemon is stopped or stuck",
            f"readyfs status {quote(place)}  # names its process; kill -CONT it, or kill -9 it and: "
            f"readyfs umount {quote(place)}",
        )
    return None


def look_at_place(mountpoint: Path, reserved: Sequence[Reserved]) -> Iterator[Finding]:
    """See whether a mount point is fit to be mounted on, and apart from everything of ours."""
    place = resolve_mount_point(mountpoint)
    stack = mounts_at(place)
    try:
        if stack and stack[-1].is_readyfs:
            check_overlap(place, reserved)
            yield good("mount-point", f"{show(place)} holds a readyfs mount, apart from what it reads and writes")
        else:
            check_mount_point(place, reserved)
            apart = ", ".join(dict.fromkeys(item.what for item in reserved))
            yield good("mount-point", f"{show(place)} is empty, yours, and apart from {apart}")
    except MountPointError as error:
        yield problem("mount-point", error.message, _mend_place(place, stack) or error.remedy)


def _mend_place(place: Path, stack: Sequence[Mount]) -> str | None:
    """Return the command that makes a place fit, if one does."""
    if stack:
        return None
    if not place.exists():
        return f"mkdir -p {quote(place)}"
    if not os.access(place, os.W_OK, effective_ids=True):
        return f"sudo chown {os.geteuid()} {quote(place)}"
    return None


def look_at_propagation(subject: Subject) -> Iterator[Finding]:
    """See who will see a mount that is made here: other namespaces, so containers, share it or do not."""
    if _is_own_namespace(subject):
        yield warning(
            "propagation",
            "this is not the machine's first mount namespace: a mount made here may be seen from here alone",
            "nsenter --target 1 --mount readyfs mount ...  # as root; in a container: -v DIR:DIR:rshared",
        )
    place = Path("/") if subject.mountpoint is None else resolve_mount_point(subject.mountpoint)
    around = mount_containing(read_mount_table(subject.places.mount_table), place.parent)
    if around is None:
        yield note("propagation", f"the mount table does not say on which mount {show(place.parent)} lies")
        return
    shown = show(around.mount_point)
    kinds = {word.partition(":")[0] for word in around.propagation}
    if "shared" in kinds:
        yield good(
            "propagation",
            f"{shown} is a shared mount: containers that bind its directories with rslave see what is mounted later",
        )
        return
    kind = "a slave" if "master" in kinds else "a private"
    yield note(
        "propagation",
        f"{shown} is {kind} mount: a container started before a mount is made here does not see it, and shows an "
        "empty directory",
        f"sudo mount --make-rshared {quote(around.mount_point)}",
    )


def look_at_daemons(subject: Subject) -> Iterator[Finding]:
    """Ask the daemon of the mount point, or without one every daemon of this user, how fresh what it serves is."""
    if subject.mountpoint is not None:
        place = resolve_mount_point(subject.mountpoint)
        found = [(place, ControlClient(socket_path(subject.runtime_dir, place), ANSWER_TIMEOUT_S, place))]
    else:
        found = [
            (one.mountpoint, ControlClient(one.socket, ANSWER_TIMEOUT_S, one.mountpoint))
            for one in list_registrations(subject.runtime_dir)
        ]
        if not found:
            yield good("daemon", f"no daemon has registered in {show(subject.runtime_dir)}")
    for place, client in found:
        yield _ask(place, client)


def _ask(place: Path, client: ControlClient) -> Finding:
    try:
        status = client.status()
    except NobodyListensError:
        stack = mounts_at(place)
        if not stack or not stack[-1].is_readyfs:
            return good("daemon", f"no daemon serves {show(place)}")
        return warning(
            "daemon",
            f"a readyfs is mounted at {show(place)}, and no daemon listens for it in {show(client.path.parent)}",
            f"readyfs umount {quote(place)}  # if it is dead; else give the --runtime-dir that it was started with",
        )
    except UserError as error:
        return refused("daemon", error)
    return _judge_status(place, status)


def _judge_status(place: Path, status: dict[str, object]) -> Finding:
    shown, name = show(place), "daemon"
    age, interval = _number(status, "age_seconds"), _number(status, "interval_seconds")
    old = f"{age:.0f} s old"
    log = f"readyfs status {quote(place)}"
    if fingerprint := status.get("held_back_fingerprint"):
        refuses = ", and refuses every walk from its root, since that is too old" if status.get("stale") else ""
        return problem(
            name,
            f"{shown} serves a catalog that is {old}{refuses}: {escape_text(str(status.get('state_error')))}",
            f"readyfs refresh {quote(place)} --accept {escape_text(str(fingerprint))}  # if the state is right",
        )
    if status.get("stale"):
        return problem(
            name,
            f"{shown} refuses every walk from its root: its catalog is {old}, more than --max-staleness allows",
            log,
        )
    if error := status.get("state_error"):
        return problem(
            name,
            f"{shown} serves a catalog that is {old}, since the state is unreadable: {escape_text(str(error))}",
            log,
        )
    if status.get("phase", "serving") != "serving":
        return note(name, f"the daemon of {shown} is on its way out ({escape_text(str(status['phase']))})", log)
    if age > max(LATE_S, LATE_INTERVALS * interval):
        return warning(
            name,
            f"the catalog of {shown} is {old}, though it should be looked at every {interval:g} s",
            f"readyfs refresh {quote(place)} --wait",
        )
    if error := status.get("baseline_error"):
        return warning(
            name,
            f"{shown} cannot write its baseline, so a restart may pass --max-retract by: {escape_text(str(error))}",
            "make room or give rights below --state-dir  # it is written again as soon as that works",
        )
    if error := status.get("history_error"):
        return warning(
            name,
            f"{shown} cannot write its history, so a restart forgets what it showed: {escape_text(str(error))}",
            "make room or give rights below --state-dir  # what is missing is written as soon as that works",
        )
    if trouble := status.get("listen_error"):
        return warning(
            name,
            f"{shown} is not notified of changes, the timer finds them: {escape_text(str(trouble))}",
            "readyfs config show --config FILE | grep state  # which server it is, and which channel",
        )
    if cause := status.get("nothing_shown"):
        return warning(
            name,
            f"{shown} shows nothing, although the state table has rows: {escape_text(str(cause))}",
            "readyfs config check --config FILE  # the settings of the mount; it says what to do",
        )
    broken = _number(status, "broken")
    if broken:
        return warning(
            name,
            f"{shown} has {broken:.0f} broken {'partition' if broken == 1 else 'partitions'}, which fail at open",
            "journalctl | grep 'run is broken'  # or the file of --log-file",
        )
    return good(name, f"{shown} is served, its catalog {old}, {_number(status, 'partitions'):,.0f} ready partitions")


def _number(status: dict[str, object], key: str) -> float:
    value = status.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _is_own_namespace(subject: Subject) -> bool:
    try:
        first = subject.places.first_namespace.readlink()
    except OSError:
        return False  # only root may look at another's; nothing can be said then
    return subject.places.own_namespace.readlink() != first
