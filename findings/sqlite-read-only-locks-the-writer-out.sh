#!/usr/bin/env bash
# A reader that opens an SQLite database with mode=ro can shut its writer out.
#
# Seen with:  SQLite 3.54.1 (apsw 3.54.1.0).
# One expects that `mode=ro` changes nothing on disk, least of all for the writer.
# What happens: the database is in WAL mode and nobody has it open. A reader with `mode=ro` that may write to the folder
#   makes `-wal` and `-shm` beside the database, and leaves both when it closes. They get the database's mode, 0644, and
#   belong to the reader. A writer of another account cannot write to them: "attempt to write a readonly database",
#   until somebody removes them. (Root gives them to the database's owner, if it has CAP_CHOWN.)
# What follows: readyfs opens such a database as `immutable`, under SQLite's shared lock, and never has SQLite make
#   files that belong to anybody but the database's owner. See ../docs/decisions/0007-reading-sqlite-without-writing.md.
#
# An ordinary user has one account only: then reader and writer share it, and only the files that stay are checked.
set -Eeuo pipefail
trap 'exit 2' ERR
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check apsw==3.54.1.0

chmod 711 "$work"
mkdir "$work/shared"
seen=$("$work/venv/bin/python" - "$work/shared" <<'END'
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import apsw

FOLDER = sys.argv[1]
DATABASE = f"{FOLDER}/state.db"
WRITER, READER, GROUP = 60001, 60002, 60003  # need not exist
IS_ROOT = os.getuid() == 0


def become(user):
    if IS_ROOT:
        os.setgroups([])
        os.setresgid(GROUP, GROUP, GROUP)
        os.setresuid(user, user, user)


def run_as(user, action):
    with ProcessPoolExecutor(1, get_context("fork"), become, (user,)) as pool:
        return pool.submit(action).result()


def write():
    writer = apsw.Connection(DATABASE)
    try:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE IF NOT EXISTS state (run)")
        writer.execute("INSERT INTO state VALUES (1)")
        return "wrote a row"
    except apsw.ReadOnlyError as error:
        return str(error)
    finally:
        writer.close()


def read():
    reader = apsw.Connection(f"file:{DATABASE}?mode=ro", apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        return f"read {reader.execute('SELECT count(*) FROM state').get} row"
    finally:
        reader.close()


if IS_ROOT:  # a folder in which a group works
    os.chown(FOLDER, WRITER, GROUP)
    os.chmod(FOLDER, 0o775)
for name, user, action in (("writer", WRITER, write), ("reader", READER, read)):
    print(f"{name}: {run_as(user, action)}; in the folder:", *sorted(os.listdir(FOLDER)))
print(f"writer: {run_as(WRITER, write)}")
END
)

outcome='attempt to write a readonly database'
((EUID == 0)) || outcome='wrote a row'
expected="writer: wrote a row; in the folder: state.db
reader: read 1 row; in the folder: state.db state.db-shm state.db-wal
writer: $outcome"
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: SQLite no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
