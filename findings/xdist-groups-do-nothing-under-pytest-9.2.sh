#!/usr/bin/env bash
# Tests that are marked as one group of pytest-xdist are spread over all processes under pytest 9.2, without a word.
#
# Seen with:  pytest 9.2.0 and pytest-xdist 3.8.0; with pytest 9.0.3 the same tests stay together.
# One expects what pytest-xdist's manual says of `--dist=loadgroup`: tests with one `xdist_group` mark run in one process.
# What happens: xdist tells groups by a suffix that it writes into a private attribute of each test, from which pytest
#   made the test's id. pytest 9.2 makes the id of something else, so the suffix is never seen. Each test is a group of
#   its own then. Nothing warns, and nothing fails, unless the tests need to be together.
# What follows: the tests of readyfs that share a slow server are kept together by a scheduler that goes by file names.
#   See ../docs/decisions/0024-tests-beside-each-other.md.
set -Eeuo pipefail
trap 'exit 2' ERR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
cat >"$work/test_group.py" <<'END'
import os
import pathlib
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_in_one_group(number):
    time.sleep(0.2)
    pathlib.Path(os.environ["SEEN"], os.environ["PYTEST_XDIST_WORKER"]).touch()
END

# How many of two processes have run tests of the one group.
count() {
    "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "pytest==$1" pytest-xdist==3.8.0
    mkdir "$work/$1"
    (cd "$work" && SEEN=$work/$1 "$work/venv/bin/python" -m pytest -q -p no:cacheprovider -n 2 --dist=loadgroup) >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 2; }
    printf 'pytest %s: one group, %s of 2 processes\n' "$1" "$(find "$work/$1" -type f | wc -l)"
}

expected='pytest 9.0.3: one group, 1 of 2 processes
pytest 9.2.0: one group, 2 of 2 processes'
seen=$(count 9.0.3; count 9.2.0)
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: expected was:\n%s\n' "$expected"
    exit 1
}
