"""Ids that a reader of partitioned paths could take for something else, and a place in which each has one record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.mount.daemon import Place, partition

NULL: Final = "__HIVE_DEFAULT_PARTITION__"
"""Hive's word for NULL, by which its readers take the value for NULL."""
IDS: Final = (
    "with space",
    " lead",
    "trail ",
    "a%41b",
    "%2F",
    "a=b",
    "k=v=w",
    "a/b",
    "a:b",
    "a+b",
    "a&b",
    "a'b\"c",
    "[x]{y}*?",
    "#h\\b",
    "x\ny",
    "größe-日本語",
    "cafe\u0301",
    ".dot",
    "..dots",
    "_under",
    "0012",
    "007",
    "-1",
    "1.50",
    "1e5",
    "2024-06-01",
    "true",
    "null",
    "NaN",
    NULL,
)
OF_HIVE: Final = ("--layout", "hive", "--raw-encoding", "hive")
TRUTH: Final = {number: None if value == NULL else value for number, value in enumerate(IDS)}
"""What every reader must find: the id of each record, by the number in it."""


def fill(place: Place, ids: Sequence[str] = IDS) -> None:
    """Publish one record for each id, in raw directories whose names are escaped as Hive does."""
    for number, value in enumerate(ids):
        escaped = "".join(f"%{ord(letter):02X}" if letter in "\"#%'*/:=?\\{}[]^\n" else letter for letter in value)
        directory = place.raw / f"s1/customer_id={escaped}/query_name=q1/logical_date=2024-06-01/run_id=r1"
        directory.mkdir(parents=True)
        (directory / "payload.jsonl").write_text(f'{{"number":{number}}}\n')
        (directory / "metadata.json").write_text("{}\n")
        place.producer.set_ready(partition(customer=value), "r1")
