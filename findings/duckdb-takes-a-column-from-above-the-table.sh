#!/usr/bin/env bash
# DuckDB gives every row the value that a directory far above the table has, not that of the partition.
#
# Seen with:  duckdb 2.0.1.
# One expects that with `hive_partitioning` a row has the value of the partition directory that its file lies in.
# What happens: every directory of the path is read as `name=value`. If a name stands there twice, the first one counts,
#   whichever case it has: a table below `/data/customer_id=all/` gives `all` for each customer. There is no error. pyarrow
#   and Spark begin at the root of the table that they are given.
# What follows: a script with Hive columns is not made for a view below a directory that has the name of one of its
#   columns: ../docs/manifests.md#views-of-duckdb.
set -Eeuo pipefail
trap 'exit 2' ERR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile duckdb==2.0.1
cd "$work"
venv/bin/python - <<'END' >seen 2>log || { cat log >&2; exit 2; }
import os

import duckdb

for top in ("plain", "customer_id=all", "Customer_ID=all"):
    for customer in ("a", "b"):
        directory = f"{top}/table/customer_id={customer}"
        os.makedirs(directory)
        with open(f"{directory}/payload.jsonl", "w") as file:
            file.write('{"clicks": 1}\n')
    source = f"read_json('{top}/table/*/payload.jsonl', hive_partitioning = true)"
    print(top, sorted(customer for (customer,) in duckdb.sql(f"SELECT customer_id FROM {source}").fetchall()))
END
seen=$(<seen)

expected="plain ['a', 'b']
customer_id=all ['all', 'all']
Customer_ID=all ['all', 'all']"
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: DuckDB no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
