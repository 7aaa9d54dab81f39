#!/usr/bin/env bash
# Spark reads a file that was replaced by a longer one up to the old length, and reports no error.
#
# Seen with:  Spark 4.3.0 (pyspark 4.3.0) on Java 17.
# One expects that a file which is replaced by rename is read whole: the old one, or the new one, or not at all.
# What happens: a DataFrame keeps each file's path and length from when it was made. When it is executed it opens the path
#   again and compares neither inode, mtime nor size. Of a longer file it reads as many bytes as the old one had, and
#   on to the end of that line: 21 of 40 rows here, with `FAILFAST`. A DataFrame that is made afterwards reads all 40.
# What follows: an atomic switch and a new inode for each run do not protect such a job, and no filesystem can while
#   paths follow the state. The documents say how a job notices: ../docs/clients.md#spark. Why files of one run never
#   change, and names do: ../docs/decisions/0001-inode-belongs-to-the-run.md.
set -Eeuo pipefail
trap 'exit 2' ERR
command -v java >/dev/null || {
    echo 'failed: Spark needs Java 17 or newer; install the package default-jre-headless' >&2
    exit 2
}
java -XX:-UsePerfData -version 2>&1 | sed -n 1p
work=$(mktemp -d)
clean() {
    # An interrupt while Spark starts can leave its JVM behind.
    while pkill -KILL -f "$work/venv/"; do sleep 0.1; done
    rm -rf "$work"
}
trap clean EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile pyspark==4.3.0

# All that Spark leaves goes into the folder; starting costs more than running, so that a simple compiler does.
export JAVA_TOOL_OPTIONS="-Djava.io.tmpdir=$work -XX:-UsePerfData -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
export SPARK_LOCAL_DIRS=$work SPARK_LOCAL_IP=127.0.0.1
cd "$work"
"$work/venv/bin/python" - <<'END' >"$work/seen" 2>"$work/log" || { cat "$work/log" >&2; exit 2; }
import os

from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", False).getOrCreate()


def switch(run, rows):
    with open("new", "w") as file:
        file.writelines(f'{{"run": {run}, "row": {row}}}\n' for row in range(100, 100 + rows))
    os.replace("new", "payload.jsonl")


def plan():
    return spark.read.schema("run INT, row INT").json("payload.jsonl", mode="FAILFAST")


switch(run=1, rows=20)
early = plan()
switch(run=2, rows=40)
for name, frame in (("planned before", early), ("planned after", plan())):
    rows = frame.collect()
    print(f"{name}: {len(rows)} rows of run", *sorted({row.run for row in rows}))
spark.stop()
END
seen=$(<"$work/seen")

expected='planned before: 21 rows of run 2
planned after: 40 rows of run 2'
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: Spark no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
