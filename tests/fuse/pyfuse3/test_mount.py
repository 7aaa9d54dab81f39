"""What the pyfuse3 engine says when a mount is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_MOUNT = """
import sys
from typing import cast
from readyfs.errors import FuseError
from readyfs.fuse.pyfuse3.engine import Pyfuse3Engine
from readyfs.vfs.filesystem import Filesystem
try:
    Pyfuse3Engine(cast(Filesystem, None), 1).mount(sys.argv[1], sys.argv[2:])
except FuseError as error:
    print(error)
"""


def refusal(mountpoint: Path, *options: str) -> tuple[str, str]:
    """Try to mount in a process of its own (a session cannot be undone); return its output and its stderr."""
    command = [sys.executable, "-c", _MOUNT, str(mountpoint), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout, done.stderr


def test_refused_mount_is_one_line_with_the_reason_of_libfuse(tmp_path: Path) -> None:
    output, stray = refusal(tmp_path / "missing", "ro")
    assert output.count("\n") == 1
    assert f"failed to access mountpoint {tmp_path}/missing: No such file or directory" in output
    assert stray == ""


def test_unknown_option_is_named(tmp_path: Path) -> None:
    output, stray = refusal(tmp_path, "ro", "no_such_option")
    assert "no_such_option" in output
    assert stray == ""
