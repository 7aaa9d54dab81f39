"""A run's `metadata.json` against its row.

Its values are read as the cells of the state table are, so that a number and its digits are one identifier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import orjson

from readyfs.partition import NOT_SET, Partition, render_date
from readyfs.state.rows.values import (
    BadValueError,
    parse_id,
    parse_logical_date,
    parse_record_count,
    parse_schema_version,
    quote_value,
)
from readyfs.text import escape_text


class InvalidMetadataError(Exception):
    """The file is no JSON object; the text says why."""


class Comparison(NamedTuple):
    """What differs from the row, and the record count that the metadata give, `NOT_SET` for none."""

    faults: tuple[str, ...]
    record_count: int


_ABSENT: Final = object()


def compare_metadata(content: bytes, partition: Partition) -> Comparison:
    """Compare the content of a `metadata.json` with the row of its partition.

    The four parts of the key and the run id must be there; the schema version and the record count are compared where
    both sides have them. A value of the row that is not UTF-8 cannot stand in JSON and is not compared. Raises
    `InvalidMetadataError`.
    """
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidMetadataError(f"not JSON: {escape_text(str(error))}") from error
    if not isinstance(found, dict):
        raise InvalidMetadataError(f"a JSON {_json_type(found)}, not an object")
    faults = tuple(_find_faults(found, partition))
    try:
        record_count = parse_record_count(found.get("record_count"))
    except BadValueError:
        record_count = NOT_SET
    return Comparison(faults, record_count)


def _find_faults(found: dict[str, object], partition: Partition) -> Iterator[str]:
    series = partition.key.series
    for field, wanted in (
        ("source", series.source),
        ("customer_id", series.customer_id),
        ("query_name", series.query_name),
        ("run_id", partition.run_id),
    ):
        value = found.get(field, _ABSENT)
        if (value.encode() if type(value) is str else None) != wanted and _is_text(wanted):
            yield from _compare(field, value, parse_id, wanted, wanted)
    date, day = partition.key.date, render_date(partition.key.date)
    value = found.get("logical_date", _ABSENT)
    if (value.encode() if type(value) is str else None) != day:
        yield from _compare("logical_date", value, parse_logical_date, date, day)
    version, wanted_version = found.get("schema_version"), partition.schema_version
    if version is not None and wanted_version is not None and _is_text(wanted_version):
        yield from _compare("schema_version", version, parse_schema_version, wanted_version, wanted_version)
    count = found.get("record_count")
    if count is not None:
        wanted_count = partition.record_count
        yield from _compare(
            "record_count", count, parse_record_count, None if wanted_count == NOT_SET else wanted_count, wanted_count
        )


def _compare(
    field: str, value: object, parse: Callable[[object], object], wanted: object | None, shown: object
) -> Iterator[str]:
    """Yield what is wrong with one value; without a wanted one it must only have a meaning."""
    if value is _ABSENT:
        yield f"{field} is missing"
        return
    try:
        parsed = parse(value)
    except BadValueError as error:
        yield f"{field} {error}: {quote_value(value)}"
        return
    if wanted is not None and parsed != wanted:
        yield f"{field} is {quote_value(value)}, the row says {quote_value(shown)}"


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _json_type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case list():
            return "array"
        case str():
            return "string"
        case _:
            return "number"
