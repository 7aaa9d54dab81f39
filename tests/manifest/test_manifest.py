"""Manifests of catalogs, against a rendering that knows nothing of pieces, widths and templates."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Mapping
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.tree import Ambiguous, Catalog, Meaning, Path
from readyfs.manifest import manifest as manifest_module
from readyfs.manifest.form import Form
from readyfs.manifest.manifest import Manifest
from readyfs.partition import NOT_SET, SeriesKey, render_date, render_time
from tests.catalog.rows import JUNE_1, ROWS, SHAPES, Row, build, directories, model, shape

FILES: Final = (b"metadata.json", b"payload.jsonl")
STRANGE: Final = st.sampled_from(
    [
        b"a",
        b"\xff\xfe",
        b'quo"te',
        b"back\\slash",
        b"new\nline",
        b"100%b",
        b"%25",
        "ü\u2028".encode(),
        b"\x7f",
        b" ",
        b"{}",
    ]
)
STRANGE_ROWS: Final = st.lists(
    st.builds(
        Row,
        source=STRANGE,
        customer=STRANGE,
        query=STRANGE,
        date=st.sampled_from([1, JUNE_1, JUNE_1 + 63, JUNE_1 + 64, JUNE_1 + 1000]),
        run=st.one_of(STRANGE, st.binary(min_size=1, max_size=9).filter(lambda run: not {*run} & {*b"/\0"})),
        updated_at_ns=st.sampled_from([NOT_SET, 0, 1_717_300_000_123_456_789]),
        record_count=st.sampled_from([NOT_SET, 0, 7, 2**62]),
        schema_version=st.sampled_from([None, b"", b"1", b'"', b"\xff"]),
    ),
    max_size=30,
)
STRANGE_FILES: Final = st.sampled_from([FILES, (b"%s.json",), (b'a"b', b"\xff", b"per%%cent")])


def text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def line_of(meaning: Meaning, below: Path, files: Iterable[bytes], broken: bool) -> dict[str, object]:
    """Return the object of a partition whose path is `below` the directory of the manifest."""
    shown = text(b"/".join(below))
    assert not isinstance(meaning, Ambiguous)
    series, date = meaning.key
    return {
        "path": shown,
        "run_id": text(meaning.run_id),
        "source": text(series.source),
        "customer_id": text(series.customer_id),
        "query_name": text(series.query_name),
        "logical_date": render_date(date).decode(),
        "record_count": None if meaning.record_count == NOT_SET else meaning.record_count,
        "schema_version": None if meaning.schema_version is None else text(meaning.schema_version),
        "updated_at": None if meaning.updated_at_ns == NOT_SET else render_time(meaning.updated_at_ns).decode(),
        "files": [f"{shown}/{text(file)}" for file in files],
        "broken": True if broken else None,
    }


def ambiguous_line(path: Path, below: Path, files: Iterable[bytes], of: CatalogShape) -> dict[str, object]:
    """Return the object of a path that more than one row claims."""
    shown = text(b"/".join(below))
    found = of.layout.read(path)
    assert found is not None
    series, date = found
    return {
        "path": shown,
        "run_id": None,
        "source": text(series.source) if of.layout.shows_source else None,
        "customer_id": text(series.customer_id),
        "query_name": text(series.query_name),
        "logical_date": render_date(date).decode(),
        "record_count": None,
        "schema_version": None,
        "updated_at": None,
        "files": [f"{shown}/{text(file)}" for file in files],
        "broken": True,
    }


def whole(manifest: Manifest, broken: Mapping[SeriesKey, set[int]] | None = None) -> bytes:
    """Return all bytes, piece by piece, each of which must be as long as it was said to be."""
    parts = []
    for number in manifest.pieces(0, manifest.size):
        begin, end = manifest.span(number)
        part = manifest.render(number, broken or {})
        assert len(part) == end - begin
        parts.append(part)
    data = b"".join(parts)
    assert len(data) == manifest.size
    return data


def manifest_of(catalog: Catalog, path: Path, form: Form, files: tuple[bytes, ...] = FILES) -> Manifest:
    found = Manifest.of(catalog, path, form, files)
    assert found is not None
    return found


def in_order(objects: Iterable[dict[str, object]]) -> list[str]:
    return sorted(json.dumps(one, sort_keys=True) for one in objects)


def check(rows: list[Row], of: CatalogShape, files: tuple[bytes, ...], piece_rows: int) -> None:
    """Compare the manifests of every directory, in every form, with what the rows say."""
    catalog, meanings = build(rows, of=of), model(rows, of)
    ready = [meaning for meaning in meanings.values() if not isinstance(meaning, Ambiguous)]
    broken: dict[SeriesKey, set[int]] = {}
    for one in ready[::2]:
        broken.setdefault(one.key.series, set()).add(one.key.date)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_module, "PIECE_ROWS", piece_rows)
        for path, _ in directories(catalog):
            here = {full: meaning for full, meaning in meanings.items() if full[: len(path)] == path}
            below = {full: full[len(path) :] for full in here}
            expected = [
                ambiguous_line(full, below[full], files, of)
                if isinstance(meaning, Ambiguous)
                else line_of(meaning, below[full], files, meaning.key.date in broken.get(meaning.key.series, ()))
                for full, meaning in here.items()
            ]
            manifest = manifest_of(catalog, path, Form.JSONL, files)
            lines = whole(manifest, broken).split(b"\n")
            assert lines.pop() == b""
            assert in_order(map(json.loads, lines)) == in_order(expected)
            assert len(whole(manifest)) == manifest.size  # what is known to be broken makes no difference
            paths = sorted(b"/".join((*names, file)) for names in below.values() for file in files)
            for form, end in ((Form.PATHS0, b"\0"), (Form.PATHS, b"\n")):
                found = whole(manifest_of(catalog, path, form, files)).split(end)
                assert found.pop() == b""
                assert sorted(found) == paths
    assert Manifest.of(catalog, (b"nothing",), Form.JSONL, files) is None


@settings(max_examples=50)
@given(ROWS, SHAPES, st.integers(1, 4))
@example(
    [Row(date=JUNE_1 + day) for day in (-366, 0, 1, 30, 365, 3652)],
    shape("{day}/{customer_id}/{month}/{query_name}/{year}"),
    2,
)
@example(
    [Row(date=JUNE_1 + day) for day in (-152, 0, 29, 30, 213, 214)],
    shape("{year}/{customer_id}/{month}/{query_name}/{day}"),
    2,
)
def test_manifest_is_what_the_rows_say_in_every_layout(rows: list[Row], of: CatalogShape, piece_rows: int) -> None:
    """V25: also where rows claim one path, cannot be shown, or lie in several pieces."""
    check(rows, of, FILES, piece_rows)


@settings(max_examples=50)
@given(STRANGE_ROWS, SHAPES, STRANGE_FILES)
def test_strange_texts_are_valid_json_and_exact_paths(
    rows: list[Row], of: CatalogShape, files: tuple[bytes, ...]
) -> None:
    """V25: sizes are exact whatever has to be escaped, and `paths0` has the very bytes."""
    check(rows, of, files, 5)


def test_lines_are_in_the_order_of_series_and_their_dates() -> None:
    rows = [Row(customer=customer, date=JUNE_1 + day) for day in (2, 0, 1) for customer in (b"c2", b"c1")]
    for of in (shape(), shape("by-date")):
        lines = whole(manifest_of(build(rows, of=of), (), Form.JSONL)).splitlines()
        places = [(one["customer_id"], one["logical_date"]) for one in map(json.loads, lines)]
        assert places == sorted(places)


@pytest.mark.parametrize("template", ["plain", "by-date"])
def test_pieces_of_many_rows_join_without_a_gap(template: str) -> None:
    """V25: at each offset stand the bytes of the whole, though one series has several pieces, or one piece several."""
    # Two sources share the paths of one query, and claim some of them together.
    many = [
        Row(customer=b"many", date=JUNE_1 + day, run=b"r%d" % day, source=b"s%d" % (day % 2)) for day in range(2500)
    ]
    both = [
        Row(customer=b"many", date=JUNE_1 + 2500 + day, source=source) for day in range(9) for source in (b"a", b"s1")
    ]
    few = [Row(customer=b"few-%d" % number, date=JUNE_1 + day) for number in range(700) for day in range(3)]
    manifest = manifest_of(build(many + few + both, of=shape(template)), (), Form.JSONL)
    data = whole(manifest)
    places = [(one["customer_id"], one["logical_date"], one["run_id"]) for one in map(json.loads, data.splitlines())]
    assert len(places) == len({*places}) == len(many) + len(few) + len(both) // 2
    assert {run for _, _, run in places} == {None, "r1", *(f"r{day}" for day in range(2500))}
    assert len(manifest.pieces(0, manifest.size)) == 5
    for offset in range(0, manifest.size + 1000, 299_993):
        for size in (0, 1, 4096, 700_000):
            found = b"".join(manifest.render(number, {}) for number in manifest.pieces(offset, size))
            begin = manifest.span(manifest.pieces(offset, size)[0])[0] if found else offset
            assert found[offset - begin : offset - begin + size] == data[offset : offset + size]


def test_reading_takes_memory_for_a_piece_and_not_for_the_whole() -> None:
    """V25: an index and one piece are a small part of what is read."""
    rows = [Row(customer=b"c%d" % number, date=JUNE_1 + day) for number in range(40) for day in range(500)]
    catalog = build(rows)

    def read_whole() -> int:
        manifest = manifest_of(catalog, (), Form.JSONL)
        for number in manifest.pieces(0, manifest.size):
            manifest.render(number, {})
        return manifest.size

    size = read_whole()  # texts of dates are remembered, for all manifests together
    tracemalloc.start()
    try:
        read_whole()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 5_000_000
    assert peak < size / 3
