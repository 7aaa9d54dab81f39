"""Which checks there are for what is known, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from readyfs.doctor import machine, mounts, raw
from readyfs.doctor.finding import Check, Finding, Group, good, warning
from readyfs.doctor.kernel import kernel_check
from readyfs.doctor.subject import Subject
from readyfs.fuse.mount_point import Reserved

NAMES = (
    "user",
    "compiled-part",
    "fuse-device",
    "fusermount3",
    "allow-other",
    "kernel",
    "descriptors",
    "updatedb",
    "dead-mounts",
    "mount-point",
    "propagation",
    "daemon",
    "settings",
    "state",
    "raw-root",
    "raw-runs",
    "pin-store",
)
"""Every check, in the order of the report. One of them may say more than one thing."""


def choose_checks(subject: Subject, only: tuple[str, ...] = ()) -> list[Check]:
    """Return the checks that can be made of a subject, those of `only` if it names any."""
    return [check for check in _checks(subject, only or NAMES) if check.name in (only or NAMES)]


def _checks(subject: Subject, wanted: tuple[str, ...]) -> Iterator[Check]:
    places = subject.places
    yield Check(Group.MACHINE, "user", partial(machine.look_at_user, subject))
    yield Check(Group.MACHINE, "compiled-part", machine.look_at_compiled_part)
    yield Check(Group.MACHINE, "fuse-device", partial(machine.look_at_device, places))
    yield Check(Group.MACHINE, "fusermount3", partial(machine.look_at_helper, subject))
    yield Check(Group.MACHINE, "allow-other", partial(machine.look_at_other_users, subject))
    if "kernel" in wanted:  # which makes a directory
        yield kernel_check(subject)
    yield Check(Group.MACHINE, "descriptors", machine.look_at_descriptors)
    yield Check(Group.MACHINE, "updatedb", partial(machine.look_at_crawlers, subject))
    yield Check(Group.MOUNTS, "dead-mounts", mounts.look_at_dead_mounts)
    if subject.mountpoint is not None:
        yield Check(Group.MOUNTS, "mount-point", partial(_look_at_place, subject, subject.mountpoint))
    yield Check(Group.MOUNTS, "propagation", partial(mounts.look_at_propagation, subject))
    yield Check(Group.MOUNTS, "daemon", partial(mounts.look_at_daemons, subject))
    if subject.check_settings is not None:
        yield Check(Group.SETTINGS, "settings", partial(_look_at_settings, subject))
    if subject.find_state is not None:
        yield Check(Group.STATE, "state", partial(_look_at_state, subject))
    if subject.raw is not None:
        yield Check(Group.RAW, "raw-root", partial(raw.look_at_root, subject))
        if subject.find_state is not None:
            yield Check(Group.RAW, "raw-runs", partial(raw.look_at_runs, subject))
    if subject.pin_store is not None:
        yield Check(Group.PINS, "pin-store", partial(_look_at_pin_store, subject))


def _look_at_state(subject: Subject) -> Iterator[Finding]:
    # It comes with the SQL toolkit, which is slow to import, and is imported where nothing else waits for it.
    from readyfs.doctor.state import look_at_state

    return look_at_state(subject)


def _look_at_pin_store(subject: Subject) -> Iterator[Finding]:
    # It comes with all that catalogs are made of, which no other check needs.
    from readyfs.doctor.pin_store import look_at_pin_store

    return look_at_pin_store(subject)


def _look_at_place(subject: Subject, mountpoint: Path) -> Iterator[Finding]:
    return mounts.look_at_place(mountpoint, list(_reserved(subject)))


def _look_at_settings(subject: Subject) -> Iterator[Finding]:
    assert subject.check_settings is not None
    warnings = subject.check_settings()
    for one in warnings:
        text, _, remedy = one.rpartition("; ")
        yield warning("settings", text, remedy)
    if not warnings:
        yield good("settings", "the settings fit together")


def _reserved(subject: Subject) -> Iterator[Reserved]:
    """Yield what a mount must not touch, as a daemon reserves it."""
    if subject.raw is not None and subject.raw.startswith("/"):
        yield Reserved(Path(subject.raw), "raw root")
    url = subject.state()
    if url is not None:
        from readyfs.state.url import sqlite_path

        state_file = sqlite_path(url)
        if state_file is not None:
            yield Reserved(state_file, "state file")
    yield from subject.reserved
