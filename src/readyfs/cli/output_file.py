"""A file that a command writes: in one step, so that whoever reads it finds the old content or all of the new."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from readyfs.errors import OutputError
from readyfs.text import escape_text

_REMEDIES: Final[Mapping[int | None, str]] = {
    errno.ENOENT: "make its directory, or name another file",
    errno.ENOSPC: "name another file, or make room",
    errno.EDQUOT: "name another file, or make room",
}


def write_output_file(path: Path, pieces: Iterable[bytes]) -> None:
    """Put pieces in the place of what was there; raise `OutputError`, and what the pieces raise but for `OSError`.

    Then what was there before still is. A link stays, and the file that it leads to is replaced.
    """
    shown = escape_text(os.fsencode(path))
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            raise OutputError(f"{shown} is no regular file", "name another file")
        # Containers use the same process ids again and again: a file that one left when it was killed must stop nobody.
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        with temporary.open("xb") as file:  # never one that is there, nor through a link: others may write there, too
            try:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(target)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
    except OSError as error:
        remedy = _REMEDIES.get(error.errno, "name another file")
        raise OutputError(f"{shown} cannot be written: {error.strerror}", remedy) from error
