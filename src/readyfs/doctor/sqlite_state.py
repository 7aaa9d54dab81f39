"""What holds of a SQLite state: its journal, the files beside it, and the file system that it lies on."""

from __future__ import annotations

import os
from collections.abc import Iterator

from readyfs.doctor.finding import Finding, good, note, problem, quote, show, warning
from readyfs.doctor.raw import is_remote
from readyfs.doctor.subject import Subject
from readyfs.fuse.mount_table import Mount, mount_containing, read_mount_table
from readyfs.state.sqlite.file import Access
from readyfs.state.sqlite.inspector import SqliteFiles, SqliteInspector
from readyfs.state.sqlite.store import MANY_ROWS
from readyfs.text import escape_text


def look_at_files(subject: Subject, inspector: SqliteInspector) -> Iterator[Finding]:
    """See how the database lies on disk, and what that means for its producer."""
    files = inspector.files()
    mount = mount_containing(read_mount_table(subject.places.mount_table), files.path)
    return judge_journal(files, inspector.count_rows(), mount)


def judge_journal(files: SqliteFiles, rows: int, mount: Mount | None) -> Iterator[Finding]:
    """Say whether reading and writing a SQLite state hinder each other."""
    path = files.path
    yield from judge_handing_over(files)
    if mount is not None and is_remote(mount.fs_type):
        yield warning(
            "state-filesystem",
            f"{show(path)} lies on {escape_text(mount.fs_type)}: SQLite's locks are not reliable there, and its "
            "WAL mode does not work between machines",
            "keep the database on a local file system of the producer's machine, or use PostgreSQL",
        )
    foreign = {one: uid for one, uid in files.beside.items() if uid != files.owner}
    if foreign:
        one, uid = next(iter(foreign.items()))
        yield problem(
            "state-journal",
            f"{show(one)} belongs to user {uid} and the database to user {files.owner}: the producer may be unable to "
            "write",
            f"sudo chown --reference={quote(path)} {' '.join(map(quote, foreign))}",
        )
    elif files.access is Access.ROLLBACK:
        wal = f"sqlite3 {quote(path)} 'PRAGMA journal_mode=WAL'  # by the producer"
        if rows > MANY_ROWS:
            yield warning(
                "state-journal",
                f"rollback journal with about {rows:,} rows: each load holds up the producer's commits",
                wal,
            )
        else:
            yield good("state-journal", f"rollback journal, about {rows:,} rows")
    else:
        rest = " (nobody has it open)" if files.access is Access.WAL_AT_REST and not files.is_held else ""
        yield good("state-journal", f"WAL mode{rest}, about {rows:,} rows: readers hold up nobody")
    if os.geteuid() != 0 and os.access(path, os.W_OK):
        yield note(
            "state-rights",
            f"this user may write {show(path)}; readyfs only reads it, and a user that cannot write is safer",
            f"sudo setfacl -m u:readyfs:r {quote(path)}  # and run the daemon as the user readyfs",
        )


def judge_handing_over(files: SqliteFiles) -> Iterator[Finding]:
    """Say whether the database came without what SQLite keeps beside it."""
    directory = "hand over the directory of the database: mount the directory, not the file, and use no hard link"
    if files.is_held:
        yield problem(
            "state-handed-over",
            f"somebody has {show(files.path)} open in WAL mode, and its log is not here: commits in it cannot be seen",
            directory,
        )
    elif files.is_mount or files.links > 1:
        what = "is itself a mount point" if files.is_mount else f"has {files.links} names (hard links)"
        yield warning(
            "state-handed-over",
            f"{show(files.path)} {what}: SQLite's log and journal may lie elsewhere, and a file that takes its place "
            "may not be seen",
            directory,
        )
