"""From the word after `--raw` to a raw store."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Final

from readyfs import native
from readyfs.errors import RawRootError
from readyfs.layout import RawLayout
from readyfs.raw.local import LocalRawStore
from readyfs.raw.store import RawStore
from readyfs.text import escape_text

# Up to the last @: a secret key in a URL may hold slashes.
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:[^?#]*@)?([^?#]*).*", re.DOTALL)


def open_raw(raw: str, layout: RawLayout, compiled: ModuleType | None = native.module) -> RawStore:
    """Return the raw store that `raw` names: the path of a directory. It makes its looks with the `compiled` module.

    Raises `RawRootError` for a URL and for nothing at all. Touches no disk: `RawStore.check` does.
    """
    if not raw:
        raise RawRootError("no raw root is given", "name the directory that holds the raw runs with --raw")
    url = _URL.fullmatch(raw)
    if url is None:
        return LocalRawStore(Path(raw), layout, compiled=compiled)
    scheme, where = url.groups()
    if scheme.lower() == "file":
        raise RawRootError(f"raw store {scheme}://{escape_text(where)} is a URL", "give the directory's path itself")
    raise RawRootError(
        f"raw store {scheme}://{escape_text(where)} is not a directory, and readyfs reads runs from directories only",
        "mount the bucket as a directory (for example with mount-s3 or rclone mount) and give that path",
    )
