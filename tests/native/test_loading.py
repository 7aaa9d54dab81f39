"""A package whose compiled part is missing, of another version or not to be loaded: it serves, and says why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from readyfs import native
from tests.mount.daemon import Place, mounted, partition
from tests.native.sources import MODULE, OBSTACLE, compile_in_place, copy_package, copy_sources

NOT_COMPILED = "it was not compiled when readyfs was installed"


def doctor_says(base: Path) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "readyfs", "doctor", "--only", "compiled-part", "--json"],
        capture_output=True, text=True, timeout=60, check=True, cwd=base, env={"PYTHONPATH": str(base)},
    )  # fmt: skip
    (found,) = json.loads(done.stdout)["findings"]
    assert done.stderr == ""
    return dict(found)


def test_this_package_has_its_compiled_part() -> None:
    assert native.module is not None
    assert native.obstacle == ""


@pytest.mark.parametrize("content", [b"", b"\x7fELF is how such a file begins"], ids=["empty", "garbage"])
def test_a_module_that_does_not_load_is_done_without(content: bytes, tmp_path: Path) -> None:
    (copy_package(tmp_path) / MODULE).write_bytes(content)
    found = doctor_says(tmp_path)
    assert found["verdict"] == "note"
    assert "slower: it cannot be loaded: " in found["summary"]
    assert found["remedy"]


def test_a_module_of_another_version_is_done_without(tmp_path: Path) -> None:
    sources = copy_sources(tmp_path / "earlier")
    module_c = sources / "module.c"
    text = module_c.read_text(encoding="utf-8")
    other = text.replace(f"#define INTERFACE {native.INTERFACE}", f"#define INTERFACE {native.INTERFACE - 1}")
    assert other != text
    module_c.write_text(other, encoding="utf-8")
    assert compile_in_place(sources).returncode == 0
    (sources.parent / "readyfs" / MODULE).rename(copy_package(tmp_path) / MODULE)
    assert "it is of another version of readyfs" in doctor_says(tmp_path)["summary"]


@pytest.mark.parametrize("reason", ["", "there is no C compiler (gcc or clang)"])
def test_a_mount_serves_without_it_and_the_build_s_reason_is_kept(
    reason: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = copy_package(place.base)
    if reason:
        (package / OBSTACLE).write_text(f"{reason}\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(place.base))
    place.producer.write_and_publish(partition(), "r1", b"served\n")
    with mounted(place, engine="opened", afresh=True) as daemon:
        assert daemon.of(partition()).read_bytes() == b"served\n"
    summary = doctor_says(place.base)["summary"]
    assert summary.endswith(f"slower: {NOT_COMPILED}{': ' if reason else ''}{reason}")
