"""The doctor and the pin store: it says what a mount would meet, and changes nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from readyfs.catalog.build import CatalogShape
from readyfs.doctor.finding import Finding, Verdict
from readyfs.doctor.pin_store import look_at_pin_store
from readyfs.layout import MountLayout, RawLayout
from readyfs.pin_store.store import PinStore
from readyfs.pin_store.words import Identity
from readyfs.privileges import Capability, has_capability
from tests.doctor.subjects import make_subject, the


def look(path: Path) -> Finding:
    return the("pin-store", look_at_pin_store(make_subject(pin_store=path)))


def make(path: Path) -> PinStore:
    path.mkdir()
    shape = CatalogShape(MountLayout.parse("plain"), RawLayout.parse())
    store = PinStore(path, Identity("raw", {}), "ab" * 16, shape, 3600.0)
    store.check()
    return store


def test_pin_store_that_can_be_used_is_fine_and_so_is_an_empty_directory(tmp_path: Path) -> None:
    make(tmp_path / "pins")
    assert look(tmp_path / "pins").verdict is Verdict.OK
    (tmp_path / "empty").mkdir()
    found = look(tmp_path / "empty")
    assert (found.verdict, "is empty" in found.summary) == (Verdict.OK, True)
    assert list((tmp_path / "empty").iterdir()) == []


def test_what_is_not_there_yet_is_a_warning(tmp_path: Path) -> None:
    found = look(tmp_path / "pins")
    assert (found.verdict, "mkdir -m 2770" in found.remedy) == (Verdict.WARNING, True)


WORDS: Final = {
    "no directory": "is no directory",
    "foreign": "is no pin store, and holds 'diary.txt'",
    "later": "is of another version of readyfs",
}
"""What a mount says, too: one that is named wrongly must not be looked for elsewhere."""


def test_fresh_file_system_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert look(tmp_path).verdict is Verdict.OK


@pytest.mark.parametrize("fault", WORDS)
def test_what_can_never_be_a_pin_store_is_a_problem(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "pins"
    match fault:
        case "no directory":
            path.write_text("mine\n")
        case "foreign":
            path.mkdir()
            (path / "diary.txt").write_text("mine\n")
        case "later":
            make(path)
            marker = path / "readyfs-pin-store"
            marker.write_text(marker.read_text().replace("readyfs store 1 ", "readyfs store 99 "))
    found = look(path)
    assert found.verdict is Verdict.PROBLEM
    assert WORDS[fault] in found.summary


@pytest.mark.skipif(
    not has_capability(Capability.SYS_ADMIN), reason="needs CAP_SYS_ADMIN, to mount something read-only"
)
def test_storage_that_is_read_only_is_not_mended_by_its_mode(tmp_path: Path) -> None:
    make(tmp_path / "pins")
    subprocess.run(["mount", "--bind", tmp_path / "pins", tmp_path / "pins"], check=True, timeout=20)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", tmp_path / "pins"], check=True, timeout=20)
        found = look(tmp_path / "pins")
    finally:
        subprocess.run(["umount", tmp_path / "pins"], check=True, timeout=20)
    assert (found.verdict, "mounted read-only" in found.summary) == (Verdict.WARNING, True)
    assert "remount,rw" in found.remedy
