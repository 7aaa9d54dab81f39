"""V10: a ready partition that cannot be served is loud, at open, and heals by itself."""

from __future__ import annotations

import errno
import glob
import mmap
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from readyfs.demo.producer import Run
from tests.mount.bindfs import bound
from tests.mount.daemon import Daemon, Place, fails_with, files_below, in_each_layout, mounted, partition, wait_until

PAYLOAD = b"".join(b"line %06d\n" % number for number in range(50_000))


def remove_payload(run: Run) -> None:
    (run.directory / "payload.jsonl").unlink()


def remove_metadata(run: Run) -> None:
    (run.directory / "metadata.json").unlink()


def remove_run(run: Run) -> None:
    shutil.rmtree(run.directory)


def make_run_a_file(run: Run) -> None:
    shutil.rmtree(run.directory)
    run.directory.write_bytes(b"no directory\n")


def make_run_a_link(run: Run) -> None:
    aside = run.directory.with_name("aside")
    run.directory.rename(aside)
    run.directory.symlink_to(aside)


def make_payload_a_link(run: Run) -> None:
    payload = run.directory / "payload.jsonl"
    payload.rename(run.directory / "real.jsonl")
    payload.symlink_to("real.jsonl")


def make_payload_a_fifo(run: Run) -> None:
    remove_payload(run)
    os.mkfifo(run.directory / "payload.jsonl")


def make_payload_a_directory(run: Run) -> None:
    remove_payload(run)
    (run.directory / "payload.jsonl").mkdir()


def make_payload_a_device(run: Run) -> None:
    remove_payload(run)
    os.mknod(run.directory / "payload.jsonl", 0o20666, os.makedev(1, 5))


DAMAGES = [
    remove_payload,
    remove_metadata,
    remove_run,
    make_run_a_file,
    make_run_a_link,
    make_payload_a_link,
    make_payload_a_fifo,
    make_payload_a_directory,
    make_payload_a_device,
]


def mend(run: Run, whole: Path) -> None:
    if run.directory.is_symlink() or run.directory.is_file():
        run.directory.unlink()
    else:
        shutil.rmtree(run.directory, ignore_errors=True)
    shutil.copytree(whole, run.directory)


def events_of(daemon: Daemon, event: str, run: Run) -> list[dict[str, object]]:
    """Return the log lines of one event that name a run's partition."""
    return [line for line in daemon.events(event) if line["partition"] == "/".join(run.partition)]


def test_broken_run_looks_whole_fails_at_open_and_heals(place: Place, engine: str, tmp_path: Path) -> None:
    """V10: listed and statted with a size that is not zero, EIO at open, one log line, and a count that falls again.

    Each run is broken in a way of its own, which its query is named for, and heals by itself.
    """
    stays = partition(query="stays")
    place.producer.write_and_publish(stays, "r1", b"stays\n")
    runs = []
    for damage in DAMAGES:
        run = place.producer.write_and_publish(partition(query=damage.__name__), "r1", PAYLOAD)
        shutil.copytree(run.directory, tmp_path / "whole" / damage.__name__)
        damage(run)
        runs.append(run)
    with mounted(place, engine=engine) as daemon:
        for number, run in enumerate(runs, 1):
            part = run.partition
            for _ in range(2):
                assert sorted(os.listdir(daemon.directory(part))) == ["metadata.json", "payload.jsonl"]
                for name in ("payload.jsonl", "metadata.json"):
                    seen = daemon.of(part, name).stat()
                    assert seen.st_size > 0
                    assert daemon.of(part, name).is_file()
                    daemon.assert_refused(daemon.of(part, name))
            assert daemon.of(stays).read_bytes() == b"stays\n"
            assert daemon.count("broken") == number
            (line,) = events_of(daemon, "run is broken", run)
            assert line["run"] == "r1"
            assert line["cause"]
            assert line["path"] == str(run.directory)

        for healed, run in enumerate(runs, 1):
            mend(run, tmp_path / "whole" / run.partition.query_name)
            assert daemon.of(run.partition).read_bytes() == PAYLOAD
            assert daemon.of(run.partition).stat().st_size == len(PAYLOAD)
            assert daemon.count("broken") == len(runs) - healed
            assert len(events_of(daemon, "run is whole again", run)) == 1


