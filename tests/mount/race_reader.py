"""A reader of one kind that checks everything it sees: a program of its own, which knows nothing of the daemon.

`python race_reader.py MOUNTPOINT KIND SECONDS` prints a JSON object: how many observations, of how many runs, and what
was wrong with them. Any error is wrong: the partitions are ready all the time.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle

NAMES = ["metadata.json", "payload.jsonl", "seal.txt"]


class MixedError(Exception):
    """What was seen is not of one run, or not whole."""


def check_payload(data: bytes, path: str) -> str:
    """Return the run of a payload; raise `MixedError` if it is not wholly that of one run of this partition."""
    lines = data.splitlines()
    if not lines or len(set(lines)) != 1 or not data.endswith(b"\n"):
        raise MixedError(f"{path}: {len(data)} bytes of {sorted(set(lines))[:3]}")
    partition, run_id, count = lines[0].decode().split(" ")
    if int(count) != len(lines) or not path.endswith(partition):
        raise MixedError(f"{path}: {len(lines)} lines, said {lines[0]!r}")
    return run_id


def check_metadata(data: bytes, path: str) -> str:
    """Return the run that a metadata file names."""
    metadata = json.loads(data)
    if not path.endswith(metadata["logical_date"]):
        raise MixedError(f"{path}: {data!r}")
    return str(metadata["run_id"])


def read(path: str, directory: int | None = None) -> bytes:
    """Return a file's bytes, compared with its size."""
    fd = os.open(path, os.O_RDONLY, dir_fd=directory)
    with open(fd, "rb", buffering=0) as file:
        size = os.fstat(fd).st_size
        data = file.read()
    if len(data) != size:
        raise MixedError(f"{path}: {len(data)} bytes, the size was {size}")
    return data


def by_open(path: str) -> str:
    """Open, read to the end, and read once more after a pause."""
    with open(os.path.join(path, "payload.jsonl"), "rb", buffering=0) as file:
        run_id = check_payload(file.read(), path)
        time.sleep(0.02)
        file.seek(0)
        if check_payload(file.read(), path) != run_id:
            raise MixedError(f"{path}: another run through one descriptor")
    return run_id


def by_pieces(path: str) -> str:
    """Read in small pieces with pauses."""
    fd = os.open(os.path.join(path, "payload.jsonl"), os.O_RDONLY)
    try:
        data = b""
        while piece := os.read(fd, 30_000):
            data += piece
            time.sleep(0.005)
        return check_payload(data, path)
    finally:
        os.close(fd)


def by_mmap(path: str) -> str:
    """Map, compare, wait, compare again."""
    with (
        open(os.path.join(path, "payload.jsonl"), "rb", buffering=0) as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
    ):
        run_id = check_payload(mapped[:], path)
        time.sleep(0.06)
        if check_payload(mapped[:], path) != run_id:
            raise MixedError(f"{path}: another run through one mapping")
    return run_id


def by_directory(path: str) -> str:
    """Hold the date directory: payload, metadata and listing are of one run, also after a pause."""
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        run_id = check_metadata(read("metadata.json", held), path)
        time.sleep(0.06)
        others = {check_payload(read("payload.jsonl", held), path), read("seal.txt", held).decode()}
        if others != {run_id}:
            raise MixedError(f"{path}: {run_id} and {others} in one directory")
        if sorted(os.listdir(held)) != NAMES:
            raise MixedError(f"{path}: {os.listdir(held)}")
        return run_id
    finally:
        os.close(held)


def by_lineage(path: str) -> str:
    """The run that an open file says it is of is the one that its bytes are of."""
    with open(os.path.join(path, "payload.jsonl"), "rb", buffering=0) as file:
        said = os.getxattr(file.fileno(), "user.readyfs.run_id").decode()
        if check_payload(file.read(), path) != said:
            raise MixedError(f"{path}: said to be {said}")
    return said


def by_size(path: str) -> str:
    """Read exactly as much as a stat by descriptor promised."""
    return check_payload(read(os.path.join(path, "payload.jsonl")), path)


def by_walk(path: str) -> str:
    """Walk the whole query; every date is there, with all its files and nothing else."""
    top = os.path.dirname(path)
    seen = {directory: sorted(names) for directory, _, names in os.walk(top, onerror=_fail)}
    dates = [os.path.join(top, f"2024-06-{day:02}") for day in (1, 2, 3)]
    if seen != {top: [], **dict.fromkeys(dates, NAMES)}:
        raise MixedError(f"{top}: {seen}")
    return by_size(path)


def _fail(error: OSError) -> None:
    raise error


KINDS: dict[str, Callable[[str], str]] = {
    "open": by_open,
    "pieces": by_pieces,
    "mmap": by_mmap,
    "directory": by_directory,
    "lineage": by_lineage,
    "size": by_size,
    "walk": by_walk,
}


LEAST = 5
"""So many observations are made at least, though a busy machine takes longer over them, for so many seconds more."""
PATIENCE_S = 30.0


def paths(mountpoint: str) -> Iterator[str]:
    """Yield the partitions for ever."""
    return cycle(
        os.path.join(mountpoint, "c1", query, f"2024-06-{day:02}") for query in ("q1", "q2") for day in (1, 2, 3)
    )


def main() -> None:
    """Look until the time is over."""
    mountpoint, kind, seconds = sys.argv[1:]
    observe = KINDS[kind]
    deadline = time.monotonic() + float(seconds)
    runs: set[str] = set()
    wrong: list[str] = []
    observations = 0
    for path in paths(mountpoint):
        over_s = time.monotonic() - deadline
        if over_s > 0 and (observations > LEAST or over_s > PATIENCE_S):
            break
        try:
            runs.add(observe(path))
        except (MixedError, OSError, ValueError) as error:
            wrong.append(f"{type(error).__name__}: {error}")
        observations += 1
    print(json.dumps({"observations": observations, "runs": len(runs), "wrong": wrong[:10]}))


if __name__ == "__main__":
    main()
