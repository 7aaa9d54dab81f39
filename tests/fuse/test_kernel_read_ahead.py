"""Raising the kernel's readahead of a mount."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from readyfs.fuse.kernel_read_ahead import READ_AHEAD_KB, raise_read_ahead


def test_the_setting_of_the_device_is_written(tmp_path: Path) -> None:
    (tmp_path / "0:42").mkdir()
    (tmp_path / "0:42/read_ahead_kb").write_text("128")
    raise_read_ahead((0, 42), tmp_path)
    assert (tmp_path / "0:42/read_ahead_kb").read_text() == str(READ_AHEAD_KB)


def test_a_setting_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    with capture_logs() as logs:
        raise_read_ahead((0, 42), tmp_path)
    assert [line["log_level"] for line in logs] == ["debug"]
