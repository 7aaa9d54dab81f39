"""What `make install` refuses or warns of before it installs anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def closed_python(tmp_path: Path) -> Path:
    """A Python that lies in a directory which its owner alone may enter."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "python3").symlink_to(Path(sys.executable).resolve())
    return closed / "python3"


@pytest.mark.parametrize("variable", ["PREFIX", "DESTDIR", "UNITDIR", "SYSUSERSDIR"])
@pytest.mark.parametrize("path", ["relative", "/with a blank", "/with%specifier", "/with'quote", "/with|bar", "/a&b"])
def test_path_that_would_break_the_unit_is_refused(variable: str, path: str) -> None:
    done = run("make", "--silent", "check-paths", f"{variable}={path}")
    assert done.returncode != 0
    assert done.stderr.startswith(f"readyfs: {variable}={path} cannot be used; give an absolute path")


def test_empty_prefix_is_refused() -> None:
    assert "PREFIX= cannot be used" in run("make", "--silent", "check-paths", "PREFIX=").stderr


@pytest.mark.parametrize("path", ["/usr/local", "/opt/readyfs-0.1+b1", "/srv/a_b@c/"])
def test_usual_prefix_is_accepted(path: str) -> None:
    done = run("make", "--silent", "check-paths", f"PREFIX={path}", "DESTDIR=/tmp/stage")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_paths_are_looked_at_before_anything_is_written_or_removed(target: str) -> None:
    first = run("make", "--dry-run", target, "PREFIX=/usr/local").stdout.partition("check PREFIX '/usr/local'")
    assert first[1]
    assert "LIBDIR" not in first[0] and "/usr/local" not in first[0]


def test_python_that_shuts_others_out_is_named_in_a_warning_to_root(closed_python: Path) -> None:
    done = run(".ci/setup", "install", PYTHON=os.fspath(closed_python))
    assert (done.returncode, done.stdout) == (0, f"{closed_python}\n")
    assert ("only root will be able to run the program" in done.stderr) is (os.geteuid() == 0)


def test_root_is_never_given_a_python_that_shuts_others_out_without_a_word(closed_python: Path) -> None:
    done = run(".ci/setup", "install", PYTHON="", PATH=f"{closed_python.parent}:{os.environ['PATH']}")
    assert done.returncode == 0
    silent = done.stderr == ""
    assert silent is (os.geteuid() != 0 or done.stdout != f"{closed_python}\n")
