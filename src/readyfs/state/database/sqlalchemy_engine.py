"""From a database URL to SQLAlchemy's engine: which driver, with which time limits, and what to do about a missing one.

Used for every database server, PostgreSQL included; nothing connects here.
"""

from __future__ import annotations

import math
import shlex
import sys
from importlib.util import find_spec
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from readyfs.errors import StateError, UsageError
from readyfs.state.url import render_label, scrub
from readyfs.text import escape_text

_DRIVERS: Final = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
"""The drivers that our extras install; SQLAlchemy 2.0 would look for psycopg2 and MySQLdb."""

MYSQL_SESSION: Final = "SET time_zone = '+00:00', sql_mode = replace(@@SESSION.sql_mode, 'PAD_CHAR_TO_FULL_LENGTH', '')"
"""Has MySQL and MariaDB show TIMESTAMP columns in UTC, and CHAR(n) without the blanks that fill it up."""

_PACKAGES: Final = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pymysql": "PyMySQL[rsa]",
    "snowflake": "snowflake-sqlalchemy",
}
"""The package that brings a driver's module or dialect, where its name alone would not be enough."""


def choose_driver(url: sa.URL) -> sa.URL:
    """Let a URL that names no driver have one of our extras, where that is installed."""
    driver = _DRIVERS.get(url.drivername)
    if driver is not None and find_spec(driver) is not None:
        return url.set(drivername=f"{url.drivername}+{driver}")
    return url


def create_engine(url: sa.URL, timeout_s: float) -> sa.Engine:
    """Return an engine without a pool; raise `UsageError` or `StateError` for a dialect or driver that is not there."""
    try:
        dialect = url.get_dialect()
    except (NoSuchModuleError, ArgumentError) as error:
        if url.get_backend_name() == "postgres":
            raise UsageError(
                "state URL: the dialect is called postgresql", "write postgresql:// for postgres://"
            ) from error
        known = "sqlite, postgresql, mysql, mariadb, oracle, mssql"
        raise UsageError(
            f"state URL: SQLAlchemy has no dialect {escape_text(url.drivername)} (it brings {known})",
            "correct the URL, or install the package that brings the dialect",
        ) from error
    except ModuleNotFoundError as error:
        raise _missing_driver(url, error) from error
    if dialect.is_async:
        raise UsageError(
            f"state URL: driver {escape_text(url.drivername)} is asynchronous",
            "name a synchronous driver, such as postgresql+psycopg",
        )
    try:
        return sa.create_engine(
            url, poolclass=NullPool, hide_parameters=True, connect_args=_connect_arguments(url, timeout_s)
        )
    except ModuleNotFoundError as error:
        raise _missing_driver(url, error) from error
    except (ArgumentError, TypeError, ValueError) as error:
        raise UsageError(f"state URL of {render_label(url)}: {scrub(str(error), url)}", "correct the URL") from None


def _missing_driver(url: sa.URL, error: ModuleNotFoundError) -> StateError:
    module = (error.name or url.get_driver_name()).partition(".")[0]
    package = _PACKAGES.get(module, module)
    return StateError(
        f"the driver for {escape_text(url.drivername)} is not installed (no module {module})",
        # Ours and no other Python: after an install of its own readyfs does not see what the user's `pip` brings.
        f"{shlex.quote(sys.executable)} -m pip install '{package}'",
    )


def _connect_arguments(url: sa.URL, timeout_s: float) -> dict[str, object]:
    """Return the driver's own names for a time limit, except where the URL sets them."""
    seconds = max(2, math.ceil(timeout_s))  # libpq takes whole seconds and makes 2 of 1
    limits: dict[str, object]
    match url.get_driver_name():
        case "psycopg" | "psycopg2":
            limits = {"connect_timeout": seconds, "tcp_user_timeout": seconds * 1000}
            # Of a database in SQL_ASCII SQLAlchemy would get bytes, which it cannot read the server's version from.
            limits["client_encoding"] = "utf8"
        case "pg8000":
            limits = {"timeout": seconds}
        case "pymysql":
            limits = {"connect_timeout": seconds, "read_timeout": seconds}
        case "mysqldb":
            limits = {"connect_timeout": seconds}
        case _:
            limits = {}
    return {name: value for name, value in limits.items() if name not in url.query}
