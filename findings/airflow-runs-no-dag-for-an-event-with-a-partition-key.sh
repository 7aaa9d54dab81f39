#!/usr/bin/env bash
# Airflow does not run a DAG that is scheduled by an asset when an event of the asset comes with a partition key.
#
# Seen with:  apache-airflow 3.3.2, SQLite.
# One expects that an event of an asset runs the DAGs that are scheduled by the asset. A partition key in the event would
#   say which part of it has changed, and a schedule that knows no parts would not mind. Or the event would be refused.
# What happens: the API answers 200 and lists the event, and no run is queued. An event without a key queues one. When that
#   one runs, it is given the events with a key as well.
# What follows: the program that posts a mount's changes names the partition in `extra`, and gives no partition key. See
#   ../docs/schedulers/airflow.md#asset-events.
set -Eeuo pipefail
trap 'exit 2' ERR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export AIRFLOW_HOME=$work/home AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__CORE__DAGS_FOLDER=$work/dags
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS=True AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False
mkdir "$work/dags"
cat >"$work/dags/on_change.py" <<'END'
from airflow.sdk import Asset, dag, task


@dag(schedule=Asset("scheme://some/asset"))
def on_change():
    @task
    def look():
        pass

    look()


on_change()
END
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check apache-airflow==3.3.2
PATH=$work/venv/bin:$PATH
{
    airflow db migrate
    airflow dags reserialize
    airflow dags unpause on_change
} >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 2; }
python - <<'END' >"$work/seen" 2>"$work/log" || { cat "$work/log" >&2; exit 2; }
from airflow.api_fastapi.app import create_app
from airflow.models.asset import AssetDagRunQueue
from airflow.utils.session import create_session
from sqlalchemy import delete, func, select
from starlette.testclient import TestClient

PLAIN, KEYED = {}, {"partition_key": "2024-06-01"}

with TestClient(create_app()) as client:
    client.headers["Authorization"] = f"Bearer {client.get('/auth/token').json()['access_token']}"
    (asset,) = client.get("/api/v2/assets").json()["assets"]
    for title, fields in (("without a key", PLAIN), ("with a key", KEYED)):
        answer = client.post("/api/v2/assets/events", json={"asset_id": asset["id"], **fields})
        with create_session() as session:
            queued = session.scalar(select(func.count()).select_from(AssetDagRunQueue))
            session.execute(delete(AssetDagRunQueue))
        listed = client.get("/api/v2/assets/events").json()["total_entries"]
        print(f"{title}: answered {answer.status_code}, {listed} listed, {queued} DAGs queued")
END
seen=$(grep -a DAGs "$work/seen")

expected='without a key: answered 200, 1 listed, 1 DAGs queued
with a key: answered 200, 2 listed, 0 DAGs queued'
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: Airflow no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
