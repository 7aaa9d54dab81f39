"""A manifest of a view as a script for DuckDB."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

from readyfs.cli.manifest_place import ManifestPlace
from readyfs.cli.manifest_rows import read_shown
from readyfs.consumer.duckdb_views import choose_file, render_views
from readyfs.errors import UsageError
from readyfs.text import escape_text


def render_script(place: ManifestPlace, file: str | None) -> Iterator[bytes]:
    """Yield the script in pieces, of one of the required files; raise `UsageError` before the first of them."""
    assert place.view is not None
    top, view = os.fsencode(place.directory), os.fsencode(place.view)
    paths: defaultdict[str, list[bytes]] = defaultdict(list)
    for row, files in read_shown(place, file):
        if file is None:
            file = choose_file([os.fsdecode(one.rpartition(b"/")[2]) for one in files])
        path = next(b"%b/%b" % (top, one) for one in files if one.endswith(b"/" + os.fsencode(file)))
        paths[row["query_name"]].append(path)
    if file is None:
        return iter(())
    # Below the view an equals sign comes of the layout alone, for those of values are escaped: one path is as all.
    one = next(iter(paths.values()))[0]
    columns = _hive_columns(one[len(view) :].rpartition(b"/")[0])
    for column in columns & _hive_columns(view):
        raise UsageError(
            f"DuckDB would take the column {escape_text(column)} from the names above the view {escape_text(view)}",
            "mount below directories that are called otherwise",
        )
    return (piece.encode() for piece in render_views(paths, file, is_hive=bool(columns)))


def _hive_columns(path: bytes) -> set[bytes]:
    """Return the names that DuckDB finds in a path as columns, in lower case as it compares them."""
    return {name.partition(b"=")[0].lower() for name in path.split(b"/") if b"=" in name}
