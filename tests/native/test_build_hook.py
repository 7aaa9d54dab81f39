"""Wheels: with the compiled part and a tag that is true, or without it and with the reason."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.native.sources import MODULE, OBSTACLE, PROJECT, small_sources

ENTRY = f"readyfs/{MODULE}"
REASON = f"readyfs/{OBSTACLE}"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout whose wheel is quickly built, with a module of earlier sources in its package."""
    place = tmp_path / "checkout"
    small_sources(place)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(PROJECT / name, place / name)
    shutil.copy(PROJECT / "src/readyfs/__init__.py", place / "src/readyfs")
    (place / "src/readyfs" / MODULE).write_bytes(b"of earlier sources")
    return place


def build(place: Path, kind: str = "wheel", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("CC", "READYFS_NATIVE")}
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", kind],
        cwd=place, env={**environment, **variables}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def the_wheel(place: Path) -> zipfile.ZipFile:
    (path,) = (place / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_has_the_module_and_names_the_c_library_that_it_needs(checkout: Path) -> None:
    done = build(checkout)
    assert done.returncode == 0, done.stderr
    wheel = the_wheel(checkout)
    assert wheel.read(ENTRY)[:4] == b"\x7fELF"
    assert REASON not in wheel.namelist()
    library = (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ").replace(".", "_")
    assert re.search(rf"-cp311-abi3-manylinux_{library}_\w+\.whl$", str(wheel.filename))
    # What lay in the checkout stays as it was.
    assert (checkout / "src/readyfs" / MODULE).read_bytes() == b"of earlier sources"


def test_without_a_compiler_the_wheel_is_for_any_machine_and_says_why(checkout: Path) -> None:
    done = build(checkout, CC="/nonexistent/cc")
    assert done.returncode == 0, done.stderr
    wheel = the_wheel(checkout)
    assert str(wheel.filename).endswith("-py3-none-any.whl")
    assert ENTRY not in wheel.namelist()
    assert wheel.read(REASON) == b"/nonexistent/cc: No such file or directory\n"
    assert "built without its compiled part: /nonexistent/cc: No such file or directory" in done.stdout + done.stderr


def test_who_requires_the_module_gets_no_wheel_without_it(checkout: Path) -> None:
    done = build(checkout, CC="/nonexistent/cc", READYFS_NATIVE="require")
    assert done.returncode != 0
    assert "cannot be compiled: /nonexistent/cc: No such file or directory" in done.stdout + done.stderr
    assert not list((checkout / "dist").glob("*"))


def test_a_wish_that_nobody_knows_is_refused(checkout: Path) -> None:
    done = build(checkout, READYFS_NATIVE="yes")
    assert done.returncode != 0
    assert "READYFS_NATIVE=yes cannot be used; give auto, no or require" in done.stdout + done.stderr


def test_source_archive_carries_what_compiles_and_nothing_compiled(checkout: Path, tmp_path: Path) -> None:
    assert build(checkout, "sdist").returncode == 0
    (archive,) = (checkout / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as unpacked:
        assert not [name for name in unpacked.getnames() if name.endswith(".so")]
        unpacked.extractall(tmp_path / "unpacked", filter="data")
    (place,) = (tmp_path / "unpacked").iterdir()
    done = build(place)
    assert done.returncode == 0, done.stderr
    assert the_wheel(place).read(ENTRY)[:4] == b"\x7fELF"
