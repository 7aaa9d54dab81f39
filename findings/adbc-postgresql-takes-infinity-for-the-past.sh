#!/usr/bin/env bash
# The ADBC driver for PostgreSQL reads `infinity` as a time before all others, older even than `-infinity`.
#
# Seen with:  adbc-driver-postgresql 1.13.0, pyarrow 26.0.1, PostgreSQL 15.18 (Debian's postgresql-15). The newest server
#   that is installed is used.
# One expects of a row that is valid until `infinity` that it is valid now: an error, a NULL or the latest time that Arrow
#   can hold would all do. The server itself orders `-infinity` first and `infinity` last.
# What happens: the driver adds the distance of the two epochs to the number on the wire, and the sum wraps. `infinity`
#   becomes the number just below that of `-infinity`, in date, timestamp and timestamptz. Nothing is raised, so a filter
#   or a maximum in Arrow leaves out just the rows that are valid for ever.
# What follows: readyfs has the server write every time as text, and takes the two words for what they mean.
#   See ../docs/state-stores.md.
set -Eeuo pipefail
trap 'exit 2' ERR
programs=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1) || {
    echo 'failed: no PostgreSQL server below /usr/lib/postgresql; install the package postgresql' >&2
    exit 2
}
work=$(mktemp -d)
account=()
stop() {
    [[ ! -e $work/server/data/postmaster.pid ]] || run pg_ctl -s -w -m immediate -D data stop || true
    rm -rf "$work"
}
trap stop EXIT

# PostgreSQL does not run as root.
run() { (cd "$work/server" && exec "${account[@]}" "$programs/$1" "${@:2}"); }

chmod 711 "$work"
mkdir -m 700 "$work/server"
if ((EUID == 0)); then
    account=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
    chown nobody "$work/server"
fi
run postgres --version
run initdb --no-sync --no-locale -E UTF8 -A trust -U postgres -D data >/dev/null
run pg_ctl -s -w -D data -l data.log -o "-p 5001 -k '$work/server' -c listen_addresses= -c autovacuum=off" start

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    'adbc-driver-postgresql==1.13.0' 'pyarrow==26.0.1'
seen=$("$work/venv/bin/python" - "$work/server" <<'END'
import datetime
import sys
from urllib.parse import quote

import adbc_driver_postgresql.dbapi
import pyarrow as pa
import pyarrow.compute as pc

uri = f"postgresql://postgres@{quote(sys.argv[1], safe='')}:5001/postgres"
with adbc_driver_postgresql.dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
    cursor.execute("CREATE TABLE price (name text, until_day date, until_time timestamp, until_zoned timestamptz)")
    for name, moment in (("never", "-infinity"), ("until 2030", "2030-01-01"), ("for ever", "infinity")):
        cursor.execute(f"INSERT INTO price VALUES ('{name}', '{moment}', '{moment}', '{moment}')")
    for column in ("until_day", "until_time", "until_zoned"):
        cursor.execute(f"SELECT name, {column} FROM price ORDER BY {column}")
        rows = cursor.fetch_arrow_table()
        moments = rows[column]
        number = pa.int32() if pa.types.is_date32(moments.type) else pa.int64()
        never, _, for_ever = moments.cast(number).to_pylist()
        by_arrow = rows.take(pc.sort_indices(moments))["name"].to_pylist()
        now = datetime.date(2026, 1, 1) if number == pa.int32() else datetime.datetime(2026, 1, 1)
        if getattr(moments.type, "tz", None):
            now = now.replace(tzinfo=datetime.timezone.utc)
        valid = rows.filter(pc.greater(moments, pa.scalar(now, moments.type)))["name"].to_pylist()
        print(f"{column}: the server's order {rows['name'].to_pylist()}, Arrow's {by_arrow}; valid in 2026: {valid};"
              f" infinity is -infinity {for_ever - never:+d}")
END
)

expected="until_day: the server's order ['never', 'until 2030', 'for ever'], Arrow's ['for ever', 'never', 'until 2030']; valid in 2026: ['until 2030']; infinity is -infinity -1
until_time: the server's order ['never', 'until 2030', 'for ever'], Arrow's ['for ever', 'never', 'until 2030']; valid in 2026: ['until 2030']; infinity is -infinity -1
until_zoned: the server's order ['never', 'until 2030', 'for ever'], Arrow's ['for ever', 'never', 'until 2030']; valid in 2026: ['until 2030']; infinity is -infinity -1"
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: the driver no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
