"""A client that keeps asking while the daemon is busy, and one that waits for a change to show.

Both write times of `time.monotonic`, which all processes of a machine share.
"""

from __future__ import annotations

import os
import select
import sys
import time
from array import array
from pathlib import Path
from random import Random
from typing import Final

import orjson

OPERATIONS: Final = ("stat", "open", "readdir")
_PAUSE_S: Final = 0.0005


def probe(plan: Path) -> None:
    """Stat, open and list random paths of the plan until the input ends; write (operation, begin, seconds) triples.

    The plan is JSON: for each operation the paths to choose from. A name that is gone is an answer like any other.
    """
    choices: dict[str, list[str]] = orjson.loads(plan.read_bytes())
    random = Random(7)
    samples = array("d")
    sys.stdout.buffer.write(b"\n")
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], 0)[0]:
        for number, operation in enumerate(OPERATIONS):
            path = random.choice(choices[operation])
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
    """Say that the path was seen, then when it has become another directory."""
    inode = os.stat(path).st_ino
    print(flush=True)
    while os.stat(path).st_ino == inode:
        time.sleep(_PAUSE_S / 5)
    print(time.monotonic())


def _ask(operation: str, path: str) -> None:
    if operation == "stat":
        os.stat(path)
    elif operation == "open":
        os.close(os.open(path, os.O_RDONLY))
    else:
        os.listdir(path)
