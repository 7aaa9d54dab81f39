"""The direct engine where fusermount3 mounts: everything but passthrough."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuse.direct import as_nobody


def test_ordinary_user_mounts_reads_and_refreshes() -> None:
    with tempfile.TemporaryDirectory(prefix="readyfs-user-") as directory:
        Path(directory).chmod(0o755)
        done = subprocess.run(
            [sys.executable, as_nobody.__file__, directory],
            capture_output=True,
            text=True,
            timeout=90,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:-1] == [
        "engine: direct opened passthrough cannot be had: it needs CAP_SYS_ADMIN",
        "read: True",
        "read again: True 0",
        "listed: ['2024-06-01']",
        "listed again: ['2024-06-01'] 0",
        "refreshed: True",
        "switched: True",
        "listed anew: ['2024-06-01', '2024-06-02']",
        "appeared: b'later\\n'",
    ]
    last = done.stdout.splitlines()[-1]
    assert last.startswith("passthrough: FUSE ")
    assert "it needs CAP_SYS_ADMIN" in last
