#!/usr/bin/env bash
# DuckDB opens every JSON file twice if the columns are named, and once if it has to guess them.
#
# Seen with:  duckdb 2.0.1.
# One expects that a query which is told the columns has less to do: no file has to be looked at for a guess.
# What happens: over 200 files there are some 230 opens without `columns`, because 32 files are looked at for the guess. With
#   `columns` there are some 430. The same holds of a list of files and of a glob.
# What follows: columns are named for the sake of right types, and not for speed. Where an open is a question to a daemon or
#   to a server, a count over many small files takes longer with them: ../docs/clients.md#duckdb.
#
# It needs strace.
set -Eeuo pipefail
trap 'exit 2' ERR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile duckdb==2.0.1
cd "$work"
mkdir files
for number in {1..200}; do
    echo '{"clicks": 1}' >"files/$number.jsonl"
done

# Prints how many hundreds of opens a query takes: the rest differs by the files that it looks at first.
count() {
    local query="SELECT count(*) FROM read_json($1, $2)"
    strace -f -e trace=openat -o trace venv/bin/python -c 'import sys, duckdb; duckdb.sql(sys.argv[1]).fetchall()' "$query"
    echo "$3: $(($(grep -c '"files/.*jsonl"' trace) / 100))00"
}

list=[$(printf "'files/%s.jsonl'," {1..200})]
seen=$(
    for source in "$list" "'files/*.jsonl'"; do
        count "$source" "columns = {clicks: 'BIGINT'}" 'columns named'
        count "$source" 'auto_detect = true' 'columns guessed'
    done
)

expected='columns named: 400
columns guessed: 200
columns named: 400
columns guessed: 200'
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: DuckDB no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
