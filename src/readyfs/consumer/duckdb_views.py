"""A catalog as DuckDB takes it: one view for each query, over an explicit list of files.

What stands in names and paths comes from the state table. It is data here and stays data: every name is a quoted
identifier, every path a quoted string, and nothing foreign stands in a comment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from readyfs.errors import UsageError
from readyfs.layout import hive_escape
from readyfs.text import escape_text


class _Reader(NamedTuple):
    function: str
    options: tuple[str, ...] = ()


_LINES: Final = _Reader("read_json", ("format = 'newline_delimited'",))
_TABLE: Final = _Reader("read_csv")
_DATA: Final[Mapping[str, _Reader]] = {
    ".jsonl": _LINES,
    ".ndjson": _LINES,
    ".csv": _TABLE,
    ".tsv": _TABLE,
    ".parquet": _Reader("read_parquet"),
}
_READERS: Final[Mapping[str, _Reader]] = {**_DATA, ".json": _Reader("read_json")}
"""By the ending of a file's name. Of itself one that ends with `.json` describes data, and is none."""
_PACKED: Final = (".gz", ".zst")


def choose_file(names: Sequence[str]) -> str:
    """Return which of the required files holds the data; raise `UsageError` if that cannot be told."""
    found = [name for name in names if _ending(name) in _DATA]
    if len(found) == 1:
        return found[0]
    which = "none of the required files is" if not found else f"{len(found)} of the required files are"
    raise UsageError(
        f"{which} known as a table by the ending: {', '.join(map(escape_text, names))}", "name one with --file"
    )


def render_views(files: Mapping[str, Sequence[bytes]], name: str, *, is_hive: bool) -> Iterator[str]:
    """Yield a script, in pieces, that makes a view of the files of each query, all of one name; raise `UsageError`.

    Files are absolute paths. With `is_hive` the names of their directories give columns, which are text, so that an id
    keeps its zeros whichever others there are.
    """
    reader = _READERS.get(_ending(name))
    if reader is None:
        raise UsageError(
            f"no reader of DuckDB is known for {escape_text(name)}",
            f"choose a file with --file that ends with one of {', '.join(_READERS)}",
        )
    names = _name_views(files)
    hive = "hive_partitioning = true, hive_types_autocast = false" if is_hive else "hive_partitioning = false"
    options = ", ".join((*reader.options, hive))
    lists = {query: ",\n".join(map(_quote_text, paths)) for query, paths in sorted(files.items())}
    yield "BEGIN TRANSACTION;\n"
    for query, paths in lists.items():
        yield f"CREATE OR REPLACE VIEW {names[query]} AS SELECT * FROM {reader.function}([\n{paths}\n], {options});\n"
    yield "COMMIT;\n"


def _ending(name: str) -> str:
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return name[name.rfind(".") :].lower() if "." in name else ""


def _name_views(queries: Mapping[str, object]) -> dict[str, str]:
    """Return the quoted name of each query's view; raise `UsageError` if two are one to DuckDB."""
    taken: dict[bytes, str] = {}
    for query in sorted(queries):
        folded = _identifier(query).encode().lower()  # of ASCII alone, as DuckDB compares names
        if folded in taken:
            both = " and ".join(escape_text(one) for one in (taken[folded], query))
            raise UsageError(
                f"the queries {both} have one name in DuckDB, to which upper and lower case are the same",
                "choose one of them with --prefix where the layout allows it, or make these views by hand",
            )
        taken[folded] = query
    return {query: '"' + _identifier(query).replace('"', '""') + '"' for query in queries}


def _identifier(query: str) -> str:
    """Return a query's name; one with a NUL, where programs in C take a name to end, as it stands in paths."""
    return hive_escape(query.encode()).decode() if "\0" in query else query


def _quote_text(path: bytes) -> str:
    try:
        return "'" + path.decode().replace("'", "''") + "'"
    except UnicodeDecodeError as error:
        raise UsageError(
            f"DuckDB cannot read {escape_text(path)}, whose path is not UTF-8", "leave it out with --prefix"
        ) from error
