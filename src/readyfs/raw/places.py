"""Where runs lie below the raw root: the paths that the layout makes, with what many have in common made once."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from readyfs.layout import RawLayout
from readyfs.partition import Partition, RunKey, run_of
from readyfs.raw.beneath import join_path

SERIES_KEPT: Final = 1024
RUNS_KEPT: Final = 256
"""A run's path is asked for some times in a row: by the look at it, and for each of its files."""


class Places:
    """Paths from the raw root on, joined of single names. Safe to call from several threads; touches no disk."""

    __slots__ = ("_of",)

    def __init__(self, layout: RawLayout) -> None:
        frame_of = lru_cache(maxsize=SERIES_KEPT)(layout.frame_of)

        @lru_cache(maxsize=RUNS_KEPT)
        def of(run: RunKey) -> bytes:
            (series, date), run_id = run
            return join_path(layout.fill(frame_of(series), date, run_id))

        self._of = of

    def of_run(self, partition: Partition) -> bytes:
        """Return the path of a run's directory; raise `UnusableNameError` if it has none."""
        return self._of(run_of(partition))

    def of_path(self, partition: Partition, relpath: tuple[bytes, ...]) -> bytes:
        """Return the path of a place within a run.

        Raises as `of_run` does, and `OSError` (EINVAL) for a part that is not a single name.
        """
        place = self._of(run_of(partition))
        return place + b"/" + join_path(relpath) if relpath else place
