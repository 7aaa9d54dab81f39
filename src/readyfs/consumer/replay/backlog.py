"""The backlog: what a replay could not do because it is not ready, for those who follow it up.

A file of JSON lines, one for each partition, that is replaced as a whole.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from readyfs.consumer.cadence import Cadence
from readyfs.errors import FailedError, UsageError
from readyfs.partition import PartitionStatus, SeriesKey, render_date
from readyfs.text import decode_text, escape_text

NOT_KNOWN: Final = "not_ready"
"""The word for what is not there, where only a mount was asked."""


class NotReady(NamedTuple):
    """One partition that is not ready: what it is instead, and what is known of the reason.

    `status` is None where nobody asked for it. `date` is None where the row has none that can be read. `run_id` is what
    the row names, which must not be read.
    """

    series: SeriesKey
    date: int | None
    status: PartitionStatus | None
    detail: str = ""
    run_id: bytes = b""

    def fields(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        source, customer, query = map(decode_text, self.series)
        return {
            "source": source,
            "customer_id": customer,
            "query_name": query,
            "logical_date": None if self.date is None else render_date(self.date).decode(),
            "status": NOT_KNOWN if self.status is None else self.status.value,
            "run_id": decode_text(self.run_id) or None,
            "detail": decode_text(os.fsencode(self.detail)) or None,
        }


def find_missing(
    seen: Mapping[SeriesKey, Collection[int]],
    cadence: Cadence,
    first: int | None,
    last: int,
    status: PartitionStatus | None = PartitionStatus.MISSING,
) -> Iterator[NotReady]:
    """Yield each expected date of which nothing was seen, by series, up to `last`.

    It begins at `first`, or at the first date of the series.
    """
    for series, dates in seen.items():
        begin = first if first is not None else min(dates, default=last + 1)
        for date in cadence.expected(begin, last):
            if date not in dates:
                yield NotReady(series, date, status)


def check_backlog(path: Path) -> None:
    """Raise `UsageError` if what stands at a path must not be replaced by a backlog: a device, a link, a directory."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # There is nothing, or nothing can be written there, which is said when it is.
    if not stat.S_ISREG(mode):
        raise UsageError(
            f"the backlog {escape_text(os.fsencode(path))} is no regular file", "name another with --backlog"
        )


def write_backlog(path: Path, entries: Iterable[NotReady]) -> int:
    """Put the backlog in the place of the one before, in one step; return how many partitions it names.

    Raises `UsageError` as `check_backlog` does, and `FailedError` if it cannot be written. Then what was there before
    still is.
    """
    check_backlog(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    try:
        try:
            with temporary.open("xb") as file:
                for entry in entries:
                    file.write(json.dumps(entry.fields()).encode() + b"\n")
                    count += 1
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise FailedError(
            f"cannot write the backlog {escape_text(os.fsencode(path))}: {error.strerror}",
            "name another file with --backlog, or make room",
        ) from error
    return count
