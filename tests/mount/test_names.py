"""V12: whatever the state table holds, names are safe, and nothing outside the raw root is ever opened."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from readyfs.layout import hive_escape
from tests.mount.daemon import Place, fails_with, mounted, partition

DATE = "2024-06-01"


def write_raw(place: Place, source: bytes, customer: bytes, query: bytes, payload: bytes) -> None:
    """Write a sealed run `r1` whose path holds the values as they are."""
    directory = os.path.join(
        os.fsencode(place.raw),
        source,
        b"customer_id=" + customer,
        b"query_name=" + query,
        f"logical_date={DATE}".encode(),
        b"run_id=r1",
    )
    os.makedirs(directory)
    for name, content in ((b"payload.jsonl", payload), (b"metadata.json", b"{}\n")):
        with open(os.path.join(directory, name), "wb") as file:
            file.write(content)


NAMES = {
    b"with space": b"with space",
    b" ": b" ",
    b"new\nline": b"new%0Aline",
    b"tab\tbell\x07del\x7f": b"tab%09bell%07del%7F",
    "größe-日本語".encode(): "größe-日本語".encode(),
    "cafe\u0301".encode(): "cafe\u0301".encode(),
    "caf\u00e9".encode(): "caf\u00e9".encode(),
    b"\xff\xfe not utf-8 \xc3": b"\xff\xfe not utf-8 \xc3",
    b":%=*?\"'\\#{}[]^": b"%3A%25%3D%2A%3F%22%27%5C%23%7B%7D%5B%5D%5E",
    b"a:b": b"a%3Ab",
    b"a%3Ab": b"a%253Ab",
    b"a%253Ab": b"a%25253Ab",
    b"-rf": b"-rf",
    b"~": b"~",
    b"$HOME": b"$HOME",
    b"a" * 243: b"a" * 243,
    b"UPPER": b"UPPER",
    b"upper": b"upper",
    b".readyfs": b"%2Ereadyfs",
    b"..readyfs": b"..readyfs",
    b"...": b"...",
    b"trailing.": b"trailing.",
}
"""Ids as the state table holds them, and the names that they have in the mount."""


def test_odd_names_are_escaped_apart_and_served(place: Place, engine: str) -> None:
    """V12: what Hive escapes is percent-encoded, other bytes pass, and no two values meet in one name."""
    for number, value in enumerate(NAMES):
        write_raw(place, b"s1", value, b"q1", b"%d\n" % number)
        place.insert("s1", value, "q1", DATE, "r1")
    with mounted(place, engine=engine) as daemon:
        root = os.fsencode(daemon.path)
        assert sorted(os.listdir(root)) == sorted(NAMES.values())
        for number, name in enumerate(NAMES.values()):
            with open(os.path.join(root, name, b"q1", DATE.encode(), b"payload.jsonl"), "rb") as file:
                assert file.read() == b"%d\n" % number, name
        assert daemon.withheld() == {}
        assert daemon.count("broken") == 0


def test_values_that_are_no_raw_path_are_withheld(place: Place, engine: str, tmp_path: Path) -> None:
    """V12: a slash, a dot part, a NUL or nothing in an id or run id cannot leave the raw root, and is counted."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/payload.jsonl").write_bytes(b"secret\n")
    (tmp_path / "outside/metadata.json").write_bytes(b"{}\n")
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    bad_customers = [b"a/b", b"../../outside", b"/etc", b"nul\0here"]
    for number, value in enumerate(bad_customers):
        place.insert("s1", value, f"q{number}", DATE, "r1")
    for number, run_id in enumerate([b"..", b"../../../../../../outside", b".", b"a/b", b"n\0l"]):
        place.insert("s1", "c2", f"q{number}", DATE, run_id)
    with mounted(place, engine=engine) as daemon:
        assert os.listdir(daemon.path) == ["c1"]
        # A run id that is `.` or `..` has a name before it in the default raw layout, and is refused all the same.
        assert daemon.withheld() == {"unusable_raw_path": 9}
        assert len(daemon.events("row is withheld")) == 9
        assert b"\0" not in daemon.log.read_bytes()


def test_dot_parts_in_a_raw_layout_without_prefixes_are_withheld(place: Place, engine: str) -> None:
    """V12: also where the value is the whole component, so that `..` would climb."""
    layout = "{source}/{customer_id}/{query_name}/{logical_date}/{run_id}"
    for number, value in enumerate([".", "..", ""]):
        place.insert("s1", value, f"q{number}", DATE, "r1")
    place.insert("..", "c1", "q1", DATE, "r1")
    with mounted(place, "--raw-layout", layout, engine=engine) as daemon:
        assert os.listdir(daemon.path) == []
        assert sum(daemon.withheld().values()) == 4


def test_overlong_names_are_withheld(place: Place, engine: str) -> None:
    """V12: 255 bytes is what a name can have, after encoding and with the raw layout's prefix."""
    prefix = len("customer_id=")
    place.insert("s1", b"a" * (255 - prefix), "q1", DATE, "r1")
    write_raw(place, b"s1", b"a" * (255 - prefix), b"q1", b"fits\n")
    place.insert("s1", b"b" * (256 - prefix), "q1", DATE, "r1")
    place.insert("s1", b"%" * 100, "q1", DATE, "r1")
    place.insert("s1", b"c" * 4096, "q1", DATE, "r1")
    with mounted(place, engine=engine) as daemon:
        assert os.listdir(daemon.path) == ["a" * 243]
        with open(daemon.path / ("a" * 243) / "q1" / DATE / "payload.jsonl", "rb") as file:
            assert file.read() == b"fits\n"
        assert daemon.withheld() == {"unusable_raw_path": 1, "unusable_name": 2}
        assert not (daemon.path / ("b" * 244)).exists()


