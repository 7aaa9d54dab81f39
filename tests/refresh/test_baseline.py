"""The baseline on disk: what is written is what is read, and nothing that somebody or something else left is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from readyfs.refresh.baseline import Baseline, BaselineFile, Sighting, UnreadableBaselineError
from readyfs.refresh.baseline_keeper import PATIENCE_S, BaselineKeeper

BASELINE = Baseline(1000, {"state": "sqlite:///s.db", "layout": "{x}\udcff"}, "2024-06-02T00:00:00+00:00")
HELD = Baseline(None, BASELINE.settings, "", Sighting("ab" * 16, "boot", 12.5))


@pytest.fixture
def file(tmp_path: Path) -> BaselineFile:
    return BaselineFile(tmp_path, Path("/mnt/ready"))


@pytest.mark.parametrize("baseline", [BASELINE, HELD])
def test_baseline_is_read_as_it_was_written(file: BaselineFile, baseline: Baseline) -> None:
    assert file.read() is None
    file.write(baseline)
    assert file.read() == baseline
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]
    file.remove()
    assert file.read() is None
    file.remove()


def test_mount_points_have_their_own(file: BaselineFile, tmp_path: Path) -> None:
    file.write(BASELINE)
    assert BaselineFile(tmp_path, Path("/mnt/other")).read() is None


def test_writing_that_was_cut_short_leaves_the_one_before(file: BaselineFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a full disk, or a kill between the two steps, does."""
    file.write(BASELINE)
    file.path.with_suffix(".new").write_bytes(b'{"vers')  # of a daemon that was killed

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space"):
            file.write(HELD)
    assert file.read() == BASELINE
    file.write(HELD)
    assert file.read() == HELD


def make_directory(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    path.with_name("other").write_bytes(b"{}")
    path.symlink_to("other")


def fill(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        make_directory,
        make_fifo,
        make_link,
        *map(
            fill,
            [
                b"",
                b"\x00" * 4096,
                b'{"version": 1, "partitions": 10',
                b"[]",
                b"[" * 100_000,
                b"{}" + b" " * 1_000_000,
                b'{"version": 2, "partitions": 10, "taken_at": "", "settings": {}, "held_back": null}',
                b'{"version": 1, "partitions": -1, "taken_at": "", "settings": {}, "held_back": null}',
                b'{"version": 1, "partitions": true, "taken_at": "", "settings": {}, "held_back": null}',
                b'{"version": 1, "partitions": 1.5, "taken_at": "", "settings": {}, "held_back": null}',
                b'{"version": 1, "partitions": 10, "taken_at": "", "settings": {"a": 1}, "held_back": null}',
                b'{"version": 1, "partitions": 10, "taken_at": "", "settings": {}, "held_back": {"fingerprint": 1}}',
            ],
        ),
    ],
)
def test_what_is_no_baseline_is_never_taken_for_one(file: BaselineFile, spoil: Callable[[Path], object]) -> None:
    file.write(BASELINE)
    file.path.unlink()
    spoil(file.path)
    with pytest.raises(UnreadableBaselineError):
        file.read()


# ---- the keeper -----------------------------------------------------------------------------------------------------


class FakeFile(BaselineFile):
    """A file that notes what is written, and fails as it is told."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, Path("/mnt/ready"))
        self.written: list[Baseline] = []
        self.failure: OSError | None = None

    def write(self, baseline: Baseline) -> None:
        if self.failure is not None:
            raise self.failure
        self.written.append(baseline)


def problem_of(keeper: BaselineKeeper) -> str | None:
    return keeper.problem


async def test_only_what_is_new_is_written(inline: None, tmp_path: Path) -> None:
    keeper = BaselineKeeper(file := FakeFile(tmp_path))
    later = Baseline(1000, BASELINE.settings, "another time")
    for one in (BASELINE, BASELINE, later, HELD, HELD):
        await keeper.save(one)
    assert file.written == [BASELINE, HELD]


async def test_what_was_read_is_not_written_again(inline: None, tmp_path: Path) -> None:
    BaselineFile(tmp_path, Path("/mnt/ready")).write(BASELINE)
    keeper = BaselineKeeper(file := FakeFile(tmp_path))
    assert await keeper.read() == BASELINE
    await keeper.save(BASELINE)
    assert file.written == []


async def test_disk_that_cannot_be_written_is_told_once_and_tried_again(inline: None, tmp_path: Path) -> None:
    keeper = BaselineKeeper(file := FakeFile(tmp_path))
    file.failure = OSError(30, "Read-only file system")
    with capture_logs() as logs:
        for _ in range(3):
            await keeper.save(BASELINE)
        assert problem_of(keeper) == "Read-only file system"
        file.failure = None
        await keeper.save(BASELINE)
    assert problem_of(keeper) is None
    assert file.written == [BASELINE]
    assert [line["event"] for line in logs] == [
        "the baseline of retractions cannot be written",
        "the baseline of retractions can be written again",
    ]


async def test_disk_that_hangs_is_waited_for_a_while_and_never_written_twice_at_once(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = BaselineKeeper(file := FakeFile(tmp_path))
    calls: list[Callable[[], object]] = []

    async def hang(call: Callable[..., object], *arguments: object, **how: object) -> None:
        keeper._is_writing = True
        calls.append(lambda: call(*arguments))
        await trio.sleep_forever()

    monkeypatch.setattr(trio.to_thread, "run_sync", hang)
    with capture_logs() as logs:
        began = trio.current_time()
        await keeper.save(BASELINE)
        assert trio.current_time() - began == pytest.approx(PATIENCE_S)
        await keeper.save(HELD)
        assert len(calls) == 1
        assert "has not answered" in (problem_of(keeper) or "")
        calls[0]()  # the disk is back
        assert file.written == [BASELINE]
        await keeper.save(BASELINE)
    assert problem_of(keeper) is None
    assert len(logs) == 2