def test_broken_inode_is_of_another_kind_than_the_healthy_one(place: Place, engine: str) -> None:
    """V10: nothing of a broken run can be mistaken for the run once it heals; a descriptor on it stays broken."""
    part = partition()
    run = place.producer.begin_run(part, "r1", b"x\n")
    place.producer.set_ready(part, "r1")
    with mounted(place, engine=engine) as daemon:
        broken = daemon.of(part).stat()
        held = os.open(daemon.of(part), os.O_PATH)
        try:
            place.producer.seal_run(run)
            assert daemon.of(part).read_bytes() == b"x\n"
            assert daemon.of(part).stat().st_ino != broken.st_ino
            daemon.assert_refused(f"/proc/self/fd/{held}")
        finally:
            os.close(held)


def assert_whole(daemon: Daemon, path: Path, data: bytes) -> None:
    """Check that a file is as it should be; not by reading it where what was read would stay readable."""
    assert path.stat().st_size == len(data)
    if not daemon.traits.kernel_opens:
        assert path.read_bytes() == data


def truncate(payload: Path) -> None:
    os.truncate(payload, 100)


def grow(payload: Path) -> None:
    with open(payload, "ab") as file:
        file.write(b"more\n")


def move_away(payload: Path) -> None:
    payload.rename(payload.with_name("away"))


def replace_by_directory(payload: Path) -> None:
    payload.unlink()
    payload.mkdir()


@pytest.mark.parametrize("same_time", [True, False], ids=["moved-back", "copied-anew"])
def test_sealed_run_that_changes_fails_at_open_and_heals(place: Place, engine: str, same_time: bool) -> None:
    """V10: a file that is not what was sealed is never read; it heals when put back, or when copied there anew.

    One run after the other changes, each in a way that its query is named for.
    """
    damages = (truncate, grow, move_away, replace_by_directory)
    runs = {
        damage: place.producer.write_and_publish(partition(query=damage.__name__), "r1", PAYLOAD) for damage in damages
    }
    with mounted(place, engine=engine) as daemon:
        for damage, run in runs.items():
            part, payload = run.partition, run.directory / "payload.jsonl"
            good = payload.with_name("good")
            shutil.copy2(payload, good)
            assert_whole(daemon, daemon.of(part), PAYLOAD)
            damage(payload)
            for _ in range(4):
                daemon.assert_refused(daemon.of(part))
                assert daemon.of(part).stat().st_size > 0
                assert daemon.count("broken") == 1
            lines = events_of(daemon, "run is broken", run)
            assert len({str(line["cause"]) for line in lines}) == len(lines) <= 2

            put_back(payload, good, same_time=same_time)
            # The damage is told to the kernel by another thread: until then an open may meet what was put back.
            wait_until(partial(is_mended, daemon, is_whole, daemon.of(part)), "the run is whole again")
            assert daemon.of(part).stat().st_size == len(PAYLOAD)
            assert daemon.of(part).stat().st_mtime_ns == payload.stat().st_mtime_ns


def test_sealed_file_with_another_time_fails_once_and_is_another_inode(place: Place, engine: str) -> None:
    """V10, V2: a payload of the same size and another mtime may hold other bytes: no page of the old may show."""
    part = partition()
    payload = place.producer.write_and_publish(part, "r1", PAYLOAD).directory / "payload.jsonl"
    with mounted(place, engine=engine) as daemon, open(daemon.of(part), "rb", buffering=0) as held:
        inode = os.fstat(held.fileno()).st_ino
        assert_whole(daemon, daemon.of(part), PAYLOAD)
        payload.with_name("new").write_bytes(PAYLOAD.upper())
        payload.with_name("new").rename(payload)
        daemon.assert_refused(daemon.of(part))
        seen = []

        def is_new() -> bool:
            try:
                seen.append(daemon.of(part).read_bytes())
            except OSError as error:
                assert error.errno == errno.EIO
                return False
            return seen[-1] == PAYLOAD.upper()

        wait_until(is_new, "the other file is served")
        assert set(seen) == {PAYLOAD.upper()}
        assert daemon.of(part).stat().st_ino != inode
        assert daemon.of(part).stat().st_mtime_ns == payload.stat().st_mtime_ns
        if daemon.traits.kernel_opens:  # nothing was read of the old file, which is nowhere any more
            with fails_with(errno.EIO):
                held.read(1)
        else:
            assert held.read() == PAYLOAD


