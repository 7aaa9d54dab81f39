"""A package whose compiled part is missing, of another version or not to be loaded: it serves, and says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from readyfs import native
from tests.mount.daemon import Place, mounted, partition
from tests.native.sources import MODULE, OBSTACLE, compile_in_place, copy_package, small_sources

NOT_COMPILED = "it was not compiled when readyfs was installed"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of a name that no other test imports."""
    place = tmp_path / f"package_{tmp_path.name}"
    place.mkdir()
    (place / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return place


def why_not(package: Path) -> str:
    module, obstacle = native.load(f"{package.name}._native", package / OBSTACLE)
    assert module is None
    return obstacle


def test_this_package_has_its_compiled_part() -> None:
    assert native.module is not None
    assert native.obstacle == ""


@pytest.mark.parametrize("content", [b"", b"\x7fELF is how such a file begins"], ids=["empty", "garbage"])
def test_a_module_that_does_not_load_is_done_without(content: bytes, package: Path) -> None:
    (package / MODULE).write_bytes(content)
    assert why_not(package).startswith("it cannot be loaded: ")


def test_a_module_that_lacks_something_to_import_is_not_called_missing(package: Path) -> None:
    (package / "_native.py").write_text("import something_that_is_not_there\n", encoding="utf-8")
    assert why_not(package) == "it cannot be loaded: No module named 'something_that_is_not_there'"


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_module_of_another_version_is_done_without(difference: int, package: Path) -> None:
    sources = small_sources(package, native.INTERFACE + difference)
    assert compile_in_place(sources).returncode == 0
    (sources.parent / "readyfs" / MODULE).rename(package / MODULE)
    assert why_not(package) == "it is of another version of readyfs, install that again"


def test_a_module_without_a_version_is_done_without(package: Path) -> None:
    (package / "_native.py").touch()
    assert why_not(package) == "it is of another version of readyfs, install that again"


def test_the_reason_that_the_build_left_is_told(package: Path) -> None:
    assert why_not(package) == NOT_COMPILED
    (package / OBSTACLE).write_text("there is no C compiler (gcc or clang)\n", encoding="utf-8")
    assert why_not(package) == f"{NOT_COMPILED}: there is no C compiler (gcc or clang)"


def test_a_mount_without_it_serves_and_the_doctor_says_why(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy_package(place.base) / OBSTACLE).write_text("there is no C compiler (gcc or clang)\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.fspath(place.base))
    place.producer.write_and_publish(partition(), "r1", b"served\n")
    with mounted(place, engine="opened", afresh=True) as daemon:
        assert daemon.of(partition()).read_bytes() == b"served\n"
    command = (sys.executable, "-m", "readyfs", "doctor", "--only", "compiled-part", "--json")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd="/")
    (found,) = json.loads(done.stdout)["findings"]
    assert (found["verdict"], done.stderr) == ("note", "")
    assert found["summary"].endswith(f"slower: {NOT_COMPILED}: there is no C compiler (gcc or clang)")
    assert found["remedy"]
