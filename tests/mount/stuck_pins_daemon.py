"""A daemon whose disk hangs whenever pins are to be written.

python tests/mount/stuck_pins_daemon.py PYTHON -m readyfs ...
"""

from __future__ import annotations

import runpy
import sys
import threading
from pathlib import Path

if __name__ == "__main__":
    # For a script the interpreter looks in the script's directory, where modules of the same names would be found.
    sys.path[0] = str(Path(__file__).parents[2])

from readyfs.pins.file import PinFile


def hang(*_: object) -> None:
    """Wait for ever, as for a disk."""
    threading.Event().wait()


if __name__ == "__main__":
    PinFile.write = hang  # type: ignore[method-assign, assignment]
    sys.argv = sys.argv[3:]
    runpy.run_module("readyfs", run_name="__main__", alter_sys=True)
