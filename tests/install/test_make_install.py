"""`make install`, `make uninstall` and `make wheel`: programs that run, units that name them, and nothing left behind.

Installs from the package index, so it belongs to the long tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import readyfs
from tests.mount.daemon import Place, mounted, partition

PROJECT = Path(__file__).parents[2]

pytestmark = pytest.mark.long


def make(target: str, *variables: str, at: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--silent", target, f"PYTHON={sys.executable}", *variables],
        cwd=at,
        check=True,
        timeout=600,
        capture_output=True,
        text=True,
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


def test_an_installation_without_a_compiler_says_so_in_one_line(tmp_path: Path) -> None:
    done = make("install", f"PREFIX={tmp_path}", "CC=/nonexistent/cc")
    (line,) = [line for line in done.stderr.splitlines() if "compiled part" in line]
    assert line.startswith("readyfs: installed without its compiled part: ")
    assert line.endswith("/nonexistent/cc: No such file or directory")


def test_wheel_of_this_machine_installs_elsewhere_and_mounts(tmp_path: Path, place: Place) -> None:
    checkout = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".*cache", ".venv", ".git", "__pycache__", "dist")
    shutil.copytree(PROJECT, checkout, ignore=ignored)
    make("wheel", at=checkout)
    (wheel,) = (checkout / "dist").iterdir()
    shutil.rmtree(checkout / "src")
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=120)
    python = environment / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, timeout=600)
    found = subprocess.run(
        [environment / "bin/readyfs", "doctor", "--only", "compiled-part"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "readyfs has its compiled part" in found.stdout
    place.producer.write_and_publish(partition(), "r1", b"served\n")
    page = subprocess.run(
        [environment / "bin/readyfs", "coverage", "--state", place.state, "--html", "-"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert page.stdout.endswith("</html>\n")
    in_its_place = ("sh", "-c", 'shift; exec "$0" "$@"', str(python))
    with mounted(place, engine="opened", wrapper=in_its_place) as daemon:
        assert daemon.of(partition()).read_bytes() == b"served\n"
