"""Compiling the module, and what is left and said where that cannot be done."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from native import compiler
from tests.native.sources import MODULE, OBSTACLE, PROJECT, compile_in_place, copy_sources, small_sources


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module that was compiled from the sources as they are."""
    sources = copy_sources(tmp_path_factory.mktemp("one place"))
    done = compile_in_place(sources)
    assert (done.returncode, done.stderr) == (0, "")
    return sources.parent / "readyfs" / MODULE


def shown_by(tool: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [tool, *arguments], capture_output=True, text=True, timeout=30, check=True, env={**os.environ, "LC_ALL": "C"}
    )
    return done.stdout


def test_it_loads_and_is_what_the_package_expects(built: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import _native; from readyfs import native;"
        " print(_native.INTERFACE == native.INTERFACE)"
    )
    assert shown_by(sys.executable, "-c", program, built.parent) == "True\n"


def test_the_same_sources_make_the_same_module_elsewhere(built: Path, tmp_path: Path) -> None:
    sources = copy_sources(tmp_path)
    assert compile_in_place(sources).returncode == 0
    content = (sources.parent / "readyfs" / MODULE).read_bytes()
    assert content == built.read_bytes()
    for place in (tmp_path, PROJECT, sysconfig.get_path("include")):
        assert os.fsencode(place) not in content


def test_it_needs_the_c_library_alone_and_no_newer_one(built: Path) -> None:
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", shown_by("readelf", "-d", built))
    assert {name for name in needed if not name.startswith("ld-linux")} <= {"libc.so.6"}
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", shown_by("readelf", "-V", built))
    here = os.confstr("CS_GNU_LIBC_VERSION")
    assert here is not None
    newest = tuple(map(int, here.removeprefix("glibc ").split(".")))
    assert all((int(major), int(minor)) <= newest for major, minor in versions)


def test_it_shows_its_entrance_alone_and_cannot_be_rewritten(built: Path) -> None:
    defined = re.findall(r" [TDBR] (\S+)$", shown_by("nm", "-D", "--defined-only", built), re.MULTILINE)
    assert defined == ["PyInit__native"]
    assert "BIND_NOW" in shown_by("readelf", "-d", built)
    segments = shown_by("readelf", "-lW", built)
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK .* RW ", segments)


def test_a_checkout_without_a_compiler_has_no_module_of_earlier_sources(tmp_path: Path) -> None:
    sources = small_sources(tmp_path)
    package = sources.parent / "readyfs"
    (package / MODULE).write_bytes(b"of earlier sources")
    done = compile_in_place(sources, CC="/nonexistent/cc -O1")
    assert (done.returncode, done.stderr) == (1, "/nonexistent/cc: No such file or directory\n")
    assert os.listdir(package) == [OBSTACLE]
    assert (package / OBSTACLE).read_text() == done.stderr


def test_a_mistake_is_named_in_one_line_and_forgotten_once_it_is_mended(tmp_path: Path) -> None:
    sources = small_sources(tmp_path)
    package = sources.parent / "readyfs"
    mistake = sources / "mistake.c"
    mistake.write_text("int broken(void) { return missing; }\n", encoding="utf-8")
    done = compile_in_place(sources)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "failed: mistake.c:1:" in line and "missing" in line
    assert os.listdir(package) == [OBSTACLE]
    mistake.unlink()
    assert compile_in_place(sources).returncode == 0
    assert os.listdir(package) == [MODULE]


def test_who_asks_for_none_gets_none_without_a_complaint(tmp_path: Path) -> None:
    sources = small_sources(tmp_path)
    done = compile_in_place(sources, READYFS_NATIVE="no")
    assert (done.returncode, done.stderr) == (0, "")
    assert (sources.parent / "readyfs" / OBSTACLE).read_text() == "READYFS_NATIVE=no was set\n"


def test_flags_of_the_environment_are_used(tmp_path: Path) -> None:
    done = compile_in_place(small_sources(tmp_path), READYFS_NATIVE_CFLAGS="-include '/nonexistent/a file.h'")
    assert "/nonexistent/a file.h" in done.stderr


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda patch: patch.setitem(sysconfig.get_config_vars(), "Py_GIL_DISABLED", 1), "free-threaded"),
        (lambda patch: patch.setattr(sys.implementation, "name", "pypy"), "pypy is not CPython"),
        (lambda patch: patch.setattr(sysconfig, "get_path", lambda _: "/nonexistent"), "/nonexistent/Python.h"),
        (lambda patch: patch.setenv("PATH", "/nonexistent"), "there is no C compiler"),
    ],
    ids=["free-threaded", "another Python", "no headers", "no compiler"],
)
def test_what_is_missing_is_said(
    change: Callable[[pytest.MonkeyPatch], None], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("READYFS_NATIVE", raising=False)
    change(monkeypatch)
    obstacle = compiler.compile_module(tmp_path / MODULE)
    assert obstacle is not None and reason in obstacle
    assert os.listdir(tmp_path) == []
