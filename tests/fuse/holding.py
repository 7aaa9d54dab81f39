"""Program: hold a mount in one way, say "ready", and wait until the input ends.

Arguments: the mount point, and "cwd", "root", "file", "path", "directory", "mapping" or "nothing".
"""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path


def main(place: Path, how: str) -> None:
    kept: list[object] = []
    match how:
        case "cwd":
            os.chdir(place / "directory")
        case "root":
            os.chroot(place)
        case "file":
            kept.append(os.open(place / "file", os.O_RDONLY))
        case "path":
            kept.append(os.open(place / "file", os.O_PATH))
        case "directory":
            kept.append(os.open(place, os.O_RDONLY | os.O_DIRECTORY))
        case "mapping":
            fd = os.open(place / "file", os.O_RDONLY)
            kept.append(mmap.mmap(fd, 4096, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE))
            os.close(fd)
            # Python's mapping keeps a descriptor of its own; only the mapping is to be seen.
            for number in range(3, 20):
                try:
                    os.close(number)
                except OSError:
                    continue
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