def test_raw_encoding_hive_serves_values_with_slashes(place: Place, engine: str) -> None:
    """V12: a producer that escapes its directory names is served when told so."""
    value = b"a/b:c"
    write_raw(place, b"s1", hive_escape(value), b"q1", b"escaped\n")
    place.insert("s1", value, "q1", DATE, "r1")
    with mounted(place, "--raw-encoding", "hive", engine=engine) as daemon:
        assert os.listdir(daemon.path) == ["a%2Fb%3Ac"]
        assert (daemon.path / "a%2Fb%3Ac/q1" / DATE / "payload.jsonl").read_bytes() == b"escaped\n"
        assert os.getxattr(daemon.path / "a%2Fb%3Ac/q1" / DATE, "user.readyfs.customer_id") == value
        assert daemon.withheld() == {}


def test_names_that_spark_skips_are_served_and_counted(place: Place, engine: str) -> None:
    """V12: a leading dot or underscore is served, counted, and warned of once."""
    for value in (b"_hidden", b".hidden", b"plain"):
        write_raw(place, b"s1", value, b"q1", b"x\n")
        place.insert("s1", value, "q1", DATE, "r1")
    with mounted(place, engine=engine) as daemon:
        assert sorted(os.listdir(daemon.path)) == [".hidden", "_hidden", "plain"]
        assert (daemon.path / "_hidden/q1" / DATE / "payload.jsonl").read_bytes() == b"x\n"
        assert daemon.count("ignored_by_spark") == 2
        daemon.refresh()
        warnings = [line for line in daemon.log_text().splitlines() if "Spark" in line]
        assert len(warnings) == 1


def test_value_that_hive_readers_take_for_null_is_served_and_counted(place: Place, engine: str) -> None:
    """V12: as it is, counted in the status, and warned of once."""
    value, layout = b"__HIVE_DEFAULT_PARTITION__", "customer_id={customer_id}/{query_name}/{logical_date}"
    write_raw(place, b"s1", value, b"q1", b"x\n")
    place.insert("s1", value, "q1", DATE, "r1")
    with mounted(place, "--layout", layout, engine=engine) as daemon:
        assert (daemon.path / f"customer_id={value.decode()}/q1" / DATE / "payload.jsonl").read_bytes() == b"x\n"
        assert (daemon.count("read_as_null"), daemon.count("ignored_by_spark")) == (1, 0)
        daemon.refresh()
        assert daemon.log_text().count("readers of the Hive layout read NULL") == 1


def test_links_in_the_raw_tree_are_never_followed(place: Place, engine: str, tmp_path: Path) -> None:
    """V12: a link anywhere on the way to a run breaks it; a link among its files is not shown."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "payload.jsonl").write_bytes(b"secret\n")
    (outside / "metadata.json").write_bytes(b"{}\n")
    whole, linked, climbs = partition(), partition(date="2024-06-02"), partition(customer="c2")
    run = place.producer.write_and_publish(whole, "r1", b"x\n")
    (run.directory / "link.txt").symlink_to(outside / "payload.jsonl")
    (run.directory / "dirlink").symlink_to(outside)
    (run.directory / "dangling").symlink_to("/nowhere")
    os.mkfifo(run.directory / "fifo")
    target = place.producer.run_directory(linked, "r1")
    target.parent.mkdir(parents=True)
    target.symlink_to(outside)
    place.producer.set_ready(linked, "r1")
    (place.raw / "s1/customer_id=c2").symlink_to(place.raw / "s1/customer_id=c1")
    place.producer.set_ready(climbs, "r1")
    with mounted(place, engine=engine) as daemon:
        assert sorted(os.listdir(daemon.directory(whole))) == ["metadata.json", "payload.jsonl"]
        for name in ("link.txt", "dirlink", "dangling", "fifo"):
            assert not os.path.lexists(daemon.of(whole, name))
        for part in (linked, climbs):
            for name in ("payload.jsonl", "metadata.json"):
                daemon.assert_refused(daemon.of(part, name))
        assert daemon.count("broken") == 2


def test_file_swapped_for_a_link_under_the_daemon_is_never_followed(place: Place, engine: str, tmp_path: Path) -> None:
    """V12: the check and the open are one: swapping a file and a link in a loop never shows what the link names."""
    part = partition()
    payload = place.producer.write_and_publish(part, "r1", b"inside\n").directory / "payload.jsonl"
    (tmp_path / "secret").write_bytes(b"secret\n")
    payload.with_name("good").hardlink_to(payload)
    with mounted(place, engine=engine) as daemon:
        seen: set[bytes] = set()
        for number in range(200):
            swapped = payload.with_name("swapped")
            swapped.unlink(missing_ok=True)
            if number % 2:
                swapped.hardlink_to(payload.with_name("good"))
            else:
                swapped.symlink_to(tmp_path / "secret")
            os.replace(swapped, payload)
            try:
                seen.add(daemon.of(part).read_bytes())
            except OSError as error:
                assert error.errno == errno.EIO
        assert seen == {b"inside\n"}


def test_filesystem_names_that_no_state_row_has_are_absent(place: Place, engine: str) -> None:
    """V12: dates have one spelling, and what tools probe for is a cheap ENOENT."""
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    with mounted(place, engine=engine) as daemon:
        for path in (".git", "C1", "c1/.gitignore", "c1/q1/20240601", "c1/q1/2024-6-1", "c1/q1/2024-13-01"):
            assert not (daemon.path / path).exists(), path
        for name in (".payload.jsonl.crc", "_spark_metadata", "payload.jsonl.gz", "x" * 255):
            assert not daemon.of(partition(), name).exists(), name
        with fails_with(errno.ENOTDIR):
            os.stat(daemon.of(partition()) / "below")
