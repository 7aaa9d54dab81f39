"""Values of every type in a real PostgreSQL: a value means the same however its table is read, and fails no other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

import pytest

from readyfs.partition import WithheldReason
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.store import StateLoad, StateStore, StateTable
from tests.postgres.database import READER, StateDatabase
from tests.state.comparing import contents_of

NUMBERS: Final = (1, 2, 3, 4)
KEY: Final = "source, customer_id, query_name, logical_date"
DAY: Final = "DATE '2024-01-01' + {i}"
PLAIN: Final = {
    "source": ("text", "'s1'"),
    "customer_id": ("text", "'c{i}'"),
    "query_name": ("text", "'q1'"),
    "logical_date": ("date", DAY),
    "status": ("text", "'success'"),
    "current_run_id": ("text", "'r{i}'"),
    "updated_at": ("timestamptz", "TIMESTAMPTZ '2024-06-02T05:00:00.123456Z'"),
    "record_count": ("bigint", "{i}"),
    "schema_version": ("text", "'v'"),
}
MATRIX: Final = {
    "text": {},
    "padded": {
        "source": ("char(6)", "'s1'"),
        "customer_id": ("char(8)", "'c{i}'"),
        "query_name": ("char(5)", "'q1'"),
        "logical_date": ("char(12)", f"to_char({DAY}, 'YYYY-MM-DD')"),
        "status": ("char(10)", "'success'"),
        "current_run_id": ("char(20)", "'r{i}'"),
        "updated_at": ("char(40)", "'2024-06-02T05:00:00Z'"),
        "record_count": ("char(9)", "'{i}'"),
        "schema_version": ("char(4)", "'v'"),
    },
    "blanks that were stored": {"customer_id": ("varchar(8)", "'c{i} '"), "current_run_id": ("text", "'r{i} '")},
    "domains": {
        "source": ("padded", "'s1'"),
        "customer_id": ("named", "'c{i}'"),
        "logical_date": ("day", DAY),
        "status": ("named", "'success'"),
        "current_run_id": ("padded", "'r{i}'"),
        "updated_at": ("moment", "CASE {i} WHEN 1 THEN '-infinity' WHEN 2 THEN '0044-03-15 BC' ELSE '2024-06-02Z' END"),
    },
    "domains over times": {
        "logical_date": ("day", f"CASE {{i}} WHEN 1 THEN 'infinity' ELSE {DAY} END"),
        "current_run_id": ("moment", "CASE {i} WHEN 2 THEN 'infinity' ELSE '2024-06-02 04:05:06.7Z' END"),
    },
    "numbers": {
        "source": ("smallint", "7"),
        "customer_id": ("integer", "{i}"),
        "query_name": ("bigint", "-{i}"),
        "logical_date": ("integer", "20240100 + {i}"),
        "status": ("integer", "1"),
        "current_run_id": ("numeric(9, 2)", "{i}"),
        "updated_at": ("bigint", "1717304400::bigint * ({i} - 2)"),
        "record_count": ("numeric(9, 2)", "{i} + 0.5 * ({i} %% 2)"),
    },
    "floats": {
        "status": ("float8", "1"),
        "updated_at": ("float8", "1717304400.5"),
        "record_count": ("float4", "{i} + 0.5 * ({i} %% 2)"),
        "schema_version": ("float8", "{i}"),
    },
    "booleans": {"status": ("boolean", "true"), "schema_version": ("boolean", "{i} = 1")},
    "words": {"source": ("word", "'tab'"), "status": ("word", "'success'"), "current_run_id": ("uuid", "md5('{i}')")},
    "bytes": {"customer_id": ("bytea", "'\\x63ff3{i}'"), "current_run_id": ("bytea", "'r{i}'")},
    "bits": {"status": ("bit(1)", "B'1'"), "current_run_id": ("bit(4)", "{i}::bit(4)")},
    "json": {
        "status": ("jsonb", "'\"success\"'"),
        "current_run_id": ("jsonb", "(ARRAY['\"r1\"', '2', '{{}}', 'null'])[{i}]"),
        "schema_version": ("json", "(ARRAY['\"\\u0076\"', '2', 'true', 'null'])[{i}]"),
    },
    "times": {
        "customer_id": ("timestamp", "'2024-06-02 04:05:06.7890{i}'"),
        "query_name": ("date", "(ARRAY['2024-06-02', 'infinity', '0044-03-15 BC', '12024-01-01'])[{i}]"),
        "logical_date": ("timestamptz", f"({DAY})::timestamp AT TIME ZONE 'UTC' + interval '1 hour' * ({{i}} %% 2)"),
        "current_run_id": ("timestamptz", "'2024-06-02 04:05:06.7890{i}+02'"),
        "updated_at": ("timestamp", "(ARRAY['infinity', '0044-03-15 BC', '12024-01-01', '2300-01-01'])[{i}]"),
        "schema_version": ("timestamp", "'2024-06-02'"),
    },
    "what is no value of ours": {
        "current_run_id": ("text[]", "ARRAY['r{i}']"),
        "schema_version": ("daterange", "daterange('2024-01-01', 'infinity')"),
        "record_count": ("interval", "interval '200000000 days'"),
        "updated_at": ("time", "'24:00'"),
    },
}
READY: Final = {"numbers": "1", "floats": "1", "booleans": "yes", "bits": "on"}


def make_table(database: StateDatabase, name: str, columns: dict[str, tuple[str, str]], rest: str = "") -> None:
    types = ", ".join(f"{column} {type_name}" for column, (type_name, _) in columns.items())
    database.execute(f"CREATE TABLE {name} ({types}, PRIMARY KEY ({KEY})) {rest}")
    database.execute(f"GRANT SELECT ON {name} TO {READER}")


def fill(database: StateDatabase, name: str, columns: dict[str, tuple[str, str]]) -> None:
    rows = (
        ", ".join(
            f"({value.replace('{{', '{').replace('}}', '}').replace('{i}', str(i)).replace('%%', '%')})::{type_name}"
            for type_name, value in columns.values()
        )
        for i in NUMBERS
    )
    with database.connect() as session:
        for row in rows:
            session.execute(f"INSERT INTO {name} SELECT {row}".encode())


@pytest.fixture
def typed(postgres: StateDatabase) -> StateDatabase:
    """A database without its table, with types of its own, and a way to read it as if it were another server."""
    postgres.execute(
        "DROP TABLE partition_state; CREATE TYPE word AS ENUM ('pending', 'success', 'tab');"
        "CREATE DOMAIN padded AS char(7); CREATE DOMAIN short AS varchar(9); CREATE DOMAIN named AS short;"
        "CREATE DOMAIN day AS date; CREATE DOMAIN moment AS timestamptz;"
        "CREATE EXTENSION postgres_fdw;"
        f"CREATE SERVER itself FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{postgres.server.directory}', "
        f"port '{postgres.server.port}', dbname '{postgres.name}');"
        f"CREATE USER MAPPING FOR {READER} SERVER itself OPTIONS (user 'postgres', password_required 'false')"
    )
    return postgres


def quote(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


@contextmanager
def reading(database: StateDatabase, table: str, ready: str = "success") -> Iterator[StateStore]:
    with closing(open_state(database.url(), StateTable(table, ready=ready), Filters(), 5)) as store:
        yield store


def meaning_of(load: StateLoad) -> tuple[object, ...]:
    subjects = sorted((example.reason, example.subject) for example in load.withheld.examples)
    return contents_of(load.series), load.rows, dict(load.withheld.counts), subjects


@pytest.mark.parametrize("kind", MATRIX)
def test_value_means_the_same_on_every_route(typed: StateDatabase, kind: str) -> None:
    """V12, V15: in chunks, by row address, row by row, and through whatever shows the rows of another relation."""
    columns: dict[str, tuple[str, str]] = {**PLAIN, **MATRIX[kind]}
    ready = READY.get(kind, "success")
    make_table(typed, "plain", columns)
    fill(typed, "plain", columns)
    make_table(typed, "parted", columns, "PARTITION BY HASH (customer_id)")
    typed.execute("CREATE TABLE part PARTITION OF parted FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    fill(typed, "parted", columns)
    types = ", ".join(f"{column} {type_name}" for column, (type_name, _) in columns.items())
    typed.execute(
        "CREATE VIEW shown AS SELECT * FROM plain; CREATE MATERIALIZED VIEW kept AS SELECT * FROM plain;"
        f"CREATE FOREIGN TABLE far ({types}) SERVER itself OPTIONS (table_name 'plain');"
        f"GRANT SELECT ON shown, kept, far TO {READER}"
    )
    with reading(typed, "plain", ready) as plain, reading(typed, "parted", ready) as parted:
        expected = meaning_of(plain.load())
        assert expected[1] == len(NUMBERS), "every row is ready"
        assert meaning_of(parted.load()) == expected
        for relation in ("shown", "kept", "far"):
            with reading(typed, relation, ready) as store:
                assert meaning_of(store.load()) == expected, relation
        typed.execute("UPDATE plain SET record_count = record_count; UPDATE parted SET record_count = record_count")
        assert meaning_of(plain.load()) == expected, "by row address, where that can be"
        assert meaning_of(parted.load()) == expected
        # While it is open: the table is read row by row from then on.
        typed.execute("ALTER TABLE plain ENABLE ROW LEVEL SECURITY; CREATE POLICY all_of_it ON plain USING (true)")
        assert meaning_of(plain.load()) == expected, "row by row"


RUN_IDS: Final[dict[str, dict[str, bytes | None]]] = {
    "timestamptz": {
        "2024-06-02 04:05:06Z": b"2024-06-02T04:05:06.000Z",
        "2024-06-02 04:05:06.7Z": b"2024-06-02T04:05:06.700Z",
        "2024-06-02 04:05:06.789+02": b"2024-06-02T02:05:06.789Z",
        "2024-06-02 04:05:06.789012Z": b"2024-06-02T04:05:06.789012Z",
        "0001-01-01 00:00Z": b"0001-01-01T00:00:00.000Z",
        "9999-12-31 23:59:59.999999Z": b"9999-12-31T23:59:59.999999Z",
        **dict.fromkeys(("infinity", "-infinity", "0044-03-15 BC", "12024-01-01")),
    },
    "moment": {"2024-06-02 04:05:06.789Z": b"2024-06-02T04:05:06.789Z", "infinity": None, "0044-03-15 BC": None},
    "timestamp": {
        "2024-06-02 04:05:06": b"2024-06-02T04:05:06.000",
        "2024-06-02 04:05:06.789012": b"2024-06-02T04:05:06.789012",
        "2024-06-01 24:00": b"2024-06-02T00:00:00.000",
        **dict.fromkeys(("infinity", "-infinity", "0044-03-15 BC", "12024-01-01")),
    },
    "day": {"2024-06-02": b"2024-06-02", "infinity": None, "-infinity": None, "0044-03-15 BC": None},
    "numeric(40, 3)": {"42": b"42", "1e30": b"1" + b"0" * 30, "-7": b"-7", "1.5": None, "NaN": None},
    "uuid": {"00000000-0000-0000-0000-00000000000A": b"00000000-0000-0000-0000-00000000000a"},
    "bytea": {"\\xff00": b"\xff\x00", "abc": b"abc"},
    "jsonb": {'"abc"': b"abc", "5": b"5", "true": None, "1.5": None, '{"a": 1}': None},
    "json": {"[1]": None, '"\\ud800"': None, "[" * 5000 + "]" * 5000: None, "9" * 5000: None},
    "bit(3)": {"101": b"101"},
    "money": {"12.34": b"$12.34"},
    "xml": {"<a/>": b"<a/>"},
    "macaddr": {"08:00:2b:01:02:03": b"08:00:2b:01:02:03"},
    "char(7)": {"a b": b"a b"},
    "boolean": {"true": None},
    "float8": {"1.5": None, "infinity": None},
    "inet": {"10.0.0.1": None},
    "time": {"24:00": None},
    "interval": {"3 mons": None, "200000000 days": None},
    "daterange": {"[2024-01-01,infinity)": None},
    "date[]": {"{2024-01-01,infinity}": None},
}
"""By type and value: the run id, None for a bad row. What is served was spelled so when the driver converted it."""


def test_run_id_of_any_type_has_one_spelling_or_is_a_bad_row(typed: StateDatabase) -> None:
    """V15: what Python cannot hold fails no other row; whatever the role has set, values are spelled as ever."""
    settings = (
        "bytea_output = 'escape'",
        "extra_float_digits = -10",
        "datestyle = 'German'",
        "timezone = 'Asia/Tokyo'",
    )
    with typed.connect() as session:
        for setting in settings:
            session.execute(f"ALTER ROLE {READER} IN DATABASE {typed.name} SET {setting}".encode())
        for type_name, run_ids in RUN_IDS.items():
            columns = {**PLAIN, "current_run_id": (type_name, "")}
            make_table(typed, "plain", columns)
            for i, value in enumerate([*run_ids, None]):
                row = ("s1", f"c{i}", "q1", "2024-01-01", "success", value, "2024-06-02Z", "1", "v")
                cells = ", ".join("NULL" if cell is None else quote(cell) for cell in row)
                session.execute(f"INSERT INTO plain ({', '.join(columns)}) VALUES ({cells})".encode())
            session.execute("CREATE VIEW shown AS SELECT * FROM plain")
            session.execute(f"GRANT SELECT ON shown TO {READER}".encode())
            for relation in ("plain", "shown"):
                with reading(typed, relation) as store:
                    load = store.load()
                found = {key.customer_id: list(rows.run_ids) for key, rows in load.series.items()}
                expected = {b"c%d" % i: [run_id] for i, run_id in enumerate(run_ids.values()) if run_id is not None}
                assert found == expected, (type_name, relation)
                bad = sum(run_id is None for run_id in run_ids.values())
                assert load.withheld.counts[WithheldReason.NO_RUN_ID] == 1
                assert load.withheld.counts.get(WithheldReason.BAD_ROW, 0) == bad, (type_name, relation)
            session.execute("DROP TABLE plain CASCADE")


STATUSES: Final = [
    ("boolean", "true", ("TRUE", "1"), ("success",)),
    ("boolean", "false", ("off",), ("true",)),
    ("bit(1)", "1", ("1", "true"), ("success",)),
    ("bit(3)", "101", ("101",), ("1",)),
    ("integer", "1", ("1",), ("success",)),
    ("numeric(5, 2)", "1", ("1", "1.00"), ("success",)),
    ("float8", "1.5", ("1.5",), ("success",)),
    ("jsonb", '"success"', ("success", '"success"'), ("{",)),
    ("json", '"a\\u0000"', (), ("success",)),
    ("text[]", "{success}", ("{success}",), ("success",)),
    ("word", "success", ("success",), ("ready",)),
    ("char(9)", "success", ("success", "success  "), ("Success",)),
    ("text", "success", ("success",), ("success ",)),
    ("text COLLATE anyhow", "success", ("success",), ("Success",)),
    ("bytea", "success", ("success",), ("\\x",)),
    ("date", "2024-06-01", ("2024-06-01",), ("success",)),
    ("uuid", "00000000-0000-0000-0000-00000000000a", (), ("success",)),
]
"""Type, value, words for which that is ready, and words for which it is not."""


def test_status_of_any_type_is_compared_as_text(typed: StateDatabase) -> None:
    """V1: no word is an error, a table and a view over it agree, and the case is as it is."""
    typed.execute("CREATE COLLATION anyhow (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    columns = {f"status_{number}": (kind, quote(value)) for number, (kind, value, *_) in enumerate(STATUSES)}
    keyed = {**PLAIN, **columns}
    make_table(typed, "plain", keyed)
    typed.execute(
        f"INSERT INTO plain ({KEY}, current_run_id, {', '.join(columns)}) VALUES "
        f"('s1', 'c1', 'q1', '2024-01-01', 'r1', {', '.join(value for _, value in columns.values())})"
    )
    typed.execute(f"CREATE VIEW shown AS SELECT * FROM plain; GRANT SELECT ON shown TO {READER}")
    for status, (kind, _, ready, unready) in zip(columns, STATUSES, strict=True):
        for word in (*ready, *unready):
            for relation in ("plain", "shown"):
                table = StateTable(relation, status=status, ready=word)
                with closing(open_state(typed.url(), table, Filters(), 5)) as store:
                    assert store.load().rows == (word in ready), (kind, relation, word)


def test_index_on_the_status_serves_a_view(typed: StateDatabase) -> None:
    """Nothing stands around a status that is text: a view over a large table need not be read whole by the server."""
    make_table(typed, "plain", PLAIN)
    typed.execute(f"CREATE VIEW shown AS SELECT * FROM plain; GRANT SELECT ON shown TO {READER}")
    typed.execute(
        f"INSERT INTO plain ({KEY}, status, current_run_id) SELECT 's1', 'c' || i, 'q1', '2024-01-01', "
        "CASE WHEN i = 7 THEN 'success' ELSE 'pending' END, 'r1' FROM generate_series(1, 5000) AS i"
    )
    typed.execute("CREATE INDEX by_status ON plain (status)")
    typed.execute("VACUUM ANALYZE plain")
    with reading(typed, "shown") as store:
        assert store.load().rows == 1
    deadline = time.monotonic() + 10
    while typed.execute("SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE indexrelname = 'by_status'") == [(0,)]:
        assert time.monotonic() < deadline, "the index was not used"
        time.sleep(0.01)
