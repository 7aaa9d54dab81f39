"""One small uneven world for all clients, mounted once on each engine, and what its producer knows to be true."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from readyfs.demo.producer import METADATA_NAME, PAYLOAD_NAME, Producer
from readyfs.demo.world import World, WorldSpec, make_world
from tests.mount.daemon import ENGINES, Daemon, Place, mounted

PLAIN_LAYOUT = "{customer_id}/{query_name}/{logical_date}"
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


def truth_of(world: World, template: str = PLAIN_LAYOUT) -> Truth:
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


def mount_world(
    base: Path, spec: WorldSpec, engine: str, *arguments: str, template: str = PLAIN_LAYOUT
) -> Iterator[Mounted]:
    """Make a world below a directory and mount it; for a fixture to yield from."""
    world = make_world(base / "world", spec)
    place = Place(base)
    place.producer.close()
    place.raw.rmdir()
    place.state.unlink()
    world.raw_root.rename(place.raw)
    world.state_file.rename(place.state)
    place.producer = Producer(place.state, place.raw)
    moved = World(base, place.state, place.raw, spec, world.ready, world.fates)
    with closing(place.producer), mounted(place, *arguments, engine=engine) as daemon:
        yield Mounted(daemon, truth_of(moved, template), moved)


LARGE_PACKAGES = ("chdb", "daft", "dask[dataframe]", "datafusion", "datasets", "distributed", "pandas", "pyarrow")


@pytest.fixture(scope="session")
def large_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment of its own, with the engines that are too large for the tests' one."""
    environment = tmp_path_factory.mktemp("environment")
    python = environment / "bin/python"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, *LARGE_PACKAGES], check=True)
    return python


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Mounted]:
    """The world in the default layout."""
    yield from mount_world(tmp_path_factory.mktemp("plain"), SPEC, engine)


@pytest.fixture(scope="session")
def hive(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Mounted]:
    """The world in a Hive layout."""
    base = tmp_path_factory.mktemp("hive")
    yield from mount_world(base, SPEC, engine, "--layout", HIVE_LAYOUT, template=HIVE_LAYOUT)


@pytest.fixture
def broken(tmp_path: Path, engine: str) -> Iterator[Mounted]:
    """A world in which one of the ready partitions has lost its run."""
    spec = WorldSpec(customers=1, queries=1, days=6, records=20, large_bytes=0, uneven=False)
    for mount in mount_world(tmp_path, spec, engine):
        victim = sorted(mount.world.ready)[2]
        directory = mount.daemon.place.producer.run_directory(victim, mount.world.ready[victim])
        directory.rename(directory.with_name("lost"))
        yield mount
