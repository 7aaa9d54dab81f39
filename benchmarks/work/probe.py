"""A client that keeps asking while the daemon is busy, and one that waits for a change to show.

Both write times of `time.monotonic`, which all processes of a machine share.
"""

from __future__ import annotations

import itertools
import os
import select
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import orjson

OPERATIONS: Final = ("stat", "open", "readdir")
_PAUSE_S: Final = 0.0005


def probe(plan: Path, *once: str) -> None:
    """Stat, open and list random paths of the plan until the input ends; write (operation, begin, seconds) triples.

    The plan is JSON: for each operation the paths to choose from. A name that is gone is an answer like any other.
    Operations in `once` ask for each path once, and then for names beside them that never were.
    """
    choices: dict[str, list[str]] = orjson.loads(plan.read_bytes())
    random = Random(7)
    paths = {
        operation: _each_once(known, random) if operation in once else _at_random(known, random)
        for operation, known in choices.items()
        if known
    }
    samples = array("d")
    sys.stdout.buffer.write(b"\n")
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], 0)[0]:
        for number, operation in enumerate(OPERATIONS):
            if operation not in paths:
                continue
            path = next(paths[operation])
            began = time.monotonic()
            try:
                _ask(operation, path)
            except FileNotFoundError:
                if operation != "stat":
                    raise
            samples.extend((number, began, time.monotonic() - began))
            time.sleep(_PAUSE_S)
    sys.stdout.buffer.write(samples.tobytes())


def watch(path: str) -> None:
    """Say that the path was looked at, then when it has become another directory, has come or has gone."""
    inode = _inode(path)
    print(flush=True)
    while _inode(path) == inode:
        time.sleep(_PAUSE_S / 5)
    print(time.monotonic())


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None


def _at_random(paths: list[str], random: Random) -> Iterator[str]:
    while True:
        yield random.choice(paths)


def _each_once(paths: list[str], random: Random) -> Iterator[str]:
    random.shuffle(paths)
    yield from paths
    for number in itertools.count():
        yield f"{paths[number % len(paths)]}.{number}"


def _ask(operation: str, path: str) -> None:
    if operation == "stat":
        os.stat(path)
    elif operation == "open":
        os.close(os.open(path, os.O_RDONLY))
    else:
        os.listdir(path)
