"""V2, V5, V9, V10: a run that was written again under its own id, which the row tells by a touch or by coming back.

The contract forbids it. What a reader must never get are the old bytes under the new row.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from readyfs.demo.producer import LogicalPartition
from tests.mount.daemon import Place, fails_with, mounted, partition, wait_until

PART: Final = partition()
OLD: Final = b"old old old\n" * 1000


def write_in_place(run: Path, payload: bytes) -> None:
    (run / "payload.jsonl").write_bytes(payload)
    (run / "parts/1").write_bytes(payload)


def write_in_place_with_the_same_times(run: Path, payload: bytes) -> None:
    """As `rsync --times` does from a fresh temporary file: another file of the same size and mtime."""
    for path in (run / "payload.jsonl", run / "parts/1"):
        before, fresh = path.stat(), path.with_name("fresh")
        fresh.write_bytes(payload)
        os.utime(fresh, ns=(before.st_mtime_ns, before.st_mtime_ns))
        fresh.rename(path)


def write_from_scratch(run: Path, payload: bytes) -> None:
    shutil.rmtree(run)
    (run / "parts").mkdir(parents=True)
    (run / "metadata.json").write_bytes(b"{}")
    write_in_place(run, payload)


WAYS: Final = [write_in_place, write_in_place_with_the_same_times, write_from_scratch]


def touch(place: Place, part: LogicalPartition) -> None:
    """Have the row say that something happened to the run."""
    place.producer.set_ready(part, "r1")


def requeue(place: Place, part: LogicalPartition) -> None:
    place.producer.requeue(part)


def switch(place: Place, part: LogicalPartition) -> None:
    place.producer.write_and_publish(part, "r2", b"another run\n")


SIGNS: Final[list[Callable[[Place, LogicalPartition], None]]] = [touch, requeue, switch]
"""What a refresh sees before the run is ready again; the first is all that it sees."""


def serve(place: Place, part: LogicalPartition = PART) -> Path:
    run = place.producer.write_and_publish(part, "r1", OLD).directory
    (run / "parts").mkdir()
    (run / "parts/1").write_bytes(OLD)
    return run


def test_new_bytes_come_with_the_new_row_and_open_files_keep_the_old(place: Place, engine: str) -> None:
    new = OLD.replace(b"old", b"new")
    cases = {
        partition(f"{write.__name__}-{sign.__name__}"): (write, sign) for write, sign in itertools.product(WAYS, SIGNS)
    }
    runs = {part: serve(place, part) for part in cases}
    with mounted(place, engine=engine) as daemon, ExitStack() as stack:
        directories = {part: os.open(daemon.directory(part), os.O_RDONLY) for part in cases}
        mappings = {}
        for part, (write, _) in cases.items():
            assert [daemon.of(part).read_bytes(), daemon.of(part, "parts/1").read_bytes()] == [OLD, OLD]
            if write is not write_in_place:  # V5 cannot hold where the bytes themselves are written over
                held = stack.enter_context(open(daemon.of(part), "rb"))
                mappings[part] = held, stack.enter_context(mmap.mmap(held.fileno(), 0, prot=mmap.PROT_READ))
                assert mappings[part][1][:] == OLD
        for part, (write, sign) in cases.items():
            write(runs[part], new)
            sign(place, part)
        daemon.refresh()
        for part in cases:
            touch(place, part)
        daemon.refresh()
        for part, directory in directories.items():
            assert [daemon.of(part).read_bytes(), daemon.of(part, "parts/1").read_bytes()] == [new, new], part
            by_directory = os.open("payload.jsonl", os.O_RDONLY, dir_fd=directory)
            assert os.read(by_directory, len(new) + 1) == new, part
            os.close(by_directory)
            os.close(directory)
        for part, (held, mapped) in mappings.items():
            assert mapped[:] == held.read() == OLD
            assert os.fstat(held.fileno()).st_ino != daemon.of(part).stat().st_ino, part
        assert daemon.count("broken") == 0


def test_what_was_not_written_again_is_the_same_inode(place: Place, engine: str) -> None:
    """V9: a row that is touched without a reason costs a look."""
    serve(place)
    with mounted(place, engine=engine) as daemon:
        assert daemon.of(PART).read_bytes() == OLD
        before = daemon.of(PART).stat()
        touch(place, PART)
        daemon.refresh()
        assert daemon.of(PART).read_bytes() == OLD
        assert daemon.of(PART).stat().st_ino == before.st_ino


def test_names_that_came_and_went_are_those_of_the_new_run(place: Place, engine: str) -> None:
    """V2: also a name that the kernel remembers as absent, and one that it has open."""
    run = serve(place)
    with mounted(place, "--name-timeout", "1h", engine=engine) as daemon:
        assert sorted(os.listdir(daemon.directory(PART))) == ["metadata.json", "parts", "payload.jsonl"]
        assert not daemon.of(PART, "extra").exists()
        with open(daemon.of(PART, "parts/1"), "rb"):
            shutil.rmtree(run / "parts")
            (run / "extra").write_bytes(b"extra")
            touch(place, PART)
            daemon.refresh()
            assert daemon.of(PART, "extra").read_bytes() == b"extra"
            assert sorted(os.listdir(daemon.directory(PART))) == ["extra", "metadata.json", "payload.jsonl"]
            with fails_with(errno.ENOENT):
                os.stat(daemon.of(PART, "parts/1"))
            assert daemon.count("broken") == 0


def test_damage_is_forgotten_when_the_row_is_touched(place: Place, engine: str) -> None:
    """V10: a run that was first seen while it was cut, and was then restored, heals when its row is touched."""
    run = serve(place)
    os.truncate(run / "payload.jsonl", 100)
    with mounted(place, engine=engine) as daemon:
        assert daemon.of(PART).read_bytes() == OLD[:100]
        (run / "payload.jsonl").write_bytes(OLD)
        touch(place, PART)
        daemon.refresh()
        assert daemon.of(PART).read_bytes() == OLD
        assert daemon.count("broken") == 0


def test_reader_of_the_old_bytes_does_not_break_the_new_run(place: Place, engine: str) -> None:
    """V10: what is not there any more for who has it open is no damage of the run that took its place."""
    run = serve(place)
    with mounted(place, engine=engine) as daemon, open(daemon.of(PART), "rb", buffering=0) as held:
        assert held.read(10) == OLD[:10]
        write_from_scratch(run, b"shorter\n")
        touch(place, PART)
        daemon.refresh()
        for _ in range(3):
            try:
                assert os.pread(held.fileno(), 100, 0) == OLD[:100]
            except OSError as error:
                assert daemon.traits.kernel_opens and error.errno == errno.EIO
            assert daemon.of(PART).read_bytes() == b"shorter\n"
        assert daemon.count("broken") == 0


def test_raw_files_that_nobody_has_open_are_let_go_when_a_partition_is_retracted(place: Place, engine: str) -> None:
    """V5: a raw store can be cleaned up, or unmounted, as soon as the state says that a run is not wanted."""
    serve(place)
    other = partition("c2")
    place.producer.write_and_publish(other, "r1", OLD)
    with mounted(place, engine=engine) as daemon, open(daemon.of(other), "rb") as held:
        assert daemon.of(PART).read_bytes() == OLD
        assert held.read() == OLD
        place.producer.delete_row(PART)
        daemon.refresh()
        wait_until(lambda: not [path for path in daemon.held_raw_files() if "customer_id=c1/" in path], "let go", 2.0)
