#!/usr/bin/env bash
# On a PostgreSQL standby, two equal answers of pg_current_snapshot() do not show the same rows.
#
# Seen with:  PostgreSQL 15.18 (Debian's postgresql-15), psycopg 3.3.9. The newest server that is installed is used.
# One expects what the manual says of the answer `xmin:xmax:xip_list`: a transaction between xmin and xmax that is not in
#   the list has ended. So equal answers see the same transactions, hence the same rows.
# What happens: on a hot standby the list is always empty. A transaction that commits while an older one stays open makes
#   its rows visible, and the answer is the same before and after. And pg_visible_in_snapshot() is true of the one that
#   is still open, whose rows nobody sees. On the primary both answers are right.
# What follows: readyfs takes a standby's equal snapshots as proof of equal rows only if xmin and xmax are equal, too.
#   See ../docs/decisions/0019-change-detection.md.
set -Eeuo pipefail
trap 'exit 2' ERR
programs=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1) || {
    echo 'failed: no PostgreSQL server below /usr/lib/postgresql; install the package postgresql' >&2
    exit 2
}
work=$(mktemp -d)
account=()
stop() {
    for server in standby primary; do
        [[ ! -e $work/servers/$server/postmaster.pid ]] || run pg_ctl -s -w -m immediate -D "$server" stop || true
    done
    rm -rf "$work"
}
trap stop EXIT

# PostgreSQL does not run as root.
run() { (cd "$work/servers" && exec "${account[@]}" "$programs/$1" "${@:2}"); }
start() { run pg_ctl -s -w -D "$1" -l "$1.log" -o "-p $2 -k '$work/servers' -c listen_addresses= -c autovacuum=off" start; }

chmod 711 "$work"
mkdir -m 700 "$work/servers"
if ((EUID == 0)); then
    account=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
    chown nobody "$work/servers"
fi
run postgres --version
run initdb --no-sync --no-locale -E UTF8 -A trust -U postgres -D primary >/dev/null
start primary 5001
run pg_basebackup --no-sync -c fast -R -U postgres -h "$work/servers" -p 5001 -D standby
start standby 5002

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9'
seen=$("$work/venv/bin/python" - "$work/servers" <<'END'
import sys
import time

import psycopg


def connect(port):
    return psycopg.connect(host=sys.argv[1], port=port, user="postgres", dbname="postgres")


def one(connection, statement):
    return connection.execute(statement).fetchone()[0]


servers = {"primary": connect(5001), "standby": connect(5002)}
for server in servers.values():
    server.autocommit = True
primary, standby = servers.values()
older, younger = connect(5001), connect(5001)
primary.execute("CREATE TABLE state (run text)")
older.execute("INSERT INTO state VALUES ('older')")
younger.execute("INSERT INTO state VALUES ('younger')")
primary.execute("INSERT INTO state VALUES ('first')")
open_one = one(older, "SELECT pg_current_xact_id()")


def look():
    position = one(primary, "SELECT pg_current_wal_flush_lsn()")
    deadline = time.monotonic() + 30
    while not one(standby, f"SELECT pg_last_wal_replay_lsn() >= '{position}'"):
        assert time.monotonic() < deadline, "the standby does not catch up"
        time.sleep(0.02)
    statement = f"""
        SELECT pg_current_snapshot()::text, array(SELECT run FROM state ORDER BY 1),
               pg_visible_in_snapshot('{open_one}', pg_current_snapshot())"""
    return {name: server.execute(statement).fetchone() for name, server in servers.items()}


before = look()
younger.commit()
after = look()
for name in servers:
    same = "the same snapshot" if before[name][0] == after[name][0] else "another snapshot"
    ended = "has ended" if after[name][2] else "is in progress"
    print(f"{name}: {before[name][1]}, then {same} with {after[name][1]}; it says that the older one {ended}")
    print(f"  snapshots {before[name][0]} and {after[name][0]}", file=sys.stderr)
END
)

expected="primary: ['first'], then another snapshot with ['first', 'younger']; it says that the older one is in progress
standby: ['first'], then the same snapshot with ['first', 'younger']; it says that the older one has ended"
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: PostgreSQL no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
