"""The machine's checks, each verdict both ways, on files that stand for those in /etc and /dev."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from readyfs.doctor.finding import Verdict
from readyfs.doctor.machine import (
    look_at_crawlers,
    look_at_descriptors,
    look_at_device,
    look_at_helper,
    look_at_other_users,
    look_at_user,
)
from readyfs.doctor.subject import Places
from tests.doctor.subjects import as_plain_user, make_subject, the


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "bin").mkdir()
    return Places(
        device=tmp_path / "fuse",
        fuse_conf=tmp_path / "fuse.conf",
        updatedb_conf=tmp_path / "updatedb.conf",
        search_path=str(tmp_path / "bin"),
        process_status=tmp_path / "status",
        container_marks=(tmp_path / "container",),
    )


def install(places: Places, name: str, mode: int = 0o755) -> Path:
    program = Path(places.search_path) / name
    shutil.copy("/bin/true", program)
    program.chmod(mode)
    return program


def test_the_user_is_named_with_what_it_may() -> None:
    assert "root with CAP_SYS_ADMIN" in the("user", look_at_user(make_subject())).summary
    assert "without CAP_SYS_ADMIN" in the("user", look_at_user(as_plain_user())).summary


def test_the_real_device_is_fine() -> None:
    assert the("fuse-device", look_at_device(Places())).verdict is Verdict.OK


def test_a_missing_device_is_a_problem_that_a_module_mends(places: Places) -> None:
    found = the("fuse-device", look_at_device(places))
    assert (found.verdict, found.remedy) == (Verdict.PROBLEM, "modprobe fuse")


def test_a_missing_device_in_a_container_is_for_whoever_starts_that(places: Places) -> None:
    places.container_marks[0].touch()
    assert "--device /dev/fuse" in the("fuse-device", look_at_device(places)).remedy


def test_a_file_in_place_of_the_device_is_a_problem_that_the_remedy_mends(places: Places) -> None:
    places.device.touch()
    found = the("fuse-device", look_at_device(places))
    assert found.verdict is Verdict.PROBLEM
    subprocess.run(["sh", "-c", found.remedy], check=True, timeout=10)
    assert the("fuse-device", look_at_device(places)).verdict is Verdict.OK


def test_another_device_is_a_problem(places: Places) -> None:
    os.mknod(places.device, 0o20666, os.makedev(1, 3))
    assert "1:3" in the("fuse-device", look_at_device(places)).summary


def test_the_helper_is_not_needed_with_the_capability(places: Places) -> None:
    assert the("fusermount3", look_at_helper(make_subject(places=places))).verdict is Verdict.OK


def test_a_missing_helper_is_a_problem_that_the_packager_at_hand_mends(places: Places) -> None:
    install(places, "dnf")
    found = the("fusermount3", look_at_helper(as_plain_user(places=places)))
    assert (found.verdict, found.remedy) == (Verdict.PROBLEM, "sudo dnf install -y fuse3")


def test_a_helper_without_its_bit_is_a_problem_that_the_remedy_mends(places: Places) -> None:
    places.process_status.write_text("Name:\tx\nNoNewPrivs:\t0\n")
    install(places, "fusermount3")
    subject = as_plain_user(places=places)
    found = the("fusermount3", look_at_helper(subject))
    assert (found.verdict, "not set-uid" in found.summary) == (Verdict.PROBLEM, True)
    subprocess.run(["sh", "-c", found.remedy.replace("sudo ", "")], check=True, timeout=10)
    assert the("fusermount3", look_at_helper(subject)).verdict is Verdict.OK


def test_a_helper_whose_bit_has_no_effect_is_a_problem(places: Places) -> None:
    places.process_status.write_text("Name:\tx\nNoNewPrivs:\t1\n")
    install(places, "fusermount3", 0o4755)
    assert "no_new_privs" in the("fusermount3", look_at_helper(as_plain_user(places=places))).summary


def test_a_helper_on_a_nosuid_mount_is_a_problem(places: Places) -> None:
    where = Path(places.search_path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid", "none", where], check=True, timeout=10)
    try:
        install(places, "fusermount3", 0o4755)
        found = the("fusermount3", look_at_helper(as_plain_user(places=places)))
    finally:
        subprocess.run(["umount", "-l", where], check=True, timeout=10)
    assert (found.verdict, "nosuid" in found.summary) == (Verdict.PROBLEM, True)


def test_others_are_kept_out_until_the_remedy_lets_them_in(places: Places) -> None:
    insists = as_plain_user(places=places, allow_other=True)
    content = as_plain_user(places=places)
    found = the("allow-other", look_at_other_users(insists))
    assert found.verdict is Verdict.PROBLEM
    assert the("allow-other", look_at_other_users(content)).verdict is Verdict.NOTE
    places.fuse_conf.write_text("#user_allow_other\n")
    assert the("allow-other", look_at_other_users(insists)).verdict is Verdict.PROBLEM
    subprocess.run(["sh", "-c", found.remedy.replace("sudo ", "")], check=True, timeout=10, stdout=subprocess.DEVNULL)
    for subject in (insists, content):
        assert the("allow-other", look_at_other_users(subject)).verdict is Verdict.OK


def test_root_needs_no_leave_for_others(places: Places) -> None:
    assert the("allow-other", look_at_other_users(make_subject(places=places))).verdict is Verdict.OK
    kept = the("allow-other", look_at_other_users(make_subject(places=places, allow_other=False)))
    assert "cannot read" in kept.summary


def test_without_updatedb_nothing_crawls(places: Places) -> None:
    places.updatedb_conf.write_text('PRUNEFS="nfs"\n')
    assert the("updatedb", look_at_crawlers(make_subject(places=places))).verdict is Verdict.OK


@pytest.mark.parametrize("conf", [None, "", 'PRUNEPATHS="/tmp"\n', 'PRUNEFS = "nfs fuse.sshfs"\n', 'PRUNEFS=""\n'])
def test_updatedb_crawls_until_the_remedy_stops_it(places: Places, conf: str | None) -> None:
    install(places, "updatedb.plocate")
    if conf is not None:
        places.updatedb_conf.write_text(conf)
    subject = make_subject(places=places)
    found = the("updatedb", look_at_crawlers(subject))
    assert found.verdict is Verdict.WARNING
    subprocess.run(["sh", "-c", found.remedy.replace("sudo ", "")], check=True, timeout=10, stdout=subprocess.DEVNULL)
    assert the("updatedb", look_at_crawlers(subject)).verdict is Verdict.OK
    assert conf is None or "fuse.sshfs" not in conf or "fuse.sshfs" in places.updatedb_conf.read_text()


def test_a_commented_line_does_not_stop_updatedb(places: Places) -> None:
    install(places, "updatedb")
    places.updatedb_conf.write_text('# PRUNEFS = "fuse.readyfs"\n')
    assert the("updatedb", look_at_crawlers(make_subject(places=places))).verdict is Verdict.WARNING


def test_a_mount_point_that_updatedb_does_not_enter_is_fine(places: Places) -> None:
    install(places, "updatedb")
    places.updatedb_conf.write_text('PRUNEPATHS = "/var/spool /srv/ready"\n')
    inside = make_subject(places=places, mountpoint=Path("/srv/ready/one"))
    assert the("updatedb", look_at_crawlers(inside)).verdict is Verdict.OK
    beside = replace(inside, mountpoint=Path("/srv/readyfs"))
    assert the("updatedb", look_at_crawlers(beside)).verdict is Verdict.WARNING


def test_few_descriptors_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    for hard, verdict in ((1024, Verdict.WARNING), (65536, Verdict.OK), (resource.RLIM_INFINITY, Verdict.OK)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, hard=hard: (1024, hard))
        assert the("descriptors", look_at_descriptors()).verdict is verdict


def test_a_helper_that_apparmor_confines_is_worth_a_note(places: Places, tmp_path: Path) -> None:
    places.process_status.write_text("Name:\tx\nNoNewPrivs:\t0\n")
    install(places, "fusermount3", 0o4755)
    for file, text in (("enabled", "Y\n"), ("profile", "")):
        (tmp_path / file).write_text(text)
    confined = replace(places, apparmor=tmp_path / "enabled", apparmor_profile=tmp_path / "profile")
    found = the("fusermount3", look_at_helper(as_plain_user(places=confined, mountpoint=Path("/srv/x"))))
    assert (found.verdict, "AppArmor confines it" in found.summary) == (Verdict.NOTE, True)
    assert 'mount fstype=fuse.readyfs -> "/srv/x/",' in found.remedy
    assert f"{tmp_path}/local/profile" in found.remedy
