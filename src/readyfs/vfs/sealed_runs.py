"""What is kept of sealed runs: views of their directories, the least recently asked for pushed out when it is too much.

Used by `runs` alone, whose lock guards it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Final

from readyfs.partition import RunKey
from readyfs.vfs.relpath import RelPath
from readyfs.vfs.run_view import RunView

MAX_BYTES: Final = 128 << 20
"""Some seventy thousand runs of two files. A run that is pushed out is looked at again when it is asked for."""

Views = dict[RelPath, RunView]


class SealedRuns:
    """Views by run and place in it, of `max_bytes` in all as far as that can be estimated."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._runs: OrderedDict[RunKey, Views] = OrderedDict()
        self.estimated_bytes = 0
        self.has_pushed_out = False
        """Whether a run was ever let go of to make room."""

    def __contains__(self, run: RunKey) -> bool:
        return run in self._runs

    def __iter__(self) -> Iterator[RunKey]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, run: RunKey, relpath: RelPath) -> RunView | None:
        """Return the view of a directory if it is kept."""
        views = self._runs.get(run)
        if views is None:
            return None
        self._runs.move_to_end(run)
        return views.get(relpath)

    def views_of(self, run: RunKey) -> Mapping[RelPath, RunView]:
        """Return all that is kept of a run."""
        return self._runs.get(run, {})

    def keep(self, run: RunKey, relpath: RelPath, view: RunView) -> None:
        """Keep a view in place of the one before; push out other runs to make room, never this one."""
        views = self._runs.setdefault(run, {})
        self._runs.move_to_end(run)
        before = views.get(relpath)
        self.estimated_bytes += view.estimated_bytes - (before.estimated_bytes if before is not None else 0)
        views[relpath] = view
        while self.estimated_bytes > self._max_bytes and len(self._runs) > 1:
            self.take(next(iter(self._runs)))
            self.has_pushed_out = True

    def take(self, run: RunKey) -> Views:
        """Let go of a run, and return what was kept of it."""
        views = self._runs.pop(run, {})
        self.estimated_bytes -= sum(view.estimated_bytes for view in views.values())
        return views
