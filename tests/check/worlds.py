"""Runs with every kind of damage, and `readyfs check` as a command of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from readyfs.demo.producer import Run
from tests.mount.daemon import Place, partition
from tests.mount.forked import NO_WRAPPER, StemWrapper, run_forked

PAYLOAD: Final = b'{"n": 1}\n{"n": 2}\n{"n": 3}\n'
"""For root: what a mode forbids stays forbidden."""


def remove_run(run: Run) -> None:
    shutil.rmtree(run.directory)


def replace_run_by_file(run: Run) -> None:
    remove_run(run)
    run.directory.write_bytes(b"")


def replace_run_by_link(run: Run) -> None:
    aside = run.directory.with_name("aside")
    run.directory.rename(aside)
    run.directory.symlink_to(aside)


def forbid_run(run: Run) -> None:
    run.directory.chmod(0)


def forbid_search(run: Run) -> None:
    run.directory.chmod(0o444)


def remove_payload(run: Run) -> None:
    (run.directory / "payload.jsonl").unlink()


def remove_metadata(run: Run) -> None:
    (run.directory / "metadata.json").unlink()


def replace_payload_by_directory(run: Run) -> None:
    remove_payload(run)
    (run.directory / "payload.jsonl").mkdir()


def replace_payload_by_link(run: Run) -> None:
    (run.directory / "payload.jsonl").rename(run.directory / "real.jsonl")
    (run.directory / "payload.jsonl").symlink_to("real.jsonl")


def replace_metadata_by_fifo(run: Run) -> None:
    remove_metadata(run)
    os.mkfifo(run.directory / "metadata.json")


def replace_payload_by_socket(run: Run) -> None:
    remove_payload(run)
    before = Path.cwd()
    os.chdir(run.directory)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("payload.jsonl")
    finally:
        os.chdir(before)


def forbid_payload(run: Run) -> None:
    (run.directory / "payload.jsonl").chmod(0)


def forbid_extra_file(run: Run) -> None:
    (run.directory / "parts").mkdir()
    (run.directory / "parts/0.parquet").write_bytes(b"x")
    (run.directory / "parts/0.parquet").chmod(0)


def forbid_subdirectory(run: Run) -> None:
    (run.directory / "parts").mkdir(mode=0)


BROKEN: Final[dict[str, tuple[Callable[[Run], None], str]]] = {
    "2024-01-01": (remove_run, "run_missing"),
    "2024-01-02": (replace_run_by_file, "run_unreadable"),
    "2024-01-03": (replace_run_by_link, "run_unreadable"),
    "2024-01-04": (forbid_run, "run_unreadable"),
    "2024-01-05": (forbid_search, "file_unreadable"),
    "2024-01-06": (remove_payload, "file_missing"),
    "2024-01-07": (remove_metadata, "file_missing"),
    "2024-01-08": (replace_payload_by_directory, "file_not_regular"),
    "2024-01-09": (replace_payload_by_link, "file_not_regular"),
    "2024-01-10": (replace_metadata_by_fifo, "file_not_regular"),
    "2024-01-11": (replace_payload_by_socket, "file_not_regular"),
    "2024-01-12": (forbid_payload, "file_unreadable"),
    "2024-01-13": (forbid_extra_file, "file_unreadable"),
    "2024-01-14": (forbid_subdirectory, "file_unreadable"),
}
"""By date: the damage, and what it is called. A mount answers EIO for each."""


def truncate_payload(run: Run) -> None:
    os.truncate(run.directory / "payload.jsonl", len(b'{"n": 1}\n'))


def lose_a_record_for_a_blank_line(run: Run) -> None:
    (run.directory / "payload.jsonl").write_bytes(b'{"n": 1}\n\n{"n": 3}\n')


def take_metadata_of_another_run(run: Run) -> None:
    path = run.directory / "metadata.json"
    path.write_bytes(path.read_bytes().replace(b'"r1"', b'"r0"'))


def take_count_of_another_run(run: Run) -> None:
    path = run.directory / "metadata.json"
    path.write_bytes(path.read_bytes().replace(b'"record_count":3', b'"record_count":4'))


def cut_metadata(run: Run) -> None:
    os.truncate(run.directory / "metadata.json", 20)


def empty_metadata(run: Run) -> None:
    os.truncate(run.directory / "metadata.json", 0)


def make_metadata_a_list(run: Run) -> None:
    (run.directory / "metadata.json").write_bytes(b"[]")


MISMATCHED: Final[dict[str, tuple[Callable[[Run], None], set[str]]]] = {
    "2024-02-01": (truncate_payload, {"count_mismatch"}),
    "2024-02-02": (lose_a_record_for_a_blank_line, {"count_mismatch"}),
    "2024-02-03": (take_metadata_of_another_run, {"metadata_mismatch"}),
    "2024-02-04": (take_count_of_another_run, {"metadata_mismatch", "count_mismatch"}),
    "2024-02-05": (cut_metadata, {"metadata_invalid"}),
    "2024-02-06": (empty_metadata, {"metadata_invalid"}),
    "2024-02-07": (make_metadata_a_list, {"metadata_invalid"}),
}
"""By date: the damage, and what a deep check calls it. A mount serves each as it is."""


def leave(run: Run) -> None:
    pass


def lose_the_last_newline(run: Run) -> None:
    os.truncate(run.directory / "payload.jsonl", len(PAYLOAD) - 1)


def add_blank_lines(run: Run) -> None:
    (run.directory / "payload.jsonl").write_bytes(b"\n" + PAYLOAD + b"\n \r\n")


def add_other_files(run: Run) -> None:
    (run.directory / "parts/deep").mkdir(parents=True)
    (run.directory / "parts/deep/0.parquet").write_bytes(b"x")
    (run.directory / "_SUCCESS").write_bytes(b"")
    (run.directory / "latest").symlink_to("payload.jsonl")


WHOLE: Final[dict[str, Callable[[Run], None]]] = {
    "2024-03-01": leave,
    "2024-03-02": lose_the_last_newline,
    "2024-03-03": add_blank_lines,
    "2024-03-04": add_other_files,
}
EMPTY: Final = "2024-03-05"
"""A date whose payload is empty and has 0 records."""


def make_world(place: Place) -> None:
    """Write every kind of run, whole ones included, and rows that are withheld."""
    damages: dict[str, Callable[[Run], None]] = {date: damage for date, (damage, _) in BROKEN.items()}
    damages |= {date: damage for date, (damage, _) in MISMATCHED.items()} | WHOLE
    for date, damage in damages.items():
        damage(place.producer.write_and_publish(partition(date=date), "r1", PAYLOAD))
    place.producer.write_and_publish(partition(date=EMPTY), "r1", b"")
    place.producer.fail(partition(date="2024-04-01"))
    place.producer.set_ready(partition(date="2024-04-02"), None)
    place.insert("s1", "c1", "q1", "no date", "r1")
    place.insert("s1", "x" * 300, "q1", "2024-04-03", "r1")


def check(
    place: Place, *arguments: str, wrapper: StemWrapper = NO_WRAPPER, raw: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return run_forked(check_arguments(place, *arguments, raw=raw), 60, wrapper)


def check_command(place: Place, *arguments: str, raw: Path | None = None) -> list[str]:
    """Return the command line that checks a place."""
    return [sys.executable, "-m", "readyfs", *check_arguments(place, *arguments, raw=raw)]


def check_arguments(place: Place, *arguments: str, raw: Path | None = None) -> list[str]:
    """Return the arguments of `readyfs` that check a place."""
    return ["check", "--state", str(place.state), "--raw", str(raw or place.raw), *arguments]


def check_json(place: Place, *arguments: str, wrapper: StemWrapper = NO_WRAPPER) -> tuple[int, dict[str, Any]]:
    """Run the command and return its exit code and its document."""
    done = check(place, "--format", "json", *arguments, wrapper=wrapper)
    return done.returncode, json.loads(done.stdout)


def kinds_by_date(document: dict[str, Any], group: str) -> dict[str, set[str]]:
    """Return what was found in each date of the examples of a group."""
    found: dict[str, set[str]] = {}
    for finding in document["findings"]:
        for example in finding["examples"] if finding["group"] == group else ():
            found.setdefault(example["partition"].rpartition("/")[2], set()).add(finding["kind"])
    return found
