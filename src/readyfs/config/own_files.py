"""Our own files against the stores: nothing that we write may be a file that we read, or lie among the runs.

Asked of every configuration before anything is opened or made. Only names are looked at, links resolved; device and
inode are compared beside them, so that hard links and bind mounts are seen through.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from readyfs.config.config import Config
from readyfs.errors import UsageError
from readyfs.text import escape_text


def check_own_files(config: Config) -> None:
    """Raise `UsageError` if a file of ours is one that is read, or if anything of ours lies in the raw root."""
    for flag, written, ours in _files_we_write(config):
        for path, what in _files_we_read(config):
            if _is_same(ours, path):
                raise UsageError(
                    f"the {written} {_show(ours)} is the {what} {_show(path)}", f"name another file with {flag}"
                )
    log_file, metrics_file = config.log_file, config.metrics_file
    if log_file is not None and metrics_file is not None and _is_same(metrics_file, log_file):
        raise UsageError(f"the metrics file {_show(metrics_file)} is the log file", "name another with --metrics-file")
    if not config.raw.startswith("/"):
        return  # A URL, which is refused later and by its own words.
    for flag, what, place in _places_we_write(config):
        if place is not None and is_below(place, Path(config.raw)):
            raise UsageError(
                f"the {what} {_show(place)} lies in the raw root {escape_text(config.raw)}, "
                "where nothing may be written",
                f"choose another with {flag}",
            )


def _files_we_write(config: Config) -> Iterator[tuple[str, str, Path]]:
    if config.log_file is not None:
        yield "--log-file", "log file", config.log_file
    if config.metrics_file is not None:
        yield "--metrics-file", "metrics file", config.metrics_file


def _files_we_read(config: Config) -> Iterator[tuple[Path, str]]:
    # It comes with the SQL toolkit, which is slow to import.
    from readyfs.state.url import sqlite_path

    database = sqlite_path(config.state)
    if database is not None:
        yield database, "state database"
        # SQLite names them after the file that a link leads to (sqlite.org/tempfiles.html).
        for name in dict.fromkeys((str(database), os.path.realpath(database))):
            for suffix in ("-wal", "-shm", "-journal"):
                yield Path(name + suffix), "state database's"
    if config.state_file is not None:
        yield config.state_file, "file of --state-file"
    if config.config_file is not None:
        yield config.config_file, "config file"


def _places_we_write(config: Config) -> Iterator[tuple[str, str, Path | None]]:
    yield "--log-file", "log file", config.log_file
    yield "--metrics-file", "metrics file", config.metrics_file
    yield "--state-dir", "state directory", config.state_dir
    yield "--runtime-dir", "runtime directory", config.runtime_dir
    yield "--public-dir", "directory of the public sockets", config.public_dir


def _is_same(one: Path, other: Path) -> bool:
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    identity = _identify(Path(os.path.realpath(one)))
    return identity is not None and identity == _identify(Path(os.path.realpath(other)))


def is_below(path: Path, root: Path) -> bool:
    """Whether a path, which need not exist yet, is a directory or lies in it."""
    real, real_root = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    if real.is_relative_to(real_root):
        return True
    identity = _identify(real_root)
    return identity is not None and any(_identify(above) == identity for above in (real, *real.parents))


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # What cannot be looked at is refused, where it matters, by whoever opens it.
    return status.st_dev, status.st_ino


def _show(path: Path) -> str:
    return escape_text(os.fsencode(path))
