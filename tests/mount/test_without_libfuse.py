"""A machine whose libfuse is gone, after an upgrade for one: only who asks for pyfuse3 notices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from readyfs.errors import ExitCode
from readyfs.fuse.mount_table import mounts_at
from tests.fuse.direct import lacking_kernel
from tests.mount.daemon import ENGINES, Place, mount_command, mounted, partition

WITHOUT = Path(__file__).with_name("without_libfuse")


@pytest.fixture
def ready(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    monkeypatch.setenv("PYTHONPATH", str(WITHOUT))
    return place


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, cwd="/", env={**os.environ, "LC_ALL": "C"}
    )


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "pyfuse3"])
def test_the_direct_engine_serves(ready: Place, engine: str) -> None:
    with mounted(ready, engine=engine, afresh=True) as daemon:
        assert daemon.of(partition()).read_bytes() == b"x\n"


def test_auto_serves(ready: Place) -> None:
    with mounted(ready, "--engine", "auto", "--reads", "cached", engine="cached", afresh=True) as daemon:
        assert daemon.of(partition()).read_bytes() == b"x\n"
        assert daemon.status()["engine"] == "direct"


@pytest.mark.parametrize(
    ("command", "why"),
    [(("--engine", "pyfuse3"), "as asked for"), (("--engine", "auto", "--reads", "auto"), "does not offer")],
)
def test_a_mount_that_needs_it_says_what_is_missing(ready: Place, command: tuple[str, ...], why: str) -> None:
    lacking = (sys.executable, lacking_kernel.__file__) if "auto" in command else ()
    done = run(*lacking, *mount_command(ready, *command, "--log-level", "error"))
    assert done.returncode == ExitCode.FUSE, done.stderr
    (line,) = done.stderr.splitlines()
    for word in ("readyfs: ", why, "libfuse3.so.3: cannot open shared object file", "libfuse3-dev"):
        assert word in line
    assert not mounts_at(ready.mountpoint)


@pytest.mark.parametrize(
    ("engine", "code", "said"),
    [
        ("auto", ExitCode.OK, "the direct engine does without"),
        ("direct", ExitCode.OK, "direct: the kernel speaks FUSE"),
        ("pyfuse3", ExitCode.FOUND, "--engine pyfuse3 cannot serve here: ImportError: libfuse3.so.3"),
    ],
)
def test_the_doctor_says_so(ready: Place, engine: str, code: ExitCode, said: str) -> None:
    done = run(sys.executable, "-m", "readyfs", "doctor", "--engine", engine, "--only", "kernel")
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout
    assert ("libfuse3-dev" in done.stdout) == (engine != "direct")
