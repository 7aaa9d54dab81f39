"""Everyday tools over the mount give what the producer wrote: no more, no less, no complaint."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import Mounted


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a tool; it must end with 0 and complain about nothing. Return its output."""
    done = subprocess.run([*map(str, command)], capture_output=True, timeout=60, cwd=cwd, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, ""), command
    return done.stdout.decode()


def files_of(directory: Path) -> dict[str, bytes]:
    """Return the files below a copy."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_find_lists_every_file_once(plain: Mounted) -> None:
    """V1: all of what is ready, nothing besides, the control directory neither."""
    listed = run("find", ".", "-type", "f", cwd=plain.path).split()
    assert sorted(listed) == sorted(f"./{path}" for path in plain.truth.files)
    directories = run("find", ".", "-mindepth", "1", "-type", "d", cwd=plain.path).split()
    assert sorted(directories) == sorted(f"./{path}" for path in plain.truth.directories)


def test_ls_all_hides_the_control_directory(plain: Mounted) -> None:
    names = run("ls", "-a", plain.path).split()
    assert set(names) - {".", ".."} == {path.split("/")[0] for path in plain.truth.files}
    assert (plain.path / ".readyfs" / "status.json").is_file()


def test_ls_long_recursive_is_quiet(plain: Mounted) -> None:
    """V9: link counts, owners, times and attributes that `ls` asks for are all there."""
    assert run("ls", "-lR", plain.path).count("payload.jsonl") == len(plain.truth.files) // 2


@pytest.mark.parametrize("flags", [[], ["--sparse"], ["--xattrs", "--acls"]], ids=["plain", "sparse", "xattrs"])
def test_tar_archives_the_bytes(plain: Mounted, tmp_path: Path, flags: list[str]) -> None:
    """V9: with a wrong st_blocks `tar --sparse` archives zeros and exits 0."""
    run("tar", "-cf", tmp_path / "a.tar", *flags, "-C", plain.path, ".")
    (tmp_path / "out").mkdir()
    run("tar", "-xf", tmp_path / "a.tar", "-C", tmp_path / "out")
    assert files_of(tmp_path / "out") == plain.truth.files


def test_tar_diff_finds_nothing(plain: Mounted, tmp_path: Path) -> None:
    """V9: sizes, times and bytes stay what they are: `tar --diff` finds nothing."""
    run("tar", "-cf", tmp_path / "a.tar", "-C", plain.path, ".")
    assert run("tar", "--diff", "-f", tmp_path / "a.tar", "-C", plain.path) == ""


def test_rsync_copies_and_then_has_nothing_to_do(plain: Mounted, tmp_path: Path) -> None:
    """V9: size and mtime are stable; a second run finds only that the root's age, an attribute, has moved on."""
    source, target = f"{plain.path}/", tmp_path / "copy"
    run("rsync", "-aHX", source, target)
    assert files_of(target) == plain.truth.files
    assert run("rsync", "-aHX", "--itemize-changes", source, target) == ".d........x ./\n"
    assert run("rsync", "-aH", "--checksum", "--itemize-changes", source, target) == ""


def test_rsync_keeps_the_lineage(plain: Mounted, tmp_path: Path) -> None:
    run("rsync", "-aHX", f"{plain.path}/", tmp_path / "copy")
    partition, run_id = next(iter(plain.world.ready.items()))
    copied = tmp_path / "copy" / partition.path / "payload.jsonl"
    assert os.getxattr(copied, "user.readyfs.run_id") == run_id.encode()


def test_cp_archive_copies_everything(plain: Mounted, tmp_path: Path) -> None:
    run("cp", "-a", plain.path, tmp_path / "copy")
    assert files_of(tmp_path / "copy") == plain.truth.files
    some = next(iter(plain.truth.files))
    assert (tmp_path / "copy" / some).stat().st_mtime_ns == (plain.path / some).stat().st_mtime_ns


def test_diff_with_the_raw_run_finds_nothing(plain: Mounted) -> None:
    partition, run_id = next(iter(plain.world.ready.items()))
    raw = plain.daemon.place.producer.run_directory(partition, run_id)
    assert run("diff", "-r", raw, plain.path / partition.path) == ""


def test_du_counts_the_bytes(plain: Mounted) -> None:
    """V9: apparent size is the sum of the sizes, disk use the sum of whole blocks."""
    apparent = int(run("du", "-s", "--apparent-size", "--block-size=1", plain.path).split()[0])
    assert apparent == sum(map(len, plain.truth.files.values()))
    blocks = int(run("du", "-s", "--block-size=512", plain.path).split()[0])
    assert blocks == sum(-(-len(data) // 512) for data in plain.truth.files.values())


def test_grep_recursive_finds_every_line(plain: Mounted) -> None:
    found = run("grep", "-rc", "campaign_id", plain.path).splitlines()
    counts = {line.rpartition(":")[0].removeprefix(f"{plain.path}/"): int(line.rpartition(":")[2]) for line in found}
    assert counts == {path: data.count(b"campaign_id") for path, data in plain.truth.files.items()}


def test_jq_reads_every_record(plain: Mounted) -> None:
    paths = sorted(path for path in plain.truth.files if path.endswith("payload.jsonl"))
    total = run("jq", "-n", "[inputs.clicks] | add", *(plain.path / path for path in paths))
    records = [json.loads(line) for path in paths for line in plain.truth.files[path].splitlines()]
    assert int(total) == sum(record["clicks"] for record in records)


def test_wc_counts_without_and_with_reading(plain: Mounted) -> None:
    """V9: `wc -c` believes st_size, `wc -l` reads."""
    for path, data in list(plain.truth.files.items())[:20]:
        assert run("wc", "-c", plain.path / path).split()[0] == str(len(data))
        assert run("wc", "-l", plain.path / path).split()[0] == str(data.count(b"\n"))


def test_sha256sum_agrees(plain: Mounted) -> None:
    """V2: byte for byte."""
    lines = run("sha256sum", *sorted(plain.truth.files), cwd=plain.path).splitlines()
    sums = {path: checksum for checksum, path in (line.split() for line in lines)}
    assert sums == {path: hashlib.sha256(data).hexdigest() for path, data in plain.truth.files.items()}


def test_getfattr_dumps_the_lineage(plain: Mounted) -> None:
    partition, run_id = next(iter(plain.world.ready.items()))
    dump = run("getfattr", "--only-values", "-n", "user.readyfs.run_id", partition.path, cwd=plain.path)
    assert dump == run_id
    assert "user.readyfs.logical_date" in run("getfattr", "-d", partition.path, cwd=plain.path)


def test_df_answers(plain: Mounted) -> None:
    assert str(plain.path) in run("df", plain.path)


def test_tools_fail_on_a_broken_partition(broken: Mounted) -> None:
    """V10: a copy of a tree in which something cannot be read does not pass for whole."""
    for command in (["tar", "-cf", "/dev/stdout", "."], ["grep", "-r", "x", "."], ["cp", "-a", ".", "copy"]):
        target = broken.daemon.place.base / "copy"
        words = [str(target) if word == "copy" else word for word in command]
        done = subprocess.run(words, cwd=broken.path, capture_output=True, timeout=60, check=False)
        assert done.returncode != 0, command
        assert b"Input/output error" in done.stderr, command