def put_back(payload: Path, good: Path, *, same_time: bool) -> None:
    if payload.is_dir():
        payload.rmdir()
    (shutil.copy2 if same_time else shutil.copyfile)(good, payload.with_name("new"))
    payload.with_name("new").rename(payload)


def is_mended(daemon: Daemon, is_fine: Callable[[Path], bool], path: Path) -> bool:
    return is_fine(path) and daemon.count("broken") == 0


def is_whole(path: Path) -> bool:
    try:
        return path.read_bytes() == PAYLOAD
    except OSError as error:
        assert error.errno == errno.EIO
        return False


def test_file_cut_short_under_an_open_reader_is_an_error(place: Place, engine: str) -> None:
    """V10, V5: a shorter raw file is EIO for who has it open, unless the kernel reads it; it opens for nobody."""
    part = partition()
    payload = place.producer.write_and_publish(part, "r1", PAYLOAD).directory / "payload.jsonl"
    with mounted(place, engine=engine) as daemon, open(daemon.of(part), "rb", buffering=0) as file:
        os.truncate(payload, 1000)
        if daemon.traits.kernel_reads:
            assert file.read() == PAYLOAD[:1000], "read short, as on the raw tree"
        else:
            with fails_with(errno.EIO):
                while file.read(65536):
                    pass
        daemon.assert_refused(daemon.of(part))
        assert daemon.count("broken") == 1


def test_reads_behind_a_cut_fill_neither_log_nor_memory(place: Place, engine: str) -> None:
    """V10: one line with the true size, however many offsets are asked for."""
    part = partition()
    payload = place.producer.write_and_publish(part, "r1", PAYLOAD).directory / "payload.jsonl"
    with mounted(place, engine=engine) as daemon:
        descriptor = os.open(daemon.of(part), os.O_RDONLY | os.O_DIRECT)
        try:
            os.truncate(payload, 4096)
            with mmap.mmap(-1, 4096) as page:
                for number in range(500):
                    if daemon.traits.kernel_reads:
                        assert os.preadv(descriptor, [page], 4096 * (1 + number % 100)) == 0
                        daemon.assert_refused(daemon.of(part))
                        continue
                    with fails_with(errno.EIO):
                        os.preadv(descriptor, [page], 4096 * (1 + number % 100))
        finally:
            os.close(descriptor)
        (line,) = daemon.events("run is broken")
        assert line["cause"] == f"payload.jsonl has 4096 bytes and was sealed with {len(PAYLOAD)}"
        assert daemon.count("broken") == 1


EXTRAS = {"extra.parquet": b"extra", "parts/0.parquet": b"part 0", "parts/deep/1.parquet": b"part 1"}


def write_extras(run: Run) -> None:
    for name, data in EXTRAS.items():
        (run.directory / name).parent.mkdir(parents=True, exist_ok=True)
        (run.directory / name).write_bytes(data)


def unlink(path: Path) -> None:
    path.unlink()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to("real")


def cut(path: Path) -> None:
    os.truncate(path, 1)


def remove_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


LOSSES = (
    *((name, unlink) for name in EXTRAS),
    *((name, remove_directory) for name in EXTRAS),
    *(("parts/0.parquet", damage) for damage in (replace_by_fifo, replace_by_link, cut)),
)
"""Which file is lost, and how."""


def test_file_of_a_sealed_run_that_vanishes_is_never_absent(place: Place, engine: str, tmp_path: Path) -> None:
    """V10: whoever lists or globs finds all that the run was sealed with, fails at open, and finds it whole again.

    One run after the other loses a file, in a way that its query is named for.
    """
    expected = sorted([*EXTRAS, "payload.jsonl", "metadata.json"])
    runs = []
    for number, (_, damage) in enumerate(LOSSES):
        run = place.producer.write_and_publish(partition(query=f"{damage.__name__}_{number}"), "r1", b"payload\n")
        write_extras(run)
        shutil.copytree(run.directory, tmp_path / "whole" / run.partition.query_name)
        runs.append(run)
    with mounted(place, engine=engine) as daemon:
        for run, (name, damage) in zip(runs, LOSSES, strict=True):
            part = run.partition
            assert files_below(daemon.directory(part)) == expected
            for other, data in EXTRAS.items():
                assert_whole(daemon, daemon.of(part, other), data)
            damage(run.directory / name)
            lost = daemon.of(part, name)
            for _ in range(3):
                daemon.assert_refused(lost)
                assert files_below(daemon.directory(part)) == expected
                found = sorted(glob.glob("**/*.parquet", root_dir=daemon.directory(part), recursive=True))
                assert found == sorted(EXTRAS)
                assert lost.stat().st_size > 0
                assert daemon.count("broken") == 1
            assert not events_of(daemon, "run is whole again", run)
            assert len(events_of(daemon, "run is broken", run)) <= 2

            mend(run, tmp_path / "whole" / part.query_name)
            wait_until(partial(is_mended, daemon, is_served, lost), "the run is whole again")
            assert lost.read_bytes() == EXTRAS[name]
            assert files_below(daemon.directory(part)) == expected
            assert len(events_of(daemon, "run is whole again", run)) == 1


