"""The rows of a manifest: what its JSON says of each partition, with the prefix that was asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import orjson

from readyfs.cli.manifest_place import Form, ManifestPlace
from readyfs.errors import UsageError
from readyfs.text import decode_text, escape_text

Row = dict[str, Any]
"""The fields of one partition, as docs/manifests.md has them."""


class Shown(NamedTuple):
    """A row of a view, and the paths of its files byte by byte, which JSON cannot always tell."""

    row: Row
    files: list[bytes]


def read_rows(place: ManifestPlace, file: str | None) -> Iterator[Row]:
    """Yield the rows with paths from the directory, and of one file if it is named; raise as `place.read` does."""
    before = decode_text(os.fsencode(place.prefix) + b"/") if place.prefix else ""
    for records in place.read(Form.JSONL):
        for record in records:
            row: Row = orjson.loads(record)
            row["path"] = before + row["path"]
            row["files"] = [before + name for name in row["files"]]
            if file is not None:
                wanted = f"{row['path']}/{decode_text(os.fsencode(file))}"
                row["files"] = [name for name in row["files"] if name == wanted] or _refuse(file)
            yield row


def read_shown(place: ManifestPlace, file: str | None) -> Iterator[Shown]:
    """Yield the rows of a view, as `read_rows` does, with their files: both manifests are of one catalog."""
    assert place.view is not None
    rows = read_rows(place, file)
    paths = (path for paths in read_paths(place, Form.PATHS0, file) for path in paths)
    for row in rows:
        yield Shown(row, list(islice(paths, len(row["files"]))))


def read_paths(place: ManifestPlace, form: Form, file: str | None) -> Iterator[list[bytes]]:
    """Yield the paths of files from the directory, some at a time, and of one file if it is named."""
    before = os.fsencode(place.prefix) + b"/" if place.prefix else b""
    after = b"" if file is None else b"/" + os.fsencode(file)
    is_empty, is_found = True, False
    for records in place.read(form):
        found = [before + record for record in records if record.endswith(after)]
        is_empty, is_found = is_empty and not records, is_found or bool(found)
        yield found
    if file is not None and not is_empty and not is_found:
        _refuse(file)


def render_rows(rows: Iterable[Row]) -> Iterator[bytes]:
    """Yield the lines of rows."""
    return (orjson.dumps(row) + b"\n" for row in rows)


def _refuse(file: str) -> list[str]:
    raise UsageError(
        f"{escape_text(os.fsencode(file))} is none of the required files", "see --required-files of the mount"
    )
