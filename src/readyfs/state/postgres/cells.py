"""How a column of a PostgreSQL table is written as text, and what the text of each type means.

The driver converts nothing: Python's types hold less than PostgreSQL's do, and a driver that meets a value beyond them
fails all rows with it. Every way to read a table (in chunks, by row address, row by row) takes these expressions, so
that a value means the same on each. How times, bytes and numbers are written is set in each transaction, by
`PostgresConnection`. A domain counts as the type that it is made from.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Final, TypeAlias

from readyfs.state.postgres.facts import Column
from readyfs.state.rows.values import OddCell, parse_truth

Reader: TypeAlias = Callable[[bytes], object]
Condition: TypeAlias = tuple[str, tuple[object, ...]]
"""SQL with its parameters."""

TIMES: Final = frozenset({"timestamptz", "timestamp", "date"})
_STRINGS: Final = frozenset({"text", "varchar", "bpchar", "name"})
_TEXTS: Final = _STRINGS | {"int2", "int4", "int8", "uuid"}
_STATUSES: Final = _TEXTS | TIMES | {"bool", "bit", "varbit", "float4", "float8", "numeric", "json", "jsonb", "bytea"}
"""Types whose text depends on nothing but the row."""
_EPOCH: Final = "1970-01-01T00:00:00Z"
_FAR: Final = "2200-01-01"
_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")

_ODD_TYPES: Final = {
    "time": "a time of day",
    "timetz": "a time of day",
    "interval": "an interval",
    "inet": "a network address",
    "cidr": "a network address",
}
_ODD_CATEGORIES: Final = {"A": "an array", "R": "a range"}
"""What is no identifier, date, time or count (pg_type.typcategory)."""
_ENUM: Final = "e"
_TRUTHS: Final = {b"true": True, b"false": False}


def is_plain(field: str, column: Column) -> bool:
    """Tell whether the text of a column means what the cell does, so that it may come in chunks."""
    match field:
        case "updated_at" | "logical_date":
            return column.type_name in _TEXTS | TIMES
        case "record_count":
            return column.type_name in _TEXTS | {"numeric"}
        case "status":
            return column.type_name in _STATUSES or column.type_kind == _ENUM
        case _:
            return column.type_name in _TEXTS or column.type_kind == _ENUM


def render_text(column: Column) -> str:
    """Return the expression for a column's text; CHAR(n) comes without the blanks that fill it up."""
    # Equality by bytes, whatever the database's collation takes for equal.
    return f'{column.quoted}::text COLLATE "C"' if column.type_name in _STRINGS else f"{column.quoted}::text"


def render_compact(field: str, column: Column) -> str:
    """Return the expression for a plain column's text in a chunk: of the same meaning, in the form quickest to read."""
    name = column.quoted
    if field == "updated_at" and column.type_name in TIMES:
        # Numbers of seconds so far in the future would be taken for milliseconds, and a number has no sign.
        is_near = f"{name} >= '{_EPOCH}' AND {name} < '{_FAR}'"
        return f"CASE WHEN {is_near} THEN extract(epoch FROM {name})::text ELSE {name}::text END"
    # A count of 7.00 is 7.
    return f"trim_scale({name})::text" if column.type_name == "numeric" else render_text(column)


def choose_reader(field: str, column: Column) -> Reader | None:
    """Return what makes a cell of a column's text; None where the text is the cell."""
    name = column.type_name
    if name in TIMES and field in ("updated_at", "logical_date"):
        return None  # judged as text, which also tells what no calendar has
    match name:
        case "timestamptz" | "timestamp":
            return _read_timestamp
        case "date":
            return _read_date
        case "bool":
            return _TRUTHS.__getitem__
        case "float4" | "float8":
            return float
        case "numeric":
            return _read_numeric
        case "bytea":
            return _read_bytes
        case "json" | "jsonb":
            return _read_json
    kind = _ODD_TYPES.get(name) or _ODD_CATEGORIES.get(column.type_category)
    return None if kind is None else partial(_read_odd, kind)


def render_ready(column: Column, ready: str) -> Condition:
    """Return the condition that a status is the ready word: as text on both sides, so that no word is an error."""
    name, text = column.quoted, f'{column.quoted}::text COLLATE "C"'
    match column.type_name:
        case "bpchar":
            return f"{text} = %s", (ready.rstrip(" "),)
        case "bool":
            truth = parse_truth(ready)
            return ("false", ()) if truth is None else (f"{name} = {str(truth).lower()}", ())
        case "bit" | "varbit":
            truth = parse_truth(ready)
            return f"{text} = ANY (%s)", ([ready] if truth is None else [ready, str(int(truth))],)
        case "numeric":
            return (f"{name} = %s::numeric", (ready,)) if _NUMBER.fullmatch(ready) else ("false", ())
        case "json" | "jsonb":
            return f"{text} = ANY (%s)", ([ready, json.dumps(ready, ensure_ascii=False)],)
        case "bytea":
            return f"{name} = %s", (ready.encode(),)
    return f"{text} = %s", (ready,)


def render_indexed(column: Column, ready: str) -> Condition | None:
    """Return what follows from `render_ready` and can be answered by an index; None for types that have to be cast."""
    return (f"{column.quoted} = %s", (ready,)) if column.type_name in _STRINGS else None


def _read_timestamp(text: bytes) -> object:
    try:
        return datetime.datetime.fromisoformat(text.decode("ascii"))
    except ValueError:
        return _read_odd("a timestamp beyond the calendar", text)


def _read_date(text: bytes) -> object:
    try:
        return datetime.date.fromisoformat(text.decode("ascii"))
    except ValueError:
        return _read_odd("a date beyond the calendar", text)


def _read_numeric(text: bytes) -> object:
    return Decimal(text.decode("ascii"))


def _read_bytes(text: bytes) -> object:
    return bytes.fromhex(text[2:].decode("ascii"))


def _read_json(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _read_odd("a JSON value", text)


def _read_odd(kind: str, text: bytes) -> object:
    return OddCell(kind, text)
