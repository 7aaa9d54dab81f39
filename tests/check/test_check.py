from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from readyfs.check.findings import Kind
from readyfs.check.report import MEANINGS
from readyfs.errors import ExitCode
from readyfs.partition import WithheldReason
from tests.check.worlds import PAYLOAD, check, check_command, check_json, make_world
from tests.docs.test_docs import own_table, section
from tests.mount.bindfs import bound
from tests.mount.daemon import Place, partition, wait_until

INTERRUPTED = 130


def publish(place: Place, count: int) -> None:
    for number in range(count):
        place.producer.write_and_publish(partition(query=f"q{number:05}"), "r1", PAYLOAD)


def test_all_is_well_in_one_line(place: Place) -> None:
    publish(place, 3)
    done = check(place, "--deep")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"checked 3 ready partitions in sqlite:///\S+/state\.db, runs in \S+/raw, in [\d.]+ s: all is well\n",
        done.stdout,
    )


def test_what_is_wrong_is_shown_by_kind_with_counts_and_the_first_examples(place: Place) -> None:
    make_world(place)
    done = check(place, "--limit", "1")
    assert done.returncode == ExitCode.FOUND
    assert ": broken " in done.stdout.splitlines()[0]
    assert "\nbroken (listed, and EIO at open)\n" in done.stdout
    assert "\nmismatched (served as it is)\n" in done.stdout
    assert "\nwithheld (not served)\n" in done.stdout
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  file_missing "))
    assert lines[at].split()[:2] == ["file_missing", "2"]
    assert lines[at + 1] == "    s1/c1/q1/2024-01-06 run r1: payload.jsonl: No such file or directory"
    assert lines[at + 2] == "    ... and 1 more"


def test_counts_are_complete_whatever_the_limit(place: Place) -> None:
    for number in range(300):
        place.producer.set_ready(partition(query=f"q{number:05}"), "gone")
    _, document = check_json(place, "--limit", "2")
    (finding,) = document["findings"]
    assert (finding["kind"], finding["group"], finding["count"]) == ("run_missing", "broken", 300)
    assert [one["partition"] for one in finding["examples"]] == [
        "s1/c1/q00000/2024-06-01",
        "s1/c1/q00001/2024-06-01",
    ]
    path = place.producer.run_directory(partition(query="q00000"), "gone")
    assert finding["examples"][0] == {
        "partition": "s1/c1/q00000/2024-06-01",
        "run": "gone",
        "path": str(path),
        "detail": "run directory: No such file or directory",
    }
    assert check_json(place, "--limit", "0")[1]["findings"][0]["examples"] == []


def test_withheld_rows_are_reported_with_their_reason(place: Place) -> None:
    make_world(place)
    _, document = check_json(place)
    found = {one["kind"]: one for one in document["findings"] if one["group"] == "withheld"}
    assert {kind: one["count"] for kind, one in found.items()} == {"no_run_id": 1, "bad_row": 1, "unusable_name": 1}
    assert document["withheld"] == 3
    (example,) = found["no_run_id"]["examples"]
    assert (example["partition"], example["run"], example["path"]) == ("s1/c1/q1/2024-04-02", None, None)


def test_ambiguous_paths_are_reported_and_the_rest_is_checked(place: Place) -> None:
    """V13: a mount would refuse to start."""
    publish(place, 2)
    place.producer.set_ready(partition(query="q00000", source="s2"), "r1")
    place.producer.set_ready(partition(query="q1"), "gone")
    code, document = check_json(place)
    assert code == ExitCode.FOUND
    assert {one["kind"]: one["count"] for one in document["findings"]} == {"run_missing": 1, "ambiguous_path": 1}
    assert document["partitions"] == document["checked"] == 2
    assert check(place, "--source", "s1", "--query", "q0*").returncode == ExitCode.OK


def test_a_payload_is_counted_only_by_a_deep_check(place: Place) -> None:
    run = place.producer.write_and_publish(partition(), "r1", PAYLOAD)
    (run.directory / "payload.jsonl").write_bytes(PAYLOAD * 2)
    assert check(place).returncode == ExitCode.OK
    code, document = check_json(place, "--deep")
    assert code == ExitCode.FOUND
    (finding,) = document["findings"]
    assert finding["examples"][0]["detail"] == "payload.jsonl holds 6 records, the row says 3, metadata.json says 3"


def test_payload_and_metadata_may_have_other_names(place: Place) -> None:
    run = place.producer.write_and_publish(partition(), "r1", PAYLOAD * 2)
    (run.directory / "payload.jsonl").rename(run.directory / "data.jsonl")
    (run.directory / "metadata.json").rename(run.directory / "about.json")
    names = ["--required-files", "data.jsonl,about.json", "--payload", "data.jsonl", "--metadata", "about.json"]
    assert check(place, "--deep", *names).returncode == ExitCode.OK
    place.change("UPDATE partition_state SET record_count = 5")
    _, document = check_json(place, "--deep", *names)
    assert {one["kind"] for one in document["findings"]} == {"metadata_mismatch", "count_mismatch"}


@pytest.mark.parametrize("name", ["", "a/b", ".", ".."])
def test_a_name_of_a_file_is_a_name(place: Place, name: str) -> None:
    done = check(place, "--payload", name)
    assert done.returncode == ExitCode.USAGE
    assert "--payload" in done.stderr


def test_stores_that_cannot_be_used_have_their_own_exit_codes(place: Place, tmp_path: Path) -> None:
    publish(place, 1)
    assert check(place, raw=tmp_path / "none").returncode == ExitCode.RAW
    assert check(place, "--state-table", "none").returncode == ExitCode.STATE
    assert check(place, "--limit", "-1").returncode == ExitCode.USAGE
    assert check(place, "--files", "*.parquet").returncode == ExitCode.USAGE
    assert check(place, "--since", "2024-02-01", "--until", "2024-01-01").returncode == ExitCode.USAGE


