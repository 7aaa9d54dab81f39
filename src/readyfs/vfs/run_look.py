"""A look at a run: what the raw store says of it at this moment, or the damage that this is.

Here a run is found to be whole or not. All I/O of `runs`, which calls this on any thread that may wait and remembers
what was seen; nothing here changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from readyfs.errors import TooManyHandlesError
from readyfs.partition import Partition
from readyfs.raw.store import EntryKind, RawEntry, RawStore, UnreadableFileError
from readyfs.vfs.damage_cause import DamageError, missing, raw_store_failed
from readyfs.vfs.descriptors import are_exhausted
from readyfs.vfs.relpath import RelPath


class RunLook:
    """Looks at runs, of which each must have the `required` files.

    Everything raises `DamageError` where a run is not whole, and `TooManyHandlesError` for want of descriptors, which
    says nothing of the run.
    """

    def __init__(self, raw: RawStore, required: Sequence[bytes]) -> None:
        self._raw = raw
        self._required = tuple(required)

    def look_at(
        self, partition: Partition, directories: Iterable[RelPath], suspects: Mapping[RelPath, int]
    ) -> dict[RelPath, dict[bytes, RawEntry]]:
        """Return the entries of these directories, the run's own among them, after its required files were seen.

        Of each suspect that is none of them a byte is read at its offset.
        """
        found = {directory: self.list_directory(partition, directory) for directory in sorted(directories)}
        for name in self._required:
            entry = found[()].get(name)
            if entry is None or entry.kind is not EntryKind.FILE:
                raise DamageError(missing((name,), EntryKind.FILE))
        for relpath, offset in suspects.items():
            if relpath not in found:
                self._try(partition, relpath, offset)
        return found

    def list_directory(self, partition: Partition, relpath: RelPath) -> dict[bytes, RawEntry]:
        """Return the entries of one directory by name; at the top of a run its required files are opened too."""
        try:
            readable = () if relpath else self._required
            return {entry.name: entry for entry in self._raw.list_directory(partition, relpath, readable)}
        except UnreadableFileError as error:
            raise _refusal((error.name,), error) from error
        except OSError as error:
            raise _refusal(relpath, error) from error

    def _try(self, partition: Partition, relpath: RelPath, offset: int) -> None:
        try:
            file = self._raw.open_file(partition, relpath)
            try:
                file.pread(1, offset)
            finally:
                file.close()
        except OSError as error:
            raise _refusal(relpath, error) from error


def _refusal(relpath: RelPath, error: OSError) -> DamageError | TooManyHandlesError:
    """Return what a failed look at a run means: damage, unless it failed for want of descriptors."""
    cause = raw_store_failed(relpath, error)
    return TooManyHandlesError(cause.text) if are_exhausted(error) else DamageError(cause)
