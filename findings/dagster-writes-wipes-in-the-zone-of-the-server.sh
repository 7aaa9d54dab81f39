#!/usr/bin/env bash
# Dagster on PostgreSQL writes the time of an event in UTC, and the time of a wipe in the zone of the server.
#
# Seen with:  dagster 1.13.27, dagster-postgres 0.29.27, psycopg2-binary 2.9.13, PostgreSQL 15.18 (Debian's
#   postgresql-15). The newest server that is installed is used.
# One expects that event_logs.timestamp and asset_keys.wipe_timestamp can be compared: both are timestamps without a time
#   zone, in one database, written by one program. An event is wiped if it is not newer than the wipe.
# What happens: the event is written as UTC. The wipe is written with its zone, into a column that has none, so that the
#   server turns it into local time. In Kathmandu an asset that is materialized after a wipe looks wiped for 5:45 hours.
#   West of UTC, what was wiped looks as if it were there. Dagster itself reads a number of seconds in asset_details.
# What follows: the view that makes Dagster's events a state table reads asset_details, too, and never wipe_timestamp.
#   See ../docs/decisions/0063-events-of-dagster.md.
set -Eeuo pipefail
trap 'exit 2' ERR
programs=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1) || {
    echo 'failed: no PostgreSQL server below /usr/lib/postgresql; install the package postgresql' >&2
    exit 2
}
work=$(mktemp -d)
account=()
stop() {
    [[ ! -e $work/servers/one/postmaster.pid ]] || run pg_ctl -s -w -m immediate -D one stop || true
    rm -rf "$work"
}
trap stop EXIT

# PostgreSQL does not run as root.
run() { (cd "$work/servers" && exec "${account[@]}" "$programs/$1" "${@:2}"); }

chmod 711 "$work"
mkdir -m 700 "$work/servers"
if ((EUID == 0)); then
    account=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
    chown nobody "$work/servers"
fi
run postgres --version
run initdb --no-sync --no-locale -E UTF8 -A trust -U postgres -D one >/dev/null
run pg_ctl -s -w -D one -l one.log -o "-p 5001 -k '$work/servers' -c listen_addresses= -c timezone=Asia/Kathmandu" start

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    dagster==1.13.27 dagster-postgres==0.29.27 psycopg2-binary==2.9.13
mkdir "$work/home"
cat >"$work/home/dagster.yaml" <<END
telemetry: {enabled: false}
storage: {postgres: {postgres_url: "postgresql+psycopg2://postgres@/postgres?host=$work/servers&port=5001"}}
END
DAGSTER_HOME=$work/home "$work/venv/bin/python" - "$work/servers" <<'END' >"$work/seen" 2>"$work/log" || { cat "$work/log" >&2; exit 2; }
import sys

import dagster
import psycopg2

instance = dagster.DagsterInstance.get()
key = dagster.AssetKey("sales")
instance.report_runless_asset_event(dagster.AssetMaterialization(key, partition="before"))
instance.wipe_assets([key])
instance.report_runless_asset_event(dagster.AssetMaterialization(key, partition="after"))
print("Dagster has", *instance.get_materialized_partitions(key))

database = psycopg2.connect(host=sys.argv[1], port=5001, user="postgres", dbname="postgres")
for title, wiped in (
    ("wipe_timestamp", "wipe_timestamp"),
    ("asset_details", "to_timestamp((asset_details::jsonb ->> 'last_wipe_timestamp')::float8) AT TIME ZONE 'UTC'"),
):
    cursor = database.cursor()
    cursor.execute(f"""
        SELECT partition, timestamp > {wiped}, round(extract(epoch FROM {wiped} - timestamp) / 60)
        FROM event_logs JOIN asset_keys USING (asset_key)
        WHERE dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY event_logs.id
    """)
    for partition, is_newer, minutes in cursor.fetchall():
        print(f"by {title}: {partition} is newer than the wipe: {is_newer}, which came {abs(minutes)} minutes later")
END
seen=$(<"$work/seen")

expected='Dagster has after
by wipe_timestamp: before is newer than the wipe: False, which came 345 minutes later
by wipe_timestamp: after is newer than the wipe: False, which came 345 minutes later
by asset_details: before is newer than the wipe: False, which came 0 minutes later
by asset_details: after is newer than the wipe: True, which came 0 minutes later'
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: Dagster no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
