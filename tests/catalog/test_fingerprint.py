"""V9: the fingerprints of a few small catalogs, as written down when version 1 was made.

A mount of another machine, and of another release, finds a catalog by its fingerprint. So if one of these changes,
what is hashed has changed, and `FINGERPRINT_VERSION` has to be raised. `test_build` computes one with hashlib alone.
"""

from __future__ import annotations

import itertools
import random

import pytest

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.digests import FINGERPRINT_VERSION
from readyfs.layout import MountLayout, RawLayout
from readyfs.partition import NOT_SET
from tests.catalog.rows import HIDDEN_SOURCE, HIVE_RAW, JUNE_1, SHOWN_SOURCE, Row, build, shape

ROWS = [
    Row(),
    Row(date=JUNE_1 + 1, run=b"r2", updated_at_ns=NOT_SET, record_count=NOT_SET, schema_version=None),
    Row(date=JUNE_1 + 100, run=b"r3", schema_version=b""),
    Row(customer=b"\xff/d\xc3\xbc", query=b"q2", run=b"r4"),
]
CLAIMED = [*ROWS, Row(run=b"r9")]
"""One date of one series has two rows."""
TWO_SOURCES = [*ROWS, Row(source=b"t", run=b"r9")]
"""One path is claimed by the rows of two sources."""

GOLDEN = {
    "nothing": ([], shape(), "01aa779702d3023e70e95767f575ae1a"),
    "one": ([Row()], shape(), "011480693ab996e6b3e3f7c34a473d52"),
    "rows": (ROWS, shape(), "016a7aeb63a14a5457ea8f55cbc928a4"),
    "a date claimed twice": (CLAIMED, shape(), "01b31e1ec382c0d779b382908b74abcb"),
    "a path claimed by two sources": (TWO_SOURCES, shape(), "014cb45f2b056f555d821c95917d63f4"),
    "both sources shown": (TWO_SOURCES, shape(SHOWN_SOURCE), "01fc9ae73623b9b4225cba3bbc210f39"),
    "layout hive": (ROWS, shape(MountLayout.parse("hive").template), "0188f68c42e5d60429b6dcdc5c859dc5"),
    "layout by-date": (ROWS, shape(MountLayout.parse("by-date").template), "018c5cb70e0aae7c0436a02c09d7c68a"),
    "raw-layout": (
        ROWS,
        shape(raw=RawLayout.parse("{source}/{customer_id}/{query_name}/{logical_date}/{run_id}")),
        "019d31de2e64d4d23dc8642c1dc13f34",
    ),
    "raw-encoding": (ROWS, shape(raw=HIVE_RAW), "01d34c1f7113893e5ac523f8e3a8979c"),
    "files": (ROWS, shape(files=("*.jsonl", "m*")), "01aed3b0aefcc51964bbd784487509ed"),
    "required-files": (ROWS, shape(required=("payload.jsonl", "metadata.json")), "01c21329b7a130a3e271e76f8857a0ad"),
    "no required-files": (ROWS, shape(required=()), "01d1b53c1ef713855da4d1fa9978b3f8"),
    "file-times": (
        ROWS,
        CatalogShape(MountLayout.parse(HIDDEN_SOURCE), RawLayout.parse(), (), ("payload.jsonl",), True),
        "012b346ba00fdfb811106c709ebd58bd",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_fingerprint_is_the_one_written_down(name: str) -> None:
    rows, of, expected = GOLDEN[name]
    assert build(rows, of=of).fingerprint == expected


@pytest.mark.parametrize("name", GOLDEN)
def test_fingerprint_is_that_of_any_order_of_rows_and_files(name: str) -> None:
    rows, of, expected = GOLDEN[name]
    turned = CatalogShape(of.layout, of.raw_layout, of.files[::-1], of.required_files[::-1], of.published_times)
    for seed in range(5):
        shuffled = random.Random(seed).sample(rows, len(rows))
        assert build(shuffled, of=turned).fingerprint == expected


def test_fingerprint_differs_with_each_setting_and_claim() -> None:
    expected = [fingerprint for _, _, fingerprint in GOLDEN.values()]
    assert all(one != other for one, other in itertools.combinations(expected, 2))


def test_fingerprint_begins_with_its_version() -> None:
    assert FINGERPRINT_VERSION == 1
    for _, _, fingerprint in GOLDEN.values():
        assert (fingerprint[:2], len(fingerprint)) == ("01", 32)