def is_served(path: Path) -> bool:
    try:
        with open(path, "rb", buffering=0) as file:
            assert file.read(1)
    except OSError as error:
        assert error.errno == errno.EIO
        return False
    return True


def test_raw_store_that_goes_away_is_loud_and_heals_when_it_comes_back(place: Place, engine: str) -> None:
    """V10: a raw root whose file system died breaks runs; the tree stands, and a remount of the root heals them."""
    part, later = partition(), partition(date="2024-06-02")
    for one in (part, later):
        place.producer.write_and_publish(one, "r1", b"x\n")
    with bound(place) as store, mounted(place, "--raw", str(store.path), engine=engine) as daemon:
        assert_whole(daemon, daemon.of(part), b"x\n")
        store.unmount()
        assert os.listdir(daemon.path / "c1/q1") == ["2024-06-01", "2024-06-02"]
        assert daemon.of(later).stat().st_size > 0
        for one in (part, later):
            daemon.assert_refused(daemon.of(one))
        store.mount()
        # What the kernel was not told of yet can be read before the daemon has looked again.
        wait_until(
            lambda: all(can_read(daemon.of(one)) for one in (part, later)) and not daemon.count("broken"),
            "the runs are whole again",
        )


def can_read(path: Path) -> bool:
    try:
        return path.read_bytes() == b"x\n"
    except OSError:
        return False


@in_each_layout
def test_broken_run_that_is_replaced_or_retracted_is_counted_no_more(place: Place, engine: str) -> None:
    """V10: the count speaks of partitions that are ready now."""
    part, other = partition(), partition(query="q2")
    for one in (part, other):
        place.producer.set_ready(one, "gone")
    with mounted(place, engine=engine) as daemon:
        for one in (part, other):
            daemon.assert_refused(daemon.of(one))
        assert daemon.count("broken") == 2
        place.producer.write_and_publish(part, "r1", b"whole\n")
        place.producer.fail(other)
        daemon.refresh()
        assert daemon.of(part).read_bytes() == b"whole\n"
        assert daemon.count("broken") == 0


def test_run_that_is_sealed_late_is_whole_without_a_refresh(place: Place, engine: str) -> None:
    """V10: `metadata.json` seals a run; a row that came before it shows a broken partition until then."""
    part = partition()
    run = place.producer.begin_run(part, "r1", b"x\n")
    place.producer.publish(run)
    with mounted(place, engine=engine) as daemon:
        daemon.assert_refused(daemon.of(part))
        place.producer.seal_run(run)
        assert daemon.of(part).read_bytes() == b"x\n"
        assert sorted(os.listdir(daemon.directory(part))) == ["metadata.json", "payload.jsonl"]


def test_required_files_are_a_setting(place: Place, engine: str) -> None:
    """V10: --required-files says what seals a run."""
    part = partition()
    run = place.producer.write_and_publish(part, "r1", b"x\n")
    with mounted(place, "--required-files", "payload.jsonl,_SUCCESS", engine=engine) as daemon:
        assert sorted(os.listdir(daemon.directory(part))) == ["_SUCCESS", "payload.jsonl"]
        daemon.assert_refused(daemon.of(part))
        (run.directory / "_SUCCESS").write_bytes(b"")
        assert daemon.of(part).read_bytes() == b"x\n"
        assert sorted(os.listdir(daemon.directory(part))) == ["_SUCCESS", "metadata.json", "payload.jsonl"]
