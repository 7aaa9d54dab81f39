"""What `readyfs manifest` makes of the manifests of a directory; through real mounts in `tests/mount`."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from readyfs.cli import manifest as command
from readyfs.cli.manifest_place import Form, ManifestPlace
from readyfs.cli.output_file import write_output_file
from readyfs.errors import NoAnswerError, OutputError
from tests.cli.conftest import Run

FINGERPRINT: Final = "01" + "ab" * 15
REQUIRED: Final = ("payload.jsonl", "metadata.json")


def row_of(path: str, **more: object) -> dict[str, object]:
    """Return what a manifest says of a partition; it is not asked of what lies there."""
    return {
        "path": path,
        "run_id": "r1",
        "source": "s1",
        "customer_id": "c",
        "query_name": "q",
        "logical_date": "2024-06-01",
        "record_count": None,
        "schema_version": None,
        "updated_at": "2024-06-02T05:00:00Z",
        "files": [f"{path}/{name}" for name in REQUIRED],
        "broken": None,
        **more,
    }


def write_manifests(directory: Path, *paths: bytes) -> None:
    """Put manifests into a directory, as a mount would give them there."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row_of(path.decode("utf-8", "backslashreplace")), separators=(",", ":")) for path in paths]
    files = [path + b"/" + name.encode() for path in paths for name in REQUIRED]
    (directory / ".manifest.jsonl").write_text("".join(line + "\n" for line in lines))
    (directory / ".manifest.paths").write_bytes(b"".join(file + b"\n" for file in files))
    (directory / ".manifest.paths0").write_bytes(b"".join(file + b"\0" for file in files))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that stands for a mount point."""
    top = tmp_path / "mnt"
    top.mkdir()

    def find_place(named: str, prefix: str) -> ManifestPlace:
        return ManifestPlace(top, Path(named), prefix.rstrip("/"))

    monkeypatch.setattr(command, "find_place", find_place)
    yield top


def test_records_are_read_whole_whatever_their_length(tree: Path) -> None:
    records = [b"x" * length for length in (1, 3 << 20, 0, 5, (1 << 20) - 1)]
    (tree / ".manifest.paths").write_bytes(b"".join(record + b"\n" for record in records))
    found = [one for some in ManifestPlace(tree, tree).read(Form.PATHS) for one in some]
    assert found == records


@pytest.mark.parametrize("content", [b"a/b\nc/d", b"a"])
def test_manifest_that_does_not_end_as_it_should_is_an_error(tree: Path, content: bytes) -> None:
    (tree / ".manifest.paths").write_bytes(content)
    with pytest.raises(NoAnswerError, match="ended after"):
        list(ManifestPlace(tree, tree).read(Form.PATHS))


def test_prefix_stands_in_every_path(tree: Path, run: Run) -> None:
    """As if the manifest of the whole tree had been read, and what is not below it left out."""
    write_manifests(tree, b"a/q/1", b"b/q/1", b"b/q/2")
    write_manifests(tree / "b", b"q/1", b"q/2")
    for form in Form:
        _, whole, _ = run("manifest", str(tree), "--format", str(form))
        end = form.end.decode()
        expected = [one for one in whole.split(end) if "b/q/" in one]
        code, out, err = run("manifest", str(tree), "--prefix", "b/", "--format", str(form))
        assert (code, out.split(end), err) == (0, [*expected, ""], "")


def test_one_of_the_files_can_be_asked_for(tree: Path, run: Run) -> None:
    write_manifests(tree, b"a/q/1", b"a/q/2")
    _, paths, _ = run("manifest", str(tree), "--format", "paths", "--file", "metadata.json")
    assert paths.splitlines() == ["a/q/1/metadata.json", "a/q/2/metadata.json"]
    _, lines, _ = run("manifest", str(tree), "--file", "metadata.json")
    assert [json.loads(line)["files"] for line in lines.splitlines()] == [[path] for path in paths.splitlines()]


@pytest.mark.parametrize("form", Form)
def test_file_that_is_not_required_is_refused(tree: Path, run: Run, form: Form) -> None:
    write_manifests(tree, b"a/q/1")
    code, out, err = run("manifest", str(tree), "--format", str(form), "--file", "data")
    assert (code, out) == (2, "")
    assert "data is none of the required files; see --required-files of the mount" in err


@pytest.mark.parametrize("form", Form)
def test_nothing_ready_is_an_empty_list(tree: Path, run: Run, form: Form) -> None:
    write_manifests(tree)
    assert run("manifest", str(tree), "--format", str(form), "--file", "data") == (0, "", "")


def test_names_that_are_not_utf8_stay_what_they_are(tree: Path, tmp_path: Path, run: Run) -> None:
    view = tree / ".readyfs/views" / FINGERPRINT
    write_manifests(view, b"a\xff/q/1")
    write_manifests(view / os.fsdecode(b"a\xff"), b"q/1")
    output = tmp_path / "list"
    prefix = os.fsdecode(b"a\xff")
    assert run("manifest", str(view), "--format", "paths0", "--prefix", prefix, "--output", str(output)) == (0, "", "")
    assert output.read_bytes() == b"a\xff/q/1/payload.jsonl\0a\xff/q/1/metadata.json\0"
    _, whole, _ = run("manifest", str(view))
    assert run("manifest", str(view), "--prefix", prefix) == (0, whole, "")
    code, out, err = run("manifest", str(view), "--format", "duckdb")
    assert (code, out) == (2, "")
    assert r"a\xff/q/1/payload.jsonl, whose path is not UTF-8" in err


def test_sizes_are_of_every_file_and_found_below_any_name(tree: Path, run: Run) -> None:
    view = tree / ".readyfs/views" / FINGERPRINT
    write_manifests(view, b"a\xff/q/1")
    partition = Path(os.fsdecode(os.fsencode(view) + b"/a\xff/q/1"))
    (partition / "more").mkdir(parents=True)
    for name, size in (("payload.jsonl", 5), ("metadata.json", 0), ("more/of it", 7)):
        (partition / name).write_bytes(b"x" * size)
    code, out, err = run("manifest", str(view), "--sizes")
    row = json.loads(out)
    assert (code, err, row["broken"]) == (0, "", None)
    path = r"a\xff/q/1"
    assert row["sizes"] == {f"{path}/metadata.json": 0, f"{path}/more/of it": 7, f"{path}/payload.jsonl": 5}


def test_partition_that_is_gone_ends_the_sizes(tree: Path, tmp_path: Path, run: Run) -> None:
    view = tree / ".readyfs/views" / FINGERPRINT
    write_manifests(view, b"a/q/1")
    output = tmp_path / "list"
    code, out, err = run("manifest", str(view), "--sizes", "--output", str(output))
    assert (code, out) == (8, "")
    assert "a/q/1: No such file or directory; pin the view for longer" in err
    assert list(tmp_path.glob("*list*")) == []


@pytest.mark.parametrize("form", ["paths", "paths0", "duckdb"])
def test_sizes_are_of_one_form_alone(tree: Path, run: Run, form: str) -> None:
    code, _, err = run("manifest", str(tree), "--sizes", "--format", str(form))
    assert code == 2
    assert f"--sizes are not in --format {form}" in err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--prefix", ""), "--prefix is empty; name a path, or leave it out for all"),
        (("--output", "-"), "--output - is no file; leave it out for standard output"),
    ],
)
def test_what_means_something_else_elsewhere_is_refused(
    tree: Path, run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], line: str
) -> None:
    """An unset variable would give the list of everything, and a dash a file of that name."""
    write_manifests(tree, b"c/q/2024-06-01")
    monkeypatch.chdir(tree)
    code, out, err = run("manifest", str(tree), *words)
    assert (code, out) == (2, "")
    assert line in err
    assert not (tree / "-").exists()


def test_column_above_the_view_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """DuckDB takes the first of two values, and each customer would be another's."""
    top = tmp_path / "Customer_ID=mnt"
    view = top / ".readyfs/views" / FINGERPRINT
    monkeypatch.setattr(command, "find_place", lambda named, prefix: ManifestPlace(top, Path(named), prefix))
    write_manifests(view, b"customer_id=a/q/1")
    code, out, err = run("manifest", str(view), "--format", "duckdb")
    assert (code, out) == (2, "")
    assert "DuckDB would take the column customer_id from the names above the view" in err


