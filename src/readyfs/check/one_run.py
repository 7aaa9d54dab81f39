"""Looking at one run as a mount does before it serves it, and at one place in it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from readyfs.errors import FilesystemError
from readyfs.layout import RawLayout
from readyfs.partition import Partition
from readyfs.raw.open import open_raw
from readyfs.raw.store import EntryKind
from readyfs.vfs.damage_cause import DamageError
from readyfs.vfs.file_filter import FileFilter
from readyfs.vfs.relpath import RelPath
from readyfs.vfs.run_look import RunLook


def shows_file_of_run(patterns: Sequence[str], relpath: RelPath) -> bool:
    """Tell whether a mount with these patterns of `--files` shows a file of a run."""
    return FileFilter(patterns).shows(relpath)


def look_at_run(
    raw: str, layout: RawLayout, required: Sequence[bytes], partition: Partition, relpath: RelPath, timeout_s: float
) -> tuple[str | None, bool] | None:
    """Return why a run cannot be served, None if it can, and whether it has a file or directory at a place.

    None if the raw store does not answer in time; the thread that waits for it is left alone.
    """
    found: list[tuple[str | None, bool] | Exception] = []
    look = RunLook(open_raw(raw, layout), required)

    def do() -> None:
        try:
            found.append((None, _is_there(look, partition, relpath)))
        except DamageError as error:
            found.append((error.cause.text, True))
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            found.append(error)

    thread = threading.Thread(target=do, name="readyfs-look", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not found or isinstance(found[0], FilesystemError):
        return None
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _is_there(look: RunLook, partition: Partition, relpath: RelPath) -> bool:
    entries = look.look_at(partition, [()], {})[()]
    for depth, name in enumerate(relpath):
        if depth:
            entries = look.list_directory(partition, relpath[:depth])
        if name not in entries:
            return False
        if depth + 1 < len(relpath) and entries[name].kind is not EntryKind.DIRECTORY:
            return False
    return True
