"""The raw store: whether it can be entered, what it lies on, and whether some of the ready runs are in it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from readyfs.doctor.finding import Finding, good, note, problem, quote, warning
from readyfs.doctor.subject import Subject
from readyfs.errors import StateError
from readyfs.fuse.mount_table import mount_containing, read_mount_table
from readyfs.layout import UnusableNameError
from readyfs.partition import Partition
from readyfs.raw.open import open_raw
from readyfs.raw.store import EntryKind, RawFile, RawStore
from readyfs.text import escape_text

if TYPE_CHECKING:
    from readyfs.state.inspect import StateInspector

SAMPLED_ROWS: Final = 1000
SAMPLED_RUNS: Final = 64
SAMPLE_BUDGET_S: Final = 1.0
"""How long a file may be looked for to try passthrough with."""
_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "glusterfs", "afs"})


def is_remote(fs_type: str) -> bool:
    """Tell whether a file system is served by another machine or process, which may hang."""
    return fs_type in _NETWORK or fs_type.startswith("fuse")


def look_at_root(subject: Subject) -> Iterator[Finding]:
    """See whether the raw root can be entered, and on what it lies."""
    assert subject.raw is not None
    store = open_raw(subject.raw, subject.raw_layout)
    store.check()
    yield good("raw-root", f"{store.label} can be entered")
    mount = mount_containing(read_mount_table(subject.places.mount_table), Path(os.path.realpath(subject.raw)))
    if mount is None:
        return
    on = f"the raw root lies on {escape_text(mount.fs_type)} ({escape_text(mount.source)})"
    if is_remote(mount.fs_type):
        yield note(
            "raw-filesystem",
            f"{on}: when it hangs, what needs it fails after --raw-timeout and names go on",
            "readyfs config show  # raw-timeout",
        )
    else:
        yield good("raw-filesystem", on)


def look_at_runs(subject: Subject) -> Iterator[Finding]:
    """See whether some ready runs are there, sealed and readable."""
    partitions = _sample(subject)
    if partitions is None:
        return
    if not partitions:
        yield note("raw-runs", f"no ready row that the filters admit is among the first {SAMPLED_ROWS:,}")
        return
    assert subject.raw is not None
    store = open_raw(subject.raw, subject.raw_layout)
    required = [os.fsencode(name) for name in subject.required_files]
    faults = [fault for partition in partitions if (fault := _find_fault(store, partition, required)) is not None]
    whole, tried = len(partitions) - len(faults), len(partitions)
    if not faults:
        yield good("raw-runs", f"{tried} of {tried} ready runs that were looked at are there and sealed")
    elif whole:
        yield warning(
            "raw-runs",
            f"{len(faults)} of {tried} ready runs that were looked at would fail at open; the first: {faults[0]}",
            f"readyfs check --state {_shown_state(subject)} --raw {quote(subject.raw)}",
        )
    else:
        yield problem(
            "raw-runs",
            f"none of {tried} ready runs that were looked at is sealed where --raw and --raw-layout say; the first: "
            f"{faults[0]}",
            f"ls {quote(subject.raw)}  # and compare --raw, --raw-layout, --raw-encoding and --required-files with it",
        )


def open_sample(subject: Subject) -> RawFile | None:
    """Open a file of some ready run, which the caller closes; None if the settings do not lead to one."""
    if subject.raw is None:
        return None
    try:
        partitions = _sample(subject)
        store = open_raw(subject.raw, subject.raw_layout)
    except (StateError, OSError):
        return None  # which their own checks report
    until_s = time.monotonic() + SAMPLE_BUDGET_S
    for partition in partitions or ():
        try:
            files = [entry.name for entry in store.list_directory(partition) if entry.kind is EntryKind.FILE]
            if files:
                return store.open_file(partition, (files[0],))
        except (OSError, UnusableNameError):
            continue
        if time.monotonic() > until_s:
            break
    return None


def open_subject(subject: Subject, url: str) -> StateInspector:
    """Return what looks at the state store of the settings."""
    # It comes with the SQL toolkit, which is slow to import.
    from readyfs.state.inspect import open_inspector

    return open_inspector(url, subject.table, subject.state_timeout_s)


def _sample(subject: Subject) -> list[Partition] | None:
    url = subject.state()
    if url is None:
        return None
    found = open_subject(subject, url).sample(subject.filters, SAMPLED_ROWS)
    step = max(len(found) // SAMPLED_RUNS, 1)
    return found[::step][:SAMPLED_RUNS]


def _find_fault(store: RawStore, partition: Partition, required: list[bytes]) -> str | None:
    try:
        where = store.describe(partition)
    except UnusableNameError as error:
        return f"{partition.key}: {error}"
    try:
        there = {entry.name for entry in store.list_directory(partition, readable=required)}
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        return f"{where} ({reason})"
    missing = [name for name in required if name not in there]
    return f"{where} (no {escape_text(missing[0])})" if missing else None


def _shown_state(subject: Subject) -> str:
    from readyfs.state.url import mask_url

    return quote(mask_url(subject.state() or ""))
