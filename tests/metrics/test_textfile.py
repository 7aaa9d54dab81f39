"""The metrics file: replaced in one step, written whatever happens, no danger to the mount or to other files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from readyfs.errors import UsageError
from readyfs.metrics import textfile
from readyfs.metrics.textfile import MetricsFile, check_metrics_file, write_metrics

DOCUMENT = {"mountpoint": "/mnt/a", "partitions": 1}


def test_a_reader_sees_the_old_content_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "x.prom"
    mask = os.umask(0o077)
    try:
        write_metrics(path, DOCUMENT)
        with path.open() as old:
            write_metrics(path, {**DOCUMENT, "partitions": 2})
            assert 'readyfs_partitions{mountpoint="/mnt/a"} 1.0' in old.read()
    finally:
        os.umask(mask)
    assert 'readyfs_partitions{mountpoint="/mnt/a"} 2.0' in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["x.prom"]


def test_what_a_killed_daemon_left_is_replaced_and_no_link_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".x.prom.tmp").symlink_to(victim)
    (tmp_path / "x.prom").symlink_to(victim)
    write_metrics(tmp_path / "x.prom", DOCUMENT)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "x.prom").is_symlink()


@pytest.mark.parametrize("kind", ["directory", "link", "fifo", "other text"])
def test_something_else_in_its_place_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.prom"
    match kind:
        case "directory":
            path.mkdir()
        case "link":
            path.symlink_to("nowhere")
        case "fifo":
            os.mkfifo(path)
        case _:
            path.write_text("root:x:0:0")
    before = path.lstat()
    with pytest.raises(UsageError, match="metrics file"):
        check_metrics_file(path)
    assert path.lstat() == before


def test_a_missing_directory_is_refused_and_an_own_file_is_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No such file or directory.*--metrics-file"):
        check_metrics_file(tmp_path / "none" / "x.prom")
    write_metrics(tmp_path / "x.prom", DOCUMENT)
    check_metrics_file(tmp_path / "x.prom")
    check_metrics_file(tmp_path / "new.prom")


async def test_it_is_written_when_woken_and_at_least_every_period(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline: None, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    written: list[float] = []
    monkeypatch.setattr(textfile, "write_metrics", lambda path, document: None)

    def document() -> dict[str, object]:
        written.append(trio.current_time() - began)
        return dict(DOCUMENT)

    began = trio.current_time()
    file = MetricsFile(tmp_path / "x.prom", document)
    nursery.start_soon(file.run)
    await trio.sleep(16.5)
    file.wake()
    file.wake()
    await trio.sleep(2.0)
    assert [round(moment, 1) for moment in written] == [0.0, 15.0, 16.5]


async def test_a_failure_is_logged_once_and_ends_nothing(
    tmp_path: Path, inline: None, autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V11: numbers that cannot be written are no reason to stop serving."""
    full = True

    def write(path: Path, document: object) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(textfile, "write_metrics", write)
    with capture_logs() as logs:
        nursery.start_soon(MetricsFile(tmp_path / "x.prom", lambda: DOCUMENT).run)
        await trio.sleep(100.0)
        full = False
        await trio.sleep(20.0)
    events = [entry["event"] for entry in logs]
    assert events == ["the metrics file cannot be written", "the metrics file can be written again"]


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.prom"
    write_metrics(path, DOCUMENT)
    before = path.read_text()

    def refuse(descriptor: int, mode: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(OSError):
        write_metrics(path, {**DOCUMENT, "partitions": 2})
    assert path.read_text() == before
    assert os.listdir(tmp_path) == ["x.prom"]
