"""Resume files: which partitions a replay has done, so that the next one goes on behind them.

JSON lines that are only appended to. The first line says which replay it is of. Each further line is written when a
command has succeeded, and is on the disk before the next begins. A line that was cut by a death or a full disk is taken
away; its partition is done again.

The file is locked while it is used. Commands inherit the lock, so that those of a replay that was killed cannot run
beside those of the next.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from readyfs.consumer.replay.plan import Target
from readyfs.errors import FailedError, UsageError
from readyfs.partition import PartitionKey, SeriesKey, parse_date, render_date
from readyfs.text import escape_text

_VERSION: Final = 1
_ANOTHER: Final = "name another file with --resume, or remove this one to begin anew"


class ResumeFile:
    """An open resume file; one thread uses it.

    `done` names the run with which each partition succeeded. `lock` is a descriptor that commands are to inherit.
    """

    def __init__(self, path: Path, replay: Mapping[str, object]) -> None:
        """Open the file of a replay, or begin one; `replay` says which, as JSON values.

        Raises `UsageError` if it is the file of another replay, in use, or not ours. `FailedError` if it cannot be
        written.
        """
        self._shown = escape_text(os.fsencode(path))
        self._path = path
        self.lock = self._open(os.O_RDONLY | os.O_CREAT)
        try:
            self._lock()
            self._file = self._open(os.O_RDWR | os.O_APPEND)
            try:
                self.done: dict[PartitionKey, bytes] = {}
                self._begin(_line({"readyfs_replay": _VERSION, **replay}))
            except BaseException:
                os.close(self._file)
                raise
        except BaseException:
            os.close(self.lock)
            raise

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close it."""
        os.close(self._file)
        os.close(self.lock)

    def note_done(self, target: Target) -> None:
        """Write down that the command succeeded for a partition; raise `FailedError` if that is not possible."""
        source, customer, query = map(os.fsdecode, target.key.series)
        self._append(
            _line(
                {
                    "source": source,
                    "customer_id": customer,
                    "query_name": query,
                    "logical_date": render_date(target.key.date).decode(),
                    "run_id": os.fsdecode(target.run_id),
                }
            )
        )
        self.done[target.key] = target.run_id

    def _open(self, flags: int) -> int:
        try:
            # For its owner alone: the command stands in it, perhaps with a password.
            descriptor = os.open(self._path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"cannot open the resume file {self._shown}: {error.strerror}", _ANOTHER) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise UsageError(f"the resume file {self._shown} is no regular file", "name another with --resume")
        return descriptor

    def _lock(self) -> None:
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"the resume file {self._shown} is in use, by another replay or by commands of one that was killed",
                "wait until they have ended",
            ) from error
        except OSError as error:
            raise UsageError(f"cannot lock the resume file {self._shown}: {error.strerror}", _ANOTHER) from error

    def _begin(self, header: bytes) -> None:
        with open(self._file, "rb", closefd=False) as file:
            content = file.read()
        if header.startswith(content):
            # New, or of a replay that died when it began it.
            os.ftruncate(self._file, 0)
            self._end = 0
            self._append(header)
            self._sync_directory()
            return
        *lines, torn = content.split(b"\n")
        self._check_header(lines[0] if lines else b"", header)
        for number, line in enumerate(lines[1:], 2):
            self._read(number, line)
        self._end = len(content) - len(torn)
        if torn:
            os.ftruncate(self._file, self._end)

    def _check_header(self, line: bytes, header: bytes) -> None:
        was, now = _parse(line), json.loads(header)
        if was is None or "readyfs_replay" not in was:
            raise UsageError(f"{self._shown} is no resume file", "name another file with --resume")
        for name, value in now.items():
            if was.get(name) != value:
                raise UsageError(
                    f"the resume file {self._shown} is of a replay with another {name.replace('_', ' ')}", _ANOTHER
                )

    def _read(self, number: int, line: bytes) -> None:
        found = _parse(line)
        if found is None:
            raise UsageError(f"line {number} of the resume file {self._shown} cannot be read", _ANOTHER)
        words = [found.get(name) for name in ("source", "customer_id", "query_name", "logical_date", "run_id")]
        texts = [os.fsencode(word) for word in words if isinstance(word, str)]
        date = parse_date(texts[3]) if len(texts) == len(words) else None
        if date is None:
            raise UsageError(f"line {number} of the resume file {self._shown} names no partition", _ANOTHER)
        self.done[PartitionKey(SeriesKey(*texts[:3]), date)] = texts[4]

    def _append(self, line: bytes) -> None:
        left = line
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._end)  # what is there is whole lines
            raise FailedError(
                f"cannot write the resume file {self._shown}: {error.strerror}",
                "make room there and start again; what ran and is not written down runs again",
            ) from error
        self._end += len(line)

    def _sync_directory(self) -> None:
        descriptor = os.open(self._path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _line(value: Mapping[str, object]) -> bytes:
    # Bytes that are no UTF-8 are surrogates by now, which the escapes of ASCII keep.
    return json.dumps(value).encode() + b"\n"


def _parse(line: bytes) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
