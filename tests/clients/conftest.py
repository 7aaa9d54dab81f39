"""One small uneven world for all clients, mounted once, and what its producer knows to be true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from readyfs.demo.producer import METADATA_NAME, PAYLOAD_NAME, Producer
from readyfs.demo.world import World, WorldSpec, make_world
from tests.mount.daemon import Daemon, Place, mounted

HIVE_LAYOUT = "customer_id={customer_id}/query_name={query_name}/logical_date={logical_date}"
SPEC = WorldSpec(customers=3, queries=2, days=12, records=20, large_bytes=300_000)


@dataclass(frozen=True)
class Truth:
    """The files that must be visible, by path below the mount point, and the records in them."""

    files: dict[str, bytes]

    @property
    def records(self) -> int:
        """How many records all payloads hold."""
        return sum(data.count(b"\n") for path, data in self.files.items() if path.endswith(PAYLOAD_NAME))

    @property
    def directories(self) -> set[str]:
        """Every directory above a file."""
        return {str(parent) for path in self.files for parent in Path(path).parents if str(parent) != "."}


def truth_of(world: World, template: str = "{customer_id}/{query_name}/{logical_date}") -> Truth:
    """Return what must be visible of a world, from what its producer says is ready."""
    files = {}
    with world.producer() as producer:
        for partition, run_id in world.ready.items():
            for name in (PAYLOAD_NAME, METADATA_NAME):
                path = f"{template.format(**partition._asdict())}/{name}"
                files[path] = (producer.run_directory(partition, run_id) / name).read_bytes()
    return Truth(files)


@dataclass(frozen=True)
class Mounted:
    """A mounted world."""

    daemon: Daemon
    truth: Truth
    world: World

    @property
    def path(self) -> Path:
        """The mount point."""
        return self.daemon.path

    def glob(self, pattern: str = "*/*/*/payload.jsonl") -> str:
        """Return a glob below the mount point."""
        return str(self.path / pattern)


def _mount_world(base: Path, spec: WorldSpec, *arguments: str, template: str) -> Iterator[Mounted]:
    world = make_world(base / "world", spec)
    place = Place(base)
    place.producer.close()
    place.raw.rmdir()
    place.state.unlink()
    world.raw_root.rename(place.raw)
    world.state_file.rename(place.state)
    place.producer = Producer(place.state, place.raw)
    moved = World(base, place.state, place.raw, spec, world.ready, world.fates)
    with mounted(place, *arguments) as daemon:
        yield Mounted(daemon, truth_of(moved, template), moved)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """The world in the default layout."""
    base = tmp_path_factory.mktemp("plain")
    yield from _mount_world(base, SPEC, template="{customer_id}/{query_name}/{logical_date}")


@pytest.fixture(scope="session")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """The world in a Hive layout."""
    yield from _mount_world(tmp_path_factory.mktemp("hive"), SPEC, "--layout", HIVE_LAYOUT, template=HIVE_LAYOUT)


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Mounted]:
    """A world in which one of the ready partitions has lost its run."""
    spec = WorldSpec(customers=1, queries=1, days=6, records=20, large_bytes=0, uneven=False)
    for mount in _mount_world(tmp_path, spec, template="{customer_id}/{query_name}/{logical_date}"):
        victim = sorted(mount.world.ready)[2]
        directory = mount.daemon.place.producer.run_directory(victim, mount.world.ready[victim])
        directory.rename(directory.with_name("lost"))
        yield mount
