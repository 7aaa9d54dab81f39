#!/usr/bin/env bash
# Spark leaves out the files of a glob that an executor does not find when it lists them, and reports no error.
#
# Seen with:  Spark 4.3.0 (pyspark 4.3.0) on Java 17, standalone, with one worker.
# One expects that a file which the driver found and an executor does not have fails the job.
# What happens: the driver expands the glob. If there are more than 32 paths, the executors list them
#   (spark.sql.sources.parallelPartitionDiscovery.threshold), and each is a path of its own, of which "not found" is
#   taken for an empty one. A worker without the directory gives 0 of 40 rows here. Where the driver lists the paths,
#   and where the glob is a directory with recursiveFileLookup, the job fails.
# What follows: on a cluster, name the directory, or have the driver list. A machine on which nothing is mounted, or
#   where a view is not found, is an error then: ../docs/scale-out.md#spark-on-a-cluster.
set -Eeuo pipefail
trap 'exit 2' ERR
command -v java >/dev/null || {
    echo 'failed: Spark needs Java 17 or newer; install the package default-jre-headless' >&2
    exit 2
}
apart=(unshare --mount)
((EUID == 0)) || apart=(unshare --user --map-root-user --mount)
"${apart[@]}" true || {
    echo 'failed: this user may not make a mount namespace' >&2
    exit 2
}
java -XX:-UsePerfData -version 2>&1 | sed -n 1p
work=$(mktemp -d)
groups=()
clean() {
    for group in "${groups[@]}"; do kill -KILL -- "-$group" 2>/dev/null || true; done
    { wait; } 2>/dev/null # says "Killed" otherwise
    rm -rf "$work"
}
trap clean EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile pyspark==4.3.0

# All that Spark leaves goes into the folder; starting costs more than running, so that a simple compiler does.
export JAVA_TOOL_OPTIONS="-Djava.io.tmpdir=$work -XX:-UsePerfData -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
export SPARK_LOCAL_DIRS=$work SPARK_LOCAL_IP=127.0.0.1 PATH=$work/venv/bin:$PATH
cd "$work"
mkdir data
for number in {1..40}; do
    mkdir "data/$number"
    echo "{\"number\": $number}" >"data/$number/payload.jsonl"
done

# Each in a session of its own, with all that it starts; its log is waited for.
start() {
    local log=$1 line=$2
    shift 2
    setsid "$@" >"$log" 2>&1 &
    groups+=($!)
    for _ in {1..600}; do
        ! grep -q "$line" "$log" || return 0
        sleep 0.1
    done
    cat "$log" >&2
    return 1
}
deploy=org.apache.spark.deploy
start master.log 'at spark://' spark-class $deploy.master.Master --host 127.0.0.1 --port 0 --webui-port 0
master=$(grep -o 'spark://127.0.0.1:[0-9]*' master.log | sed -n 1p)
# What lies in `data` is hidden from the worker.
start worker.log 'Successfully registered' "${apart[@]}" sh -c 'mount -t tmpfs none data && exec "$@"' sh \
    spark-class $deploy.worker.Worker --host 127.0.0.1 --cores 1 --memory 1g --webui-port 0 --work-dir "$work/jobs" "$master"

cat >job.py <<'END'
import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.master(sys.argv[1]).config("spark.ui.enabled", False).getOrCreate()
spark.sparkContext.setLogLevel("OFF")


def count(path, **options):
    try:
        return f"{spark.read.schema('number INT').json(path, mode='FAILFAST', **options).count()} rows"
    except Exception as error:
        return "an error" if "does not exist" in str(error) else f"another error: {error}"


print("glob:", count("data/*/payload.jsonl"))
print("directory:", count("data", recursiveFileLookup=True))
spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.threshold", 1000)
print("glob, listed by the driver:", count("data/*/payload.jsonl"))
spark.stop()
END
setsid "$work/venv/bin/python" job.py "$master" >seen 2>log &
groups+=($!)
wait $! || { cat log >&2; exit 2; }
seen=$(<seen)

expected='glob: 0 rows
directory: an error
glob, listed by the driver: an error'
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: Spark no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
