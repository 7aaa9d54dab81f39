"""From a database URL to a driver: what is missing or makes no sense is refused, with a remedy and without secrets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from readyfs.errors import StateError, UsageError
from readyfs.state.database import sqlalchemy_engine as engine
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.store import StateTable


def open_url(url: str) -> None:
    open_state(url, StateTable(), Filters(), 0.5).close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql+mysqldb://reader:hunter2@db/x", "no module MySQLdb.*pip install 'mysqlclient'"),
        ("oracle+oracledb://reader:hunter2@db/x", "no module oracledb.*pip install 'oracledb'"),
        ("mssql+pyodbc://reader:hunter2@db/x", "no module pyodbc.*pip install 'pyodbc'"),
    ],
)
def test_driver_that_is_not_installed_is_named_with_its_package(url: str, message: str) -> None:
    with pytest.raises(StateError, match=message) as raised:
        open_url(url)
    assert "hunter2" not in str(raised.value)
    assert raised.value.remedy.startswith(f"{sys.executable} -m pip install "), "another Python's pip is of no use"


@pytest.mark.parametrize(
    ("dialect", "driver", "package"),
    [
        ("postgresql", "psycopg", r"psycopg\[binary\]"),
        ("postgresql", "psycopg2", "psycopg2-binary"),
        ("postgresql", "pg8000", "pg8000"),
        ("mysql", "pymysql", r"PyMySQL\[rsa\]"),
    ],
)
def test_missing_driver_is_named_with_its_package(
    dialect: str, driver: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(StateError, match=f"no module {driver}.*pip install '{package}'"):
        open_url(f"{dialect}+{driver}://db/x")


def test_database_that_would_be_created_is_no_driver_of_ours(tmp_path: Path) -> None:
    """V8: DuckDB makes the file that it does not find."""
    assert "duckdb" not in engine._PACKAGES
    with pytest.raises(UsageError, match="no dialect duckdb"):
        open_url(f"duckdb:///{tmp_path}/missing")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgres://reader:hunter2@db/x", "is called postgresql; write postgresql:// for postgres://"),
        ("nosql://reader:hunter2@db/x", "no dialect nosql"),
        ("postgresql+nodriver://reader:hunter2@db/x", "no dialect postgresql.nodriver"),
        ("postgresql+asyncpg://reader:hunter2@db/x", "asynchronous|not installed"),
        ("://reader:hunter2@db/x", "cannot be parsed"),
        ("postgresql://reader:hunter2@db:port/x", "cannot be parsed"),
    ],
)
def test_url_that_makes_no_sense_is_refused_without_its_secret(url: str, message: str) -> None:
    with pytest.raises((UsageError, StateError), match=message) as raised:
        open_url(url)
    assert "hunter2" not in str(raised.value)
