"""Making relative locations absolute, so that the daemon can leave its working directory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

_SQLITE: Final = re.compile(r"(sqlite(?:\+\w+)?:///)?(file:)?([^/?][^?]*)(\?.*)?", re.ASCII)


def make_absolute(text: str, find_base: Callable[[], Path]) -> str:
    """Return a path, or a SQLite URL, as seen from a base directory; other URLs stay as they are.

    The base is asked for only when the text is relative: the working directory may be gone.
    `~` and `~user` at the start of a path are expanded, because no shell sees what stands in a file or variable.
    """
    match = _SQLITE.fullmatch(text)
    if match is not None and (match.group(1) or match.group(2)):
        scheme, prefix, path, query = (part or "" for part in match.groups())
        if path == ":memory:":
            return text
        # What follows `file:` (sqlite.org/uri.html), and the path of any SQLAlchemy URL, is percent-encoded.
        return f"{scheme}{prefix}{quote(str(find_base()), errors='surrogateescape')}/{path}{query}"
    if not text or "://" in text or text.startswith("file:") or text == ":memory:":
        return text
    path = os.path.expanduser(text)  # noqa: PTH111 - an unknown user is left as text, not raised
    return path if path.startswith("/") else str(find_base() / path)
