#!/usr/bin/env bash
# SQLite reads the log of a former database into the one that took its place.
#
# Seen with:  SQLite 3.54.1 (apsw 3.54.1.0).
# One expects that a database which is renamed into place is what is read from then on, once everybody has closed the
#   one before it.
# What happens: somebody has the former database open in WAL mode while the new one is renamed into place. When that
#   connection is closed, SQLite sees that its file was moved: it leaves `-wal` and `-shm`. Whoever opens the name next
#   gets the commits in the log on top of the new file: rows of the former one, or "malformed" where the pages differ.
# What follows: readyfs keeps no connection between looks, and so no log; and a log that was there before the database
#   was replaced is an outage until it is removed. See ../docs/decisions/0032-nothing-between-looks.md.
set -Eeuo pipefail
trap 'exit 2' ERR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check apsw==3.54.1.0

mkdir "$work/shared"
seen=$("$work/venv/bin/python" - "$work/shared" <<'END'
import os
import sys

import apsw

os.chdir(sys.argv[1])


def make(name, run):
    connection = apsw.Connection(name)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE state (run)")
    connection.execute("INSERT INTO state VALUES (?)", (run,))
    connection.close()


def read():
    connection = apsw.Connection("state.db")
    try:
        return connection.execute("SELECT run FROM state").get
    finally:
        connection.close()


make("state.db", "old")
make("new.db", "new")
writer = apsw.Connection("state.db")
writer.execute("UPDATE state SET run = 'old, in the log'")
os.replace("new.db", "state.db")
writer.close()
print("after the close:", *sorted(os.listdir()))
print("read:", read())
END
)

expected="after the close: state.db state.db-shm state.db-wal
read: old, in the log"
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: SQLite no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
