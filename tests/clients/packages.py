"""Programs of Debian packages, unpacked into a directory: nothing is installed, and no server is started by that."""

from __future__ import annotations

import subprocess
from pathlib import Path


def unpack(directory: Path, *packages: str) -> Path:
    """Fetch packages and unpack them there, without what they depend on; return the directory."""
    directory.mkdir()
    words = ["apt-get", "-q", "download", *packages]
    if subprocess.run(words, cwd=directory, capture_output=True, check=False).returncode:
        subprocess.run(["apt-get", "-q", "update"], capture_output=True, check=True)
        subprocess.run(words, cwd=directory, capture_output=True, check=True)
    for package in directory.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, directory], check=True)
    return directory