def test_live_tree_is_no_list_for_duckdb(tree: Path, run: Run) -> None:
    write_manifests(tree, b"a/q/1")
    code, out, err = run("manifest", str(tree), "--format", "duckdb")
    assert (code, out) == (2, "")
    assert f'pin it: readyfs manifest "$(readyfs pin {tree})" --format duckdb' in err


class TestPlace:
    def test_path_outside_of_mounts_is_refused(self, tmp_path: Path, run: Run) -> None:
        code, _, err = run("manifest", str(tmp_path))
        assert code == 2
        assert f"{tmp_path} is in no mount of readyfs; name a mount point, a view" in err

    def test_empty_path_is_refused(self, run: Run) -> None:
        code, _, err = run("manifest", "")
        assert code == 2
        assert "the path is empty" in err


class TestOutputFile:
    def test_replaces_what_was_there_in_one_step(self, tmp_path: Path) -> None:
        path = tmp_path / "list"
        path.write_bytes(b"before")

        def pieces() -> Iterator[bytes]:
            yield b"after"
            assert path.read_bytes() == b"before"
            yield b"wards"

        write_output_file(path, pieces())
        assert path.read_bytes() == b"afterwards"
        assert os.listdir(tmp_path) == ["list"]

    def test_failure_leaves_what_was_there(self, tmp_path: Path) -> None:
        path = tmp_path / "list"
        path.write_bytes(b"before")

        def pieces() -> Iterator[bytes]:
            yield b"after"
            raise NoAnswerError("it ended", "start again")

        with pytest.raises(NoAnswerError):
            write_output_file(path, pieces())
        assert path.read_bytes() == b"before"
        assert os.listdir(tmp_path) == ["list"]

    def test_full_disk_is_one_line_and_leaves_what_was_there(self, tmp_path: Path) -> None:
        path = tmp_path / "list"
        path.write_bytes(b"before")

        def pieces() -> Iterator[bytes]:
            yield b"after"
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with pytest.raises(OutputError, match=r"list cannot be written: No space left on device; name another"):
            write_output_file(path, pieces())
        assert path.read_bytes() == b"before"

    def test_what_a_killed_command_left_stops_nobody(self, tmp_path: Path) -> None:
        path = tmp_path / "list"

        script = (
            "import os, signal, sys; from pathlib import Path; from readyfs.cli.output_file import write_output_file\n"
            "write_output_file(Path(sys.argv[1]), (os.kill(os.getpid(), signal.SIGKILL) for _ in range(1)))"
        )
        with subprocess.Popen([sys.executable, "-c", script, path]) as killed:
            assert killed.wait(30) == -signal.SIGKILL
        [left] = tmp_path.iterdir()
        # In a new container a command may have the id of one that was killed in the one before.
        left.rename(left.with_name(left.name.replace(str(killed.pid), str(os.getpid()))))
        write_output_file(path, [b"new"])
        assert path.read_bytes() == b"new"

    def test_follows_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "to").mkdir()
        link = tmp_path / "list"
        link.symlink_to("to/file")
        write_output_file(link, [b"new"])
        assert link.is_symlink()
        assert (tmp_path / "to/file").read_bytes() == b"new"

    @pytest.mark.parametrize("kind", ["directory", "fifo", "device"])
    def test_what_is_no_file_stays(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "it"
        match kind:
            case "directory":
                path.mkdir()
            case "fifo":
                os.mkfifo(path)
            case _:
                path.symlink_to(os.devnull)
        with pytest.raises(OutputError, match="it is no regular file; name another file"):
            write_output_file(path, [b"new"])
        assert Path(os.devnull).is_char_device()

    def test_directory_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="none/list cannot be written: No such file or directory"):
            write_output_file(tmp_path / "none/list", [b"new"])
