"""Scripts for DuckDB, run by DuckDB: whatever queries, customers and directories are called."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Final

import duckdb
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readyfs.consumer.duckdb_views import choose_file, render_views
from readyfs.errors import UsageError
from readyfs.layout import hive_escape

_NO_SURROGATES: Final = st.characters(codec="utf-8")
_SPITEFUL: Final = st.sampled_from(
    (
        '"',
        "'",
        "''",
        '"; DROP TABLE kept; --',
        "']); DROP TABLE kept; --",
        "\n",
        "--",
        "/*",
        "$$",
        "\\",
        "kept",
        ";",
        "\0",
    )
)
NAMES: Final = st.lists(st.one_of(_SPITEFUL, st.text(_NO_SURROGATES, min_size=1, max_size=4)), min_size=1, max_size=4)
QUERIES: Final = st.lists(NAMES.map("".join), min_size=1, max_size=3, unique_by=lambda name: name.encode().lower())


def write_rows(path: Path, rows: int) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f'{{"number":{number}}}\n' for number in range(rows)))
    return os.fsencode(path)


def run(script: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE kept AS SELECT 1")
    connection.execute(script)
    return connection


def views(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {
        name for (name,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    }


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@settings(max_examples=25, deadline=None)
@given(queries=QUERIES)
def test_every_query_is_one_view_whatever_it_is_called(
    queries: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    top = tmp_path_factory.mktemp('it\'s "here" [a] $$ --')
    files = {
        # Names of dates tell the files apart: those of queries may be one name but for their case.
        query: [write_rows(top / str(number) / os.fsdecode(hive_escape(query.encode())[:200]) / "p.jsonl", number + 1)]
        for number, query in enumerate(queries)
    }
    shown = {query: hive_escape(query.encode()).decode() if "\0" in query else query for query in queries}
    if "kept" in map(str.lower, shown.values()):
        return  # what is a table cannot be a view: DuckDB says so
    connection = run("".join(render_views(files, "p.jsonl", is_hive=False)))
    assert views(connection) == set(shown.values())
    for number, query in enumerate(queries):
        assert connection.execute(f"SELECT count(*) FROM {quoted(shown[query])}").fetchall() == [(number + 1,)]
    assert connection.execute("SELECT * FROM kept").fetchall() == [(1,)]


def test_views_hold_the_files_of_the_list_and_no_others(tmp_path: Path) -> None:
    files = defaultdict(list)
    for number in range(6):
        path = write_rows(tmp_path / str(number) / "p.jsonl", 10**number % 7)
        if number % 2:
            files["odd"].append(path)
    connection = run("".join(render_views(files, "p.jsonl", is_hive=False)))
    expected = sum(10**number % 7 for number in (1, 3, 5))
    assert connection.execute("SELECT count(*) FROM odd").fetchall() == [(expected,)]


def test_ten_thousand_files_are_one_view(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one", 1)
    paths = [os.fsencode(tmp_path / f"{number}.jsonl") for number in range(10_000)]
    for path in paths:
        os.link(one, path)
    connection = run("".join(render_views({"all": paths}, "p.jsonl", is_hive=False)))
    assert connection.execute('SELECT count(*), sum(number) FROM "all"').fetchall() == [(10_000, 0)]


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.tsv", "p.parquet", "p.jsonl.gz", "p.ndjson", "p.json"])
def test_reader_goes_by_the_name_of_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = "SELECT range AS number, 'a,b' AS text FROM range(5)"
    separator = "\t" if name == "p.tsv" else ","
    match name.removesuffix(".gz").rpartition(".")[2]:
        case "parquet":
            pyarrow.parquet.write_table(pyarrow.table({"number": range(5), "text": ["a,b"] * 5}), path)
        case "csv" | "tsv":
            run(f"COPY ({rows}) TO '{path}' (FORMAT csv, DELIMITER '{separator}')").fetchall()
        case _:
            run(f"COPY ({rows}) TO '{path}' (FORMAT json)").fetchall()
    connection = run("".join(render_views({"q": [os.fsencode(path)]}, name, is_hive=False)))
    assert connection.execute("SELECT sum(number), min(text) FROM q").fetchall() == [(10, "a,b")]


def test_hive_directories_give_columns_of_text(tmp_path: Path) -> None:
    """V12: `%2F` stands for a slash, and an id keeps its zeros beside one that has none."""
    paths = [
        write_rows(tmp_path / f"customer_id={name}" / "logical_date=2024-06-01" / "p.jsonl", 1)
        for name in ("0012", "a%2Fb")
    ]
    connection = run("".join(render_views({"q": paths}, "p.jsonl", is_hive=True)))
    found = connection.execute("SELECT customer_id, logical_date FROM q ORDER BY ALL").fetchall()
    assert found == [("0012", "2024-06-01"), ("a/b", "2024-06-01")]
    connection = run("".join(render_views({"q": paths}, "p.jsonl", is_hive=False)))
    assert connection.execute("SELECT * FROM q").fetchall() == [(0,), (0,)]


def test_script_that_is_cut_short_makes_nothing(tmp_path: Path) -> None:
    files = {query: [write_rows(tmp_path / query / "p.jsonl", 1)] for query in ("a", "b")}
    script = "".join(render_views(files, "p.jsonl", is_hive=False)).removesuffix("COMMIT;\n")
    path = str(tmp_path / "new.db")
    with duckdb.connect(path) as connection:
        connection.execute(script)
    with duckdb.connect(path) as connection:
        assert views(connection) == set()


def test_queries_that_duckdb_takes_for_one_are_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "p.jsonl", 1)
    with pytest.raises(UsageError, match="queries Daily and daily have one name"):
        list(render_views({"daily": [path], "Daily": [path]}, "p.jsonl", is_hive=False))
    run("".join(render_views({"É": [path], "é": [path]}, "p.jsonl", is_hive=False)))


def test_path_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a\\xffb/p.jsonl, whose path is not UTF-8"):
        list(render_views({"q": [b"/mnt/a\xffb/p.jsonl"]}, "p.jsonl", is_hive=False))


@pytest.mark.parametrize(
    ("required", "chosen"),
    [
        (("payload.jsonl", "metadata.json"), "payload.jsonl"),
        (("metadata.json", "rows.parquet", "_SUCCESS"), "rows.parquet"),
        (("a.csv.gz",), "a.csv.gz"),
    ],
)
def test_the_one_table_of_the_required_files_is_chosen(required: tuple[str, ...], chosen: str) -> None:
    assert choose_file(required) == chosen


@pytest.mark.parametrize("required", [("metadata.json",), ("a.jsonl", "b.parquet"), ("data",)])
def test_more_or_less_than_one_table_has_to_be_named(required: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="name one with --file"):
        choose_file(required)


def test_unknown_ending_has_no_reader() -> None:
    with pytest.raises(UsageError, match=r"no reader of DuckDB is known for data\.orc; choose a file"):
        list(render_views({"q": [b"/data.orc"]}, "data.orc", is_hive=False))
