"""Lineage as extended attributes."""

from __future__ import annotations

import datetime
import errno
import os
import subprocess
from pathlib import Path

import pytest

from tests.mount.daemon import Place, fails_with, mounted, partition

PREFIX = "user.readyfs."


def test_files_and_date_directories_tell_where_they_come_from(place: Place, engine: str) -> None:
    """V2: run and row by name; a file, its directory and a subdirectory agree."""
    part = partition(customer="0012", source="google_ads")
    at = datetime.datetime(2024, 6, 2, 5, 0, 0, 123456, tzinfo=datetime.UTC)
    run = place.producer.write_run(part, "2024-06-02T04:05:06.789Z", b"1\n2\n3\n")
    (run.directory / "sub").mkdir()
    place.producer.publish(run, schema_version="v7", at=at)
    expected = {
        "source": b"google_ads",
        "customer_id": b"0012",
        "query_name": b"q1",
        "logical_date": b"2024-06-01",
        "run_id": b"2024-06-02T04:05:06.789Z",
        "updated_at": b"2024-06-02T05:00:00.123456+00:00",
        "record_count": b"3",
        "schema_version": b"v7",
    }
    with mounted(place, engine=engine) as daemon:
        of_the_row = ("updated_at", "record_count", "schema_version")
        for path in (daemon.directory(part), daemon.of(part), daemon.of(part, "metadata.json"), daemon.of(part, "sub")):
            found = {name: os.getxattr(path, name) for name in os.listxattr(path)}
            shown = expected if path == daemon.directory(part) else expected.keys() - of_the_row
            assert found == {PREFIX + name: expected[name] for name in shown}
        for path in (daemon.path / "0012", daemon.path / "0012/q1"):
            assert os.listxattr(path) == []


def test_null_columns_have_no_attribute(place: Place, engine: str) -> None:
    """V9: what the row does not say is not made up."""
    part = partition()
    place.producer.write_run(part, "r1", b"x\n")
    place.producer.set_ready(part, "r1")
    with mounted(place, engine=engine) as daemon:
        names = {name.removeprefix(PREFIX) for name in os.listxattr(daemon.directory(part))}
        assert names == {"source", "customer_id", "query_name", "logical_date", "run_id", "updated_at"}
        with fails_with(errno.ENODATA):
            os.getxattr(daemon.directory(part), PREFIX + "record_count")


def test_root_tells_which_catalog_is_in_force_and_how_old_it_is(place: Place, engine: str) -> None:
    """V4, V11: revision, fingerprint and age."""
    place.producer.set_ready(partition(), "r1")
    with mounted(place, engine=engine) as daemon:
        names = {name.removeprefix(PREFIX) for name in os.listxattr(daemon.path)}
        assert names == {"revision", "fingerprint", "refreshed_at", "age_seconds"}
        before = os.getxattr(daemon.path, PREFIX + "fingerprint")
        assert before.decode() == daemon.status()["fingerprint"]
        assert os.getxattr(daemon.path, PREFIX + "revision") == b"1"
        assert float(os.getxattr(daemon.path, PREFIX + "age_seconds")) >= 0

        place.producer.set_ready(partition(date="2024-06-02"), "r1")
        daemon.refresh()
        assert os.getxattr(daemon.path, PREFIX + "revision") == b"2"
        assert os.getxattr(daemon.path, PREFIX + "fingerprint") != before


def test_lineage_of_a_date_follows_its_row_while_the_run_stays(place: Place, engine: str) -> None:
    """V9: also where the kernel knows the directory from before and never asks for its name again."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"1\n2\n")
    with mounted(place, engine=engine) as daemon:
        directory = daemon.directory(part)
        assert os.getxattr(directory, PREFIX + "record_count") == b"2"
        at = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
        place.change(
            "UPDATE partition_state SET record_count = 7, schema_version = 'v9', updated_at = ?", at.isoformat()
        )
        daemon.refresh()
        assert os.getxattr(directory, PREFIX + "record_count") == b"7"
        assert os.getxattr(directory, PREFIX + "schema_version") == b"v9"
        assert os.getxattr(directory, PREFIX + "updated_at") == b"2025-01-01T00:00:00.000000+00:00"


def test_held_file_keeps_the_lineage_of_its_run(place: Place, engine: str) -> None:
    """V5: an open file's attributes speak of the run that it gives."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"old\n")
    with mounted(place, engine=engine) as daemon, open(daemon.of(part), "rb") as held:
        place.producer.write_and_publish(part, "r2", b"new\n")
        daemon.refresh()
        assert os.getxattr(held.fileno(), PREFIX + "run_id") == b"r1"
        assert os.getxattr(daemon.of(part), PREFIX + "run_id") == b"r2"


def test_broken_files_tell_their_run(place: Place, engine: str) -> None:
    """V10: which run is broken can be asked of the file itself."""
    part = partition()
    place.producer.set_ready(part, "lost")
    with mounted(place, engine=engine) as daemon:
        assert os.getxattr(daemon.of(part), PREFIX + "run_id") == b"lost"
        assert os.getxattr(daemon.directory(part), PREFIX + "run_id") == b"lost"


def test_unknown_attributes_are_refused_in_the_way_tools_understand(place: Place, engine: str) -> None:
    """V9: ENODATA for a name, ENOTSUP for a namespace, which tools remember."""
    refused = {
        "user.readyfs.other": errno.ENODATA,
        "user.mine": errno.ENODATA,
        "security.selinux": errno.ENOTSUP,
        "security.capability": errno.ENOTSUP,
        "system.posix_acl_access": errno.ENOTSUP,
        "system.posix_acl_default": errno.ENOTSUP,
        "trusted.overlay.opaque": errno.ENOTSUP,
    }
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x\n")
    with mounted(place, engine=engine) as daemon:
        for path in (daemon.of(part), daemon.directory(part), daemon.path / "c1", daemon.path):
            for name, number in refused.items():
                with fails_with(number):
                    os.getxattr(path, name)


def test_without_xattrs_the_kernel_stops_asking_for_values(place: Place, engine: str) -> None:
    """V9: --no-xattrs answers ENOSYS once, which callers see as EOPNOTSUPP."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"x\n")
    with mounted(place, "--no-xattrs", engine=engine) as daemon:
        for _ in range(5):
            for path in (daemon.path, daemon.of(part)):
                with fails_with(errno.EOPNOTSUPP):
                    os.getxattr(path, PREFIX + "run_id")
                assert os.listxattr(path) == []
        assert daemon.requests("getxattr") == 1
        subprocess.run(["ls", "-lR", daemon.path], capture_output=True, timeout=30, check=True)
        assert daemon.requests("getxattr") == 1


COPIES = {
    "tar": ("tar", "--xattrs", "-cf", "{to}/copy.tar", "-C", "{mount}", "c1"),
    "rsync": ("rsync", "-aHX", "{mount}/c1", "{to}"),
    "cp": ("cp", "--recursive", "--preserve=all", "{mount}/c1", "{to}"),
    "ls": ("ls", "-lR", "{mount}"),
}


@pytest.mark.parametrize("command", COPIES.values(), ids=COPIES)
def test_without_xattrs_copies_say_nothing(place: Place, engine: str, command: tuple[str, ...], tmp_path: Path) -> None:
    """V9: an empty list is no failure, which tar would report for each file."""
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    (tmp_path / "to").mkdir()
    with mounted(place, "--no-xattrs", engine=engine) as daemon:
        words = [word.format(mount=daemon.path, to=tmp_path / "to") for word in command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
        assert done.stderr == ""
