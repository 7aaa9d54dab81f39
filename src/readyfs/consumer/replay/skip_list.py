"""Skip lists: the partitions that somebody does not want to be replayed, one a line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from readyfs.errors import UsageError
from readyfs.layout import MountLayout
from readyfs.partition import PartitionKey, SeriesKey
from readyfs.text import escape_text

_ANY_SOURCE: Final = MountLayout.parse("{customer_id}/{query_name}/{logical_date}")
_WITH_SOURCE: Final = MountLayout.parse("{source}/{customer_id}/{query_name}/{logical_date}")


class SkipList:
    """Keys of partitions, some of them of whichever source; `in` tells whether one is listed."""

    def __init__(self, keys: Iterable[PartitionKey] = ()) -> None:
        """Take keys; an empty source stands for every one."""
        self._keys = frozenset(keys)

    def __contains__(self, key: object) -> bool:
        """Tell whether a partition is listed."""
        if not isinstance(key, PartitionKey):
            return False
        return key in self._keys or key._replace(series=key.series._replace(source=b"")) in self._keys


def parse_skip_list(content: bytes, shown: str) -> SkipList:
    """Return the keys in a file's content: `customer/query/date` or `source/customer/query/date`, escaped as in paths.

    Empty lines and lines that begin with `#` say nothing. Raises `UsageError` with the number of a line that is no key.
    """
    keys: list[PartitionKey] = []
    for number, line in enumerate(content.splitlines(), 1):
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        path = text.split(b"/")
        layout = _WITH_SOURCE if len(path) == 4 else _ANY_SOURCE
        found = layout.read(path)
        if found is None:
            raise UsageError(
                f"line {number} of {shown} is no partition: {escape_text(text[:200])}",
                "write customer/query/date or source/customer/query/date, escaped as in a mount",
            )
        series, date = found
        keys.append(PartitionKey(SeriesKey(*series), date))
    return SkipList(keys)
