"""Program: have an ordinary user probe the kernel, in a mount namespace of its own; prints verdicts and what is left.

Arguments: a directory that other users can enter, `ends` or `hangs`, and the command by which to become that user.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from readyfs.doctor import kernel
from readyfs.doctor.bounded import run_checks
from readyfs.doctor.kernel import kernel_check
from readyfs.fuse.mount_table import read_mount_table
from tests.doctor.subjects import make_subject
from tests.fuse.ordinary_user import enter_namespace


def main(directory: Path, how: str, command: list[str]) -> None:
    if os.geteuid() == 0:
        enter_namespace(directory)
        subprocess.run([*command, sys.executable, __file__, directory, how], check=True, timeout=40)
        return
    if how == "hangs":
        vars(kernel)["negotiate"] = lambda *_, **__: time.sleep(60)
    for _, findings in run_checks([kernel_check(make_subject(allow_other=False))], 3.0, repr):
        for one in findings:
            print(one.name, one.verdict)
    mounts = [str(one.mount_point) for one in read_mount_table() if "readyfs-doctor-" in str(one.mount_point)]
    mine = [str(path) for path in Path(tempfile.gettempdir()).glob("readyfs-doctor-*") if path.owner() == "nobody"]
    print("left:", [*mounts, *mine])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
