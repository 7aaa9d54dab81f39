"""Which files of a run are shown: the setting `--files`. Used by `runs`, by the check of runs and by the settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase

from readyfs.errors import UsageError
from readyfs.vfs.relpath import RelPath


class FileFilter:
    """Globs over the name of a file or its path within the run; none means all files. Directories are always shown."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)
        self.shows_all = not patterns

    def shows(self, relpath: RelPath) -> bool:
        """Return whether a file is shown; a pattern without a slash is matched against the name alone."""
        if self.shows_all:
            return True
        path = os.fsdecode(b"/".join(relpath))
        name = os.fsdecode(relpath[-1])
        return any(fnmatchcase(path if "/" in pattern else name, pattern) for pattern in self._patterns)

    def shown_of(self, required: Sequence[bytes]) -> tuple[bytes, ...]:
        """Return which of the required files are shown; raise `UsageError` if none is."""
        shown = tuple(name for name in required if self.shows((name,)))
        if not shown:
            # A broken run would look like an empty one, and readers would take it for no data.
            raise UsageError("--files hides every file of --required-files", "show at least one of them")
        return shown
