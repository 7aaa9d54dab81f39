"""Where things lie in a pin store.

Whatever nothing needs goes to the trash first, and is found there as it was before. So a decision that turns out to be
wrong has harmed nobody, also if whoever made it is dead by then.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from readyfs.errors import PinStoreError
from readyfs.pin_store.files import CLOCK, TEMPORARY, Files, Where
from readyfs.pin_store.records import is_fingerprint
from readyfs.pins.names import show_name
from readyfs.text import escape_text

MARKER: Final = "readyfs-pin-store"
COLLECTED: Final = "collected"
PACKS: Final = "packs"
VIEWS: Final = "views"
NAMES: Final = "names"
TRASH: Final = "trash"
ASIDE: Final = "set-aside"
LEASES: Final = "leases"
DIRECTORIES: Final[tuple[Where, ...]] = (
    (TEMPORARY,),
    (CLOCK,),
    (PACKS,),
    (VIEWS,),
    (NAMES,),
    (ASIDE,),
    (TRASH, PACKS),
    (TRASH, VIEWS),
    (TRASH, NAMES),
)
_NOT_FOREIGN: Final = frozenset({"lost+found", TEMPORARY})
_TRASHED: Final = re.compile(r"(.+)\.[0-9a-f]{16}", re.ASCII)


def refuse_foreign(directory: Path, names: Iterable[str]) -> None:
    """Raise `PinStoreError` for a directory without a marker that holds anything of others."""
    for name in names:
        if not name.startswith(".") and name not in _NOT_FOREIGN:
            raise PinStoreError(
                f"the directory {escape_text(os.fsencode(directory))} is no pin store, and holds {show_name(name)}",
                "name an empty directory for --pin-store",
            )


def view_place(fingerprint: str) -> Where:
    """Return where the directory of a view lies, unless it is in the trash."""
    return (VIEWS, fingerprint)


def view_places(files: Files, fingerprint: str) -> list[Where]:
    """Return where there may be anything of a view."""
    trashed = [name for name in files.names((TRASH, VIEWS)) if name.startswith(f"{fingerprint}.")]
    return [view_place(fingerprint), *((TRASH, VIEWS, name) for name in trashed)]


def all_view_places(files: Files) -> list[tuple[str, Where]]:
    """Return each view with where there is anything of it."""
    found: dict[Where, str] = {}
    # The trash before and after, because views are moved between the two meanwhile.
    for place in ((TRASH, VIEWS), (VIEWS,), (TRASH, VIEWS)):
        for name in files.names(place):
            fingerprint = name if place == (VIEWS,) else untrashed(name)
            if fingerprint is not None and is_fingerprint(fingerprint):
                found[(*place, name)] = fingerprint
    return [(fingerprint, place) for place, fingerprint in found.items()]


def trash_name(name: str) -> str:
    """Return a name for something in the trash that nothing else has."""
    return f"{name}.{secrets.token_hex(8)}"


def untrashed(name: str) -> str | None:
    """Return the name that something in the trash had, None for what is not ours."""
    match = _TRASHED.fullmatch(name)
    return None if match is None else match[1]
