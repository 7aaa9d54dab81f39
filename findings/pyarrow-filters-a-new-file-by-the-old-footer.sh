#!/usr/bin/env bash
# pyarrow finds no row of a Parquet file that was replaced, because it filters by the footer of the file before.
#
# Seen with:  pyarrow 26.0.1.
# One expects that a dataset reads a file that was replaced by rename whole, the old one or the new one, or fails.
# What happens: a dataset keeps the footer of each file that it has filtered or counted. When it is filtered again, the
#   statistics of the old footer say which row groups can match, and the rest is not opened: 0 rows of run 2 here, although
#   all 20 are there, and `to_table` without a filter gives them. `count_rows` says 20 of a file that has 40 by now. There
#   is no error. A dataset that is made afterwards is right.
# What follows: a program that keeps a dataset over the live tree reads nothing, and believes it. It makes the dataset
#   anew for each question, or reads in a view, where a path never gets another file: ../docs/clients.md#pyarrow-over-a-view.
set -Eeuo pipefail
trap 'exit 2' ERR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile pyarrow==26.0.1
cd "$work"
venv/bin/python - <<'END' >seen 2>log || { cat log >&2; exit 2; }
import os

import pyarrow
import pyarrow.dataset
import pyarrow.parquet


def switch(run, rows):
    table = pyarrow.table({"run": [run] * rows, "row": range(rows)})
    pyarrow.parquet.write_table(table, "new")
    os.replace("new", "payload.parquet")


def rows(dataset, run):
    return dataset.to_table(filter=pyarrow.dataset.field("run") == run).num_rows


def opened():
    return pyarrow.dataset.dataset("payload.parquet")


switch(run=1, rows=20)
kept = opened()
print(rows(kept, 1), "rows of run 1")
switch(run=2, rows=20)
print(rows(kept, 2), "rows of run 2,", kept.to_table().num_rows, "rows without a filter")
print(rows(opened(), 2), "rows of run 2 in a new dataset")
switch(run=3, rows=40)
print(kept.count_rows(), "rows counted,", opened().count_rows(), "in a new dataset")
END
seen=$(<seen)

expected='20 rows of run 1
0 rows of run 2, 20 rows without a filter
20 rows of run 2 in a new dataset
20 rows counted, 40 in a new dataset'
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: pyarrow no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
