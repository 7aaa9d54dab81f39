"""The raw root and the runs of ready rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from readyfs.doctor.bounded import run_checks
from readyfs.doctor.examine import choose_checks
from readyfs.doctor.finding import Finding, Verdict
from readyfs.doctor.raw import is_remote, look_at_root, look_at_runs
from readyfs.doctor.subject import Places, Subject
from readyfs.state.filters import Filters
from tests.doctor.subjects import make_subject, the
from tests.fuse.live_mount import readyfs_mount
from tests.mount.daemon import Place, partition


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    for date in ("2024-06-01", "2024-06-02"):
        found.producer.write_and_publish(partition(date=date), "r1", b"{}\n")
    yield found
    found.producer.close()


def subject_of(place: Place, **changes: object) -> Subject:
    return make_subject(**{"state": place.state, "raw": str(place.raw), **changes})


def runs(place: Place, **changes: object) -> Finding:
    return the("raw-runs", look_at_runs(subject_of(place, **changes)))


def test_sealed_runs_are_fine(place: Place) -> None:
    assert (runs(place).verdict, runs(place).summary[:6]) == (Verdict.OK, "2 of 2")


def test_some_broken_runs_are_a_warning_and_all_a_problem(place: Place) -> None:
    first, second = sorted(place.raw.rglob("metadata.json"))
    first.unlink()
    found = runs(place)
    assert (found.verdict, "(no metadata.json)" in found.summary) == (Verdict.WARNING, True)
    shutil.rmtree(second.parent)
    assert runs(place).verdict is Verdict.PROBLEM


def test_a_wrong_root_is_a_problem(place: Place, tmp_path: Path) -> None:
    found = runs(place, raw=str(tmp_path / "mnt"))
    assert (found.verdict, "No such file" in found.summary) == (Verdict.PROBLEM, True)


def test_filters_that_leave_nothing_are_a_note(place: Place) -> None:
    assert runs(place, filters=Filters(sources=("other",))).verdict is Verdict.NOTE


def test_the_root_is_named_with_its_file_system(place: Place, tmp_path: Path) -> None:
    found = list(look_at_root(subject_of(place)))
    assert [one.verdict for one in found] == [Verdict.OK, Verdict.OK]
    table = tmp_path / "mountinfo"
    table.write_text("1 1 0:2 / / rw - nfs4 server:/data rw\n")
    remote = the("raw-filesystem", look_at_root(subject_of(place, places=Places(mount_table=table))))
    assert (remote.verdict, "nfs4 (server:/data)" in remote.summary) == (Verdict.NOTE, True)


@pytest.mark.parametrize(
    ("fs_type", "remote"), [("ext4", False), ("nfs", True), ("fuse.rclone", True), ("tmpfs", False)]
)
def test_remote_file_systems_are_known(fs_type: str, remote: bool) -> None:
    assert is_remote(fs_type) is remote


def test_a_missing_root_is_a_problem(tmp_path: Path) -> None:
    checks = choose_checks(make_subject(raw=str(tmp_path / "no")), ("raw-root",))
    ((_, (found,)),) = run_checks(checks, 20, repr)
    assert (found.verdict, "does not exist" in found.summary) == (Verdict.PROBLEM, True)


def test_a_root_that_hangs_does_not_hang_the_doctor(place: Place, tmp_path: Path) -> None:
    root = tmp_path / "hung"
    root.mkdir()
    with readyfs_mount(root, "statfs=hang"):
        checks = choose_checks(subject_of(place, raw=str(root)), ("raw-root",))
        ((_, (found,)),) = run_checks(checks, 1.0, repr)
    assert (found.verdict, "no answer within 1s" in found.summary) == (Verdict.PROBLEM, True)