def test_filters_that_leave_nothing_are_warned_of(place: Place) -> None:
    publish(place, 1)
    done = check(place, "--customer", "none")
    assert done.returncode == ExitCode.OK
    assert "the filters leave none of 1 ready rows" in done.stderr


def test_table_without_a_ready_row_is_warned_of(place: Place) -> None:
    publish(place, 1)
    done = check(place, "--ready-status", "done")
    assert done.returncode == ExitCode.OK
    assert "column status (TEXT) holds 'success' (1), and --ready-status is 'done'" in done.stderr


def test_settings_come_from_file_and_environment_as_for_a_mount(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(place, 2)
    file = place.base / "readyfs.toml"
    file.write_text(f'state = "{place.state}"\ninterval = "5s"\ncustomer = ["c1"]\n')
    monkeypatch.setenv("READYFS_RAW", str(place.raw))
    command = [sys.executable, "-m", "readyfs", "check", "--config", str(file), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["checked"] == 2


def test_an_interruption_shows_what_was_found_so_far(place: Place) -> None:
    publish(place, 5)
    with bound(place) as store:
        # The root answers and what lies below it does not.
        layout = (
            "{source}/customer_id={customer_id}/query_name={query_name}/logical_date={logical_date}/run_id={run_id}"
        )
        command = check_command(
            place, "--format", "json", "--raw-layout", f"{store.path.name}/{layout}", raw=store.path.parent
        )
        store.stop()
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            try:
                # Several threads mean that the first one waits, and that Ctrl-C is heeded.
                wait_until(lambda: len(os.listdir(f"/proc/{process.pid}/task")) > 2, "the check waits for the store")
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=30)
            finally:
                process.kill()
                process.wait(10)
        finally:
            store.go_on()
    assert (process.returncode, err) == (INTERRUPTED, b"")
    document = json.loads(out)
    assert (document["ending"], document["checked"], document["partitions"]) == ("interrupted", 0, 5)


def test_a_progress_bar_is_shown_on_a_terminal_alone(place: Place) -> None:
    publish(place, 3)
    leader, follower = pty.openpty()
    with open(leader, "rb", buffering=0) as terminal:
        done = subprocess.run(check_command(place), stdout=subprocess.PIPE, stderr=follower, timeout=60, check=True)
        os.close(follower)
        shown = b""
        try:
            while part := terminal.read(4096):
                shown += part
        except OSError:
            pass  # EIO: the other end is closed
    assert b"checking" in shown
    assert b"3/3" in shown
    assert b"checking" not in done.stdout


def test_nothing_is_written(place: Place) -> None:
    publish(place, 2)
    place.producer.close()

    def look() -> dict[str, tuple[int, int]]:
        paths = [place.state.parent, place.state, *sorted(place.raw.rglob("*"))]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}

    before = look()
    assert check(place, "--deep").returncode == 0
    assert look() == before


def test_exactly_the_kinds_and_fields_of_the_report_are_documented(place: Place) -> None:
    assert own_table("docs/check.md", "What it finds")[: len(Kind)] == [kind.value for kind in Kind]
    publish(place, 1)
    fields = check_json(place)[1]
    text = section("docs/check.md", "The JSON document")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(fields)
    assert set(MEANINGS) == {*Kind, *WithheldReason}


def test_unsealed_run_is_found_and_well_once_it_is_sealed(place: Place) -> None:
    """V10: `metadata.json` seals a run."""
    run = place.producer.begin_run(partition(), "r1", PAYLOAD)
    place.producer.publish(run)
    assert check_json(place)[1]["findings"][0]["kind"] == "file_missing"
    place.producer.seal_run(run)
    assert check(place).returncode == ExitCode.OK


SECOND_NS = 1_717_290_000_000_000_000


@pytest.mark.parametrize(
    ("size", "time_ns", "expected"),
    [
        (len(PAYLOAD), SECOND_NS + 1, 1),
        (len(PAYLOAD), SECOND_NS + 10**9, 0),
        (len(PAYLOAD) + 1, SECOND_NS, 0),
    ],
    ids=["same second", "another second", "another size"],
)
def test_partitions_are_counted_whose_runs_look_alike(place: Place, size: int, time_ns: int, expected: int) -> None:
    """Counted, and no fault: the exit code is that of a sound store."""
    former = place.producer.write_run(partition(), "r1", b"x" * size)
    current = place.producer.write_run(partition(), "r2", PAYLOAD)
    for run, at_ns in ((former, time_ns), (current, SECOND_NS)):
        (run.directory / "metadata.json").touch()
        for number, path in enumerate(sorted(run.directory.iterdir())):
            # Metadata are of one size; the payload alone shall count.
            other_ns = 0 if path.name == "payload.jsonl" else (number + 1) * 10**12 * (1 + (run is former))
            os.utime(path, ns=(at_ns + other_ns, at_ns + other_ns))
    place.producer.publish(current)
    code, document = check_json(place)
    assert (code, document["indistinguishable"], document["findings"]) == (0, expected, [])
    assert ("rsync -c" in check(place).stdout) == bool(expected)


def test_runs_without_a_directory_of_their_own_are_not_compared(place: Place) -> None:
    raw_layout = "{source}/{run_id}/{customer_id}/{query_name}/{logical_date}"
    place.producer.set_ready(partition(), "r1")
    _, document = check_json(place, "--raw-layout", raw_layout)
    assert document["indistinguishable"] is None
