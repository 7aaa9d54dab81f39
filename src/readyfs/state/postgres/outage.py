"""What an error of PostgreSQL or its driver means to an operator."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import psycopg
import sqlalchemy as sa

from readyfs.errors import StateError
from readyfs.state.store import StateTable
from readyfs.state.url import render_label, scrub
from readyfs.text import escape_text

_FILE_OF_HOME: Final = re.compile(r'"(/[^"]*/\.postgresql/[^"/]+)"')
"""A file that libpq looks for (PostgreSQL documentation, section 34.19 "SSL Support"), as its messages name it."""


def explain_outage(error: Exception, table: StateTable, url: sa.URL, timeout_s: float) -> StateError:
    """Return the outage that an error stands for, without any secret of the URL."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, psycopg.errors.LockNotAvailable):
        words = f"table {escape_text(table.table)} was locked for {timeout_s:g} s"
    else:
        words = scrub(str(cause), url) or type(cause).__name__
    return StateError(f"state store {render_label(url)} cannot be read: {words}", _choose_remedy(words))


def _choose_remedy(words: str) -> str:
    """Return what to do about an error; libpq looks for certificates in a home that may be somebody else's."""
    for path in _FILE_OF_HOME.findall(words):
        try:
            Path(path).stat()
        except PermissionError:
            return (
                "this user may not look into that directory: set HOME to one of its own, or have no certificate sent "
                "with PGSSLCERT=/nonexistent, or with sslcert=/nonexistent in the URL"
            )
        except OSError:
            continue
    return "check server, URL and rights"
