"""The copying recipes of docs/clients.md as they stand there: by an ordinary user, again, and without the mount."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from readyfs.demo.producer import LogicalPartition
from tests.docs.test_docs import section
from tests.fuse.live_mount import NOBODY
from tests.mount.daemon import Daemon, Place, mounted, partition, running, take_down

ORDINARY: Final = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
"""Unlike `AS_NOBODY` without any right of root's."""
CUSTOMER: Final = "0012345678"


def recipes(title: str) -> list[str]:
    """Return the command lines in the first block of code under a heading of docs/clients.md."""
    block = re.search(r"^```sh\n(.*?)^```$", section("docs/clients.md", title), re.MULTILINE | re.DOTALL)
    assert block is not None, title
    return block[1].splitlines()


def programs_of(lines: list[str]) -> list[object]:
    """Mark the recipes of programs that only `make test-clients` has."""
    return [pytest.param(line, marks=pytest.mark.clients) if "rclone" in line else line for line in lines]


COPIES: Final = recipes("Copies as an ordinary user")
MIRRORS: Final = recipes("Mirrors that delete")
SPOT: Final = partition(customer=CUSTOMER)
GOES: Final = partition(customer=CUSTOMER, date="2024-06-02")
STAYS: Final = partition(customer=CUSTOMER, date="2024-06-03")


@pytest.fixture
def place() -> Iterator[Place]:
    """A place on a way that is open to all users."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        found = Place(Path(directory))
        with closing(found.producer):
            yield found


@pytest.fixture
def target(place: Place) -> Path:
    """A directory of an ordinary user's, beside a world of three partitions."""
    directory = place.base / "copy"
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    for part in (SPOT, GOES, STAYS):
        place.producer.write_and_publish(part, "r1", b"as it was\n")
    return directory


def words(line: str, place: Place, target: Path) -> list[str]:
    """Return a recipe as an ordinary user's command, with the places of a test."""
    line = line.replace("/mnt/ready", str(place.mountpoint)).replace("/srv/copy", str(target))
    return [*ORDINARY, "bash", "-c", line]


def follow(line: str, place: Place, target: Path) -> subprocess.CompletedProcess[str]:
    """Run a recipe as an ordinary user."""
    environment = {**os.environ, "RCLONE_CONFIG": "/dev/null"}
    return subprocess.run(
        words(line, place, target), cwd=target, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def switch(daemon: Daemon) -> None:
    """Let one partition get another run, and one go."""
    daemon.place.producer.write_and_publish(SPOT, "r2", b"as it is\nnow\n")
    daemon.place.producer.fail(GOES)
    daemon.refresh()


def has(target: Path, part: LogicalPartition) -> bytes | None:
    """Return what a copy has of a partition."""
    payload = target / part.path / "payload.jsonl"
    return payload.read_bytes() if payload.exists() else None


@pytest.mark.parametrize("line", COPIES)
def test_ordinary_user_copies_again_and_can_delete_the_copy(place: Place, target: Path, engine: str, line: str) -> None:
    """V9: directories without write bits are copied with them, so that the copy can be renewed."""
    with mounted(place, engine=engine) as daemon:
        for expected in (b"as it was\n", b"as it is\nnow\n"):
            if expected != b"as it was\n":
                switch(daemon)
            done = follow(line, place, target)
            assert (done.returncode, done.stderr) == (0, "")
            assert has(target, SPOT) == expected
        removed = subprocess.run(
            [*ORDINARY, "rm", "-rf", target / CUSTOMER], capture_output=True, text=True, timeout=30, check=False
        )
        assert (removed.returncode, removed.stderr) == (0, "")


@pytest.mark.parametrize("line", programs_of(MIRRORS))
def test_mirror_follows_and_keeps_its_copy_without_the_mount(
    place: Place, target: Path, engine: str, line: str
) -> None:
    """What went goes from the copy; an empty mount point takes nothing from it."""
    with mounted(place, engine=engine) as daemon:
        assert follow(line, place, target).returncode == 0
        assert has(target, GOES) == b"as it was\n"
        switch(daemon)
        done = follow(line, place, target)
        assert (done.returncode, done.stderr) == (0, "")
        assert (has(target, SPOT), has(target, GOES), has(target, STAYS)) == (b"as it is\nnow\n", None, b"as it was\n")
    assert os.listdir(place.mountpoint) == []
    assert follow(line, place, target).returncode != 0
    assert (has(target, SPOT), has(target, STAYS)) == (b"as it is\nnow\n", b"as it was\n")


def test_mirror_without_guard_would_delete_everything(place: Place, target: Path, engine: str) -> None:
    """What the guards are for; a directory that the mirror's user cannot read is one, too."""
    line = "rsync -aHX --chmod=Du+w,Fu+w --delete /mnt/ready/ /srv/copy/"
    place.mountpoint.chmod(0)
    with mounted(place, engine=engine):
        assert follow(line, place, target).returncode == 0
        assert has(target, STAYS) is not None
    assert follow(line, place, target).returncode != 0
    assert has(target, STAYS) is not None
    place.mountpoint.chmod(0o755)
    assert follow(line, place, target).returncode == 0
    assert has(target, STAYS) is None


def test_mirror_that_has_begun_keeps_its_copy_when_the_mount_goes(place: Place, target: Path, engine: str) -> None:
    """It stands in the mount that it began with, which is never the empty directory below it."""
    line = next(line for line in MIRRORS if line.startswith("cd -P"))
    assert line.count(" && ") == 1
    with running(place, engine=engine) as daemon:
        assert follow(line, place, target).returncode == 0
        waits = words(line.replace(" && ", " && echo && read && "), place, target)
        with subprocess.Popen(waits, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=target) as mirror:
            assert mirror.stdin is not None and mirror.stdout is not None
            mirror.stdout.readline()
            daemon.kill()
            take_down(daemon)
            assert os.listdir(place.mountpoint) == []
            mirror.stdin.write(b"\n")
            mirror.stdin.close()
            assert mirror.wait(30) != 0
    assert has(target, STAYS) == b"as it was\n"


def test_incremental_tar_sees_only_what_changed_since_a_restart(place: Place, tmp_path: Path, engine: str) -> None:
    """Each mount has a device number of its own, which tar takes for other files unless told not to."""
    place.producer.write_and_publish(SPOT, "r1", b"stays\n")
    line = f"tar -C {place.mountpoint} --no-check-device -g {tmp_path}/snapshot -cf - . | tar -t"

    def dump() -> set[str]:
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30, check=True)
        return {name for name in done.stdout.split() if not name.endswith("/")}

    with mounted(place, engine=engine):
        assert dump() == {f"./{SPOT.path}/{name}" for name in ("metadata.json", "payload.jsonl")}
    other = Place(tmp_path)
    # The other mount takes the number that has become free.
    with closing(other.producer), mounted(other, engine=engine), mounted(place, engine=engine):
        assert dump() == set()
