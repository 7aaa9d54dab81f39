"""`make install` and `make uninstall`: a program that runs, units that name it, and nothing left afterwards.

Installs from the package index, so it belongs to the long tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import readyfs

PROJECT = Path(__file__).parents[2]

pytestmark = pytest.mark.long


def make(target: str, *variables: str) -> None:
    subprocess.run(
        ["make", "--silent", target, f"PYTHON={sys.executable}", *variables],
        cwd=PROJECT,
        check=True,
        timeout=600,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )


def test_installed_program_runs_and_uninstall_leaves_no_file(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    make("install", f"PREFIX={prefix}")
    version = subprocess.run(
        [prefix / "bin/readyfs", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert readyfs.__version__ in version.stdout
    for name in ("readyfs@.service", "readyfs-unprivileged@.service"):
        unit = (prefix / "lib/systemd/system" / name).read_text(encoding="utf-8")
        assert f"ExecStart={prefix}/bin/readyfs mount" in unit
        assert f"systemd-sysusers {prefix}/lib/sysusers.d/readyfs.conf " in unit
        assert "/usr/local" not in unit
    assert (prefix / "lib/sysusers.d/readyfs.conf").is_file()
    assert (prefix / "share/readyfs/readyfs.example.toml").is_file()
    make("uninstall", f"PREFIX={prefix}")
    assert [path for path in prefix.rglob("*") if not path.is_dir() or "readyfs" in path.name] == []


def test_staged_files_do_not_mention_the_stage(tmp_path: Path) -> None:
    make("install", f"DESTDIR={tmp_path}", "PREFIX=/opt/readyfs-test")
    found = subprocess.run(
        ["grep", "-rlF", os.fspath(tmp_path), os.fspath(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.stdout == ""
    assert (tmp_path / "opt/readyfs-test/bin/readyfs").readlink() == Path("../lib/readyfs/bin/readyfs")


def test_uninstall_leaves_configuration_and_foreign_files_alone(tmp_path: Path) -> None:
    make("install", f"PREFIX={tmp_path}")
    (tmp_path / "share/readyfs/mine.toml").touch()
    make("uninstall", f"PREFIX={tmp_path}")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.toml"]
