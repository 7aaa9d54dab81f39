"""One reader process of the concurrent model: looks at a query directory in every way until told to stop.

    python reader.py NUMBER DIRECTORY LOG DATE...

It writes one JSON line per answer (see `history.Answer`) and ends when its standard input is closed. Bytes tell their
run by themselves: each line of a payload holds it, and so does the metadata.
"""

from __future__ import annotations

import errno
import json
import os
import random
import select
import sys
import time
from collections.abc import Callable

ABSENT = ""


def read_run(path: str) -> str:
    """Return the run that a payload's bytes name, all of them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        half = os.fstat(descriptor).st_size // 2
        data = os.pread(descriptor, half, 0)
        os.sched_yield()
        data += b"".join(iter(lambda: os.read(descriptor, 1 << 16), b""))[half:]
    finally:
        os.close(descriptor)
    return _one({json.loads(line)["run"] for line in data.splitlines()}, path)


def read_pair(path: str) -> str:
    """Return the run that both files of a held date directory name (V6)."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        names = set(os.listdir(directory))
        if names != {"payload.jsonl", "metadata.json"}:
            return f"torn listing {sorted(names)}"
        runs = set()
        for name in sorted(names):
            with open(os.open(name, os.O_RDONLY, dir_fd=directory), "rb") as file:
                runs |= {json.loads(line)["run" if name == "payload.jsonl" else "run_id"] for line in file}
        return _one(runs, path)
    finally:
        os.close(directory)


def read_lineage(path: str) -> str:
    """Return the run that the extended attribute of a date directory names."""
    return os.getxattr(path, "user.readyfs.run_id").decode()


def list_names(path: str) -> str:
    """Return the names of the query directory."""
    return " ".join(sorted(os.listdir(path)))


def _one(runs: set[str], path: str) -> str:
    return runs.pop() if len(runs) == 1 else f"torn {sorted(runs)} in {path}"


def _ask(call: Callable[[str], str], path: str) -> str:
    try:
        return call(path)
    except OSError as error:
        return ABSENT if error.errno == errno.ENOENT else f"failed: {errno.errorcode.get(error.errno or 0)}"


def main() -> None:
    """Read until standard input ends."""
    number, directory, log, *dates = sys.argv[1:]
    choose = random.Random(int(number))
    with open(log, "w") as output:
        while not select.select([sys.stdin], [], [], 0)[0]:
            date = choose.choice(dates)
            path = os.path.join(directory, date)
            call, where, subject = choose.choice(
                [
                    (read_run, os.path.join(path, "payload.jsonl"), date),
                    (read_pair, path, date),
                    (read_lineage, path, date),
                    (list_names, directory, ""),
                ]
            )
            began = time.monotonic_ns()
            value = _ask(call, where)
            ended = time.monotonic_ns()
            output.write(json.dumps([int(number), began, ended, subject, value]) + "\n")


if __name__ == "__main__":
    main()
