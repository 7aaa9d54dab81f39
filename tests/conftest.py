"""Fixtures of tests in several folders."""

from __future__ import annotations

import gc
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import pytest
import trio
from hypothesis import HealthCheck, settings
from xdist.remote import Producer

from readyfs.fuse.mount_table import read_mount_table
from readyfs.privileges import Capability, has_capability
from tests.isolation import make_temporary_directory, remove_temporary_directory, unshare_mounts
from tests.mariadb.fixtures import mariadb, mariadb_server
from tests.postgres.fixtures import own_postgres, own_postgres_server, postgres, postgres_server, postgres_template
from tests.scheduling import Scheduling, in_order

__all__ = [
    "mariadb",
    "mariadb_server",
    "own_postgres",
    "own_postgres_server",
    "postgres",
    "postgres_server",
    "postgres_template",
]

T = TypeVar("T")

WORKERS: Final = 6
"""Three times as many as there are processors where the limit of eight minutes holds: most tests wait for a while."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Ignored for whoever is started in the background by a shell, and by inheritance for whatever tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is the machine's business, and that of the tests beside this one.
settings.register_profile("beside others", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("beside others")

_temporary = pytest.StashKey[Path]()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes run the tests: the one that is there for single files, more for folders.

    Without CAP_SYS_ADMIN there are no mounts apart from those of others, so that all tests share one process.
    """
    is_folder = any(Path(argument.partition("::")[0]).is_dir() for argument in config.args)
    return WORKERS if is_folder and has_capability(Capability.SYS_ADMIN) else 0


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Return what decides which process runs which test."""
    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each of several processes what it needs for itself, before anything is started or written."""
    if hasattr(config, "workerinput"):
        if has_capability(Capability.SYS_ADMIN):
            unshare_mounts()
        config.stash[_temporary] = directory = make_temporary_directory()
        config.option.basetemp = directory / "pytest"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have long tests begin first where several processes run them."""
    if hasattr(config, "workerinput"):
        items[:] = in_order(items)


def pytest_collection_finish() -> None:
    """Take modules and tests out of every later collection of garbage, of which some tests make one for each count."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def nothing_stays_mounted() -> Iterator[None]:
    """The first fixture and so the last to end: no test may leave a mount behind."""
    before = mounts_of_tests()
    yield
    assert mounts_of_tests() - before == set()


def mounts_of_tests() -> set[Path]:
    """Return where readyfs is mounted below the temporary directory."""
    temporary = Path(tempfile.gettempdir()).resolve()
    return {one.mount_point for one in read_mount_table() if one.is_readyfs and temporary in one.mount_point.parents}


@pytest.hookimpl(trylast=True)  # after the fixtures of the session
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Leave nothing behind, except what may explain a failure."""
    directory = session.config.stash.get(_temporary, None)
    if directory is not None and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        remove_temporary_directory(directory)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what goes to a worker thread in place, so that a mock clock decides every order."""

    async def run_sync(call: Callable[..., T], *arguments: object, **how: object) -> T:
        await trio.lowlevel.checkpoint()
        return call(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
