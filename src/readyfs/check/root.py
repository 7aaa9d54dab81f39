"""Looking at the raw root before any run in it."""

from __future__ import annotations

import threading

from readyfs.errors import RawRootError
from readyfs.raw.store import RawStore


def check_root(raw: RawStore, timeout_s: float) -> None:
    """Look at the raw root on a thread of its own: one that hangs must not hold us."""
    failures: list[Exception] = []

    def look() -> None:
        try:
            raw.check()
        except RawRootError as error:
            failures.append(error)

    thread = threading.Thread(target=look, name="readyfs-check-root", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise RawRootError(
            f"raw root {raw.label} does not answer within {timeout_s:g} s", "check the file system that it lies on"
        )
    if failures:
        raise failures[0]
