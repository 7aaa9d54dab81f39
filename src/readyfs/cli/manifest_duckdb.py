"""A manifest of a view as a script for DuckDB."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

from readyfs.cli.manifest_place import ManifestPlace
from readyfs.cli.manifest_rows import read_shown
from readyfs.consumer.duckdb_views import choose_file, render_views


def render_script(place: ManifestPlace, file: str | None) -> Iterator[bytes]:
    """Yield the script in pieces, of one of the required files; raise `UsageError` before the first of them."""
    assert place.view is not None
    top, view = os.fsencode(place.directory), os.fsencode(place.view)
    paths: defaultdict[str, list[bytes]] = defaultdict(list)
    is_hive = False
    for row, files in read_shown(place, file):
        if file is None:
            file = choose_file([os.fsdecode(one.rpartition(b"/")[2]) for one in files])
        path = next(b"%b/%b" % (top, one) for one in files if one.endswith(b"/" + os.fsencode(file)))
        # Below the view an equals sign comes of the layout alone: those of values are escaped.
        is_hive = is_hive or b"=" in path[len(view) :].rpartition(b"/")[0]
        paths[row["query_name"]].append(path)
    if file is None:
        return iter(())
    return (piece.encode() for piece in render_views(paths, file, is_hive=is_hive))
