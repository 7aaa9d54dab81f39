"""Lineage as extended attributes: which row and run a file comes from, answered from memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from readyfs.errors import AttributesDisabledError, AttributesUnsupportedError, NoSuchAttributeError
from readyfs.partition import NOT_SET, Partition, render_date, render_time

PREFIX: Final = b"user.readyfs."
# Asked for by ls, cp and rsync on every file; they remember ENOTSUP per filesystem, ENODATA they do not.
_NAMESPACE: Final = b"user."


def run_lineage(partition: Partition) -> dict[bytes, bytes]:
    """Return the attributes of a run and of all that lies in it: what is true of it in whatever catalog shows it."""
    return attributes(
        source=partition.key.series.source,
        customer_id=partition.key.series.customer_id,
        query_name=partition.key.series.query_name,
        logical_date=render_date(partition.key.date),
        run_id=partition.run_id,
    )


def row_lineage(partition: Partition) -> dict[bytes, bytes]:
    """Return the attributes of a date directory: its run's, and its row's as far as the columns are set."""
    found: dict[str, bytes] = {}
    if partition.updated_at_ns != NOT_SET:
        found["updated_at"] = render_time(partition.updated_at_ns)
    if partition.record_count != NOT_SET:
        found["record_count"] = b"%d" % partition.record_count
    if partition.schema_version is not None:
        found["schema_version"] = partition.schema_version
    return run_lineage(partition) | attributes(**found)


def attributes(**values: bytes) -> dict[bytes, bytes]:
    """Return values by the full names of their attributes."""
    return {PREFIX + name.encode(): value for name, value in values.items()}


def get_attribute(enabled: bool, attributes: Callable[[], Mapping[bytes, bytes]], name: bytes) -> bytes:
    """Return one attribute's value.

    Raises `AttributesDisabledError` with `--no-xattrs`, `AttributesUnsupportedError` for namespaces that are not
    offered, `NoSuchAttributeError` otherwise (xattr(7)).
    """
    if not enabled:
        raise AttributesDisabledError
    if not name.startswith(_NAMESPACE):
        raise AttributesUnsupportedError
    value = attributes().get(name)
    if value is None:
        raise NoSuchAttributeError
    return value


def list_attributes(enabled: bool, attributes: Callable[[], Mapping[bytes, bytes]]) -> list[bytes]:
    """Return the attribute names, none with `--no-xattrs`.

    A refusal the kernel would remember, and tar(1) and others would complain of for each file that they copy.
    """
    return list(attributes()) if enabled else []
