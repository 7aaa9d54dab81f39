"""State URLs: which file they name, and that no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from readyfs.errors import UsageError
from readyfs.state.url import mask_url, parse_url, render_label, scrub, sqlite_path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/var/state.db", "/var/state.db"),
        ("/var/a b?c#d%20.db", "/var/a b?c#d%20.db"),
        ("sqlite:////var/state.db", "/var/state.db"),
        ("sqlite+pysqlite:////var/state.db", "/var/state.db"),
        ("sqlite:////var/state.db?timeout=5", "/var/state.db"),
        ("sqlite:///file:/var/state.db?uri=true", "/var/state.db"),
        ("sqlite:///file:///var/a%20b.db?mode=ro&uri=true", "/var/a b.db"),
        ("sqlite:///file://localhost/var/state.db?uri=true", "/var/state.db"),
        ("file:/var/a%3Fb.db?mode=ro", "/var/a?b.db"),
    ],
)
def test_sqlite_url_names_its_file(url: str, path: str) -> None:
    assert sqlite_path(url) == Path(path)


@pytest.mark.parametrize("url", ["state.db", "sqlite:///state.db", "file:state.db", "sqlite:///file:state.db?uri=true"])
def test_relative_path_is_made_absolute(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sqlite_path(url) == tmp_path / "state.db"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        ":memory:",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file:x?mode=memory&uri=true",
        "file::memory:",
    ],
)
def test_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="in memory"):
        sqlite_path(url)


@pytest.mark.parametrize(
    "url",
    ["", "sqlite://host/state.db", "sqlite+aiosqlite:///x.db", "sqlite:///x.db?vfs=other", "file://host/x", "a\0b"],
)
def test_sqlite_url_that_cannot_be_honoured_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        sqlite_path(url)


def test_other_database_has_no_path() -> None:
    assert sqlite_path("postgresql://db/pipeline") is None


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("/var/state.db", "/var/state.db"),
        ("/var/sta\nte.db", "/var/sta\\nte.db"),
        ("postgresql://db/pipeline", "postgresql://db/pipeline"),
        ("postgresql://reader@db/pipeline", "postgresql://reader@db/pipeline"),
        ("postgresql://reader:hunter2@db:5432/pipeline", "postgresql://reader:***@db:5432/pipeline"),
        ("postgresql://reader:hun@ter2@db/pipeline", "postgresql://reader:***@db/pipeline"),
        ("postgresql://reader:hun/ter?2@db/pipeline", "postgresql://reader:***@db/pipeline"),
        ("postgresql://reader:hun ter\n2@db/pipeline", "postgresql://reader:***@db/pipeline"),
        (
            "postgresql://db/p?user=u&password=hunter2&sslmode=require",
            "postgresql://db/p?user=u&password=***&sslmode=require",
        ),
        ("postgresql://db/p?sslpassword=hunter2", "postgresql://db/p?sslpassword=***"),
        ("postgresql://db/p?PassWord=hunter2", "postgresql://db/p?PassWord=***"),
        ("postgresql://db/p?pass%77ord=hunter2", "postgresql://db/p?pass%77ord=***"),
        ("mysql://db/p?ssl_key=/etc/key", "mysql://db/p?ssl_key=***"),
        ("not a url://reader:hunter2@", "not a url://reader:***@"),
    ],
)
def test_masked_url_shows_no_secret(url: str, masked: str) -> None:
    assert mask_url(url) == masked


@pytest.mark.parametrize(
    "words",
    [
        "connection to postgresql://reader:p%40ss%2Fw@db/x failed",
        "could not parse: host=db password=p@ss/w dbname=x",
        "password='p@ss/w'",
        "sslpassword = s3cret",
        "bad option s3cret",
        'FATAL: "p@ss/w"',
        "other://someone:else@host",
        "PASSWORD=else",
    ],
)
def test_driver_words_lose_every_spelling_of_a_secret(words: str) -> None:
    url = sa.make_url("postgresql://reader:p%40ss%2Fw@db/pipeline?sslpassword=s3cret")
    shown = scrub(words, url)
    assert "***" in shown
    assert not any(secret in shown for secret in ("p@ss/w", "p%40ss", "s3cret", "else"))


def test_driver_words_become_one_escaped_line() -> None:
    assert scrub("first\n  second\x1b[0m", sa.make_url("postgresql://db/x")) == "first second\\x1b[0m"


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("postgresql+psycopg://reader:hunter2@db:5433/pipeline?password=hunter2", "postgresql://db:5433/pipeline"),
        ("postgresql://reader@[::1]/pipeline", "postgresql://[::1]/pipeline"),
        ("postgresql:///pipeline", "postgresql:///pipeline"),
        ("postgresql:///pipeline?host=/run/postgresql", "postgresql:///pipeline"),
        ("postgresql://r:p@/pipeline?host=h1:5432&host=h2:5433", "postgresql://h1:5432,h2:5433/pipeline"),
        ("postgresql://r:p@/pipeline?host=h1,h2&port=5432,5433", "postgresql://h1:5432,h2:5433/pipeline"),
        ("postgresql://h1,h2/pipeline", "postgresql://h1,h2/pipeline"),
        ("postgresql://h1,h2:5433/pipeline", "postgresql://h1:5433,h2:5433/pipeline"),
        ("postgresql://unused/pipeline?host=h1&sslpassword=hunter2", "postgresql://h1/pipeline"),
    ],
)
def test_label_holds_no_user_password_or_query(url: str, label: str) -> None:
    assert render_label(sa.make_url(url)) == label


def test_hosts_as_libpq_writes_them_are_refused_with_the_form_that_works() -> None:
    with pytest.raises(UsageError) as refused:
        parse_url("postgresql://reader:hunter2@h1:5432,h2:5433/pipeline?sslmode=require")
    message = str(refused.value)
    assert "postgresql://reader:***@/pipeline?host=h1:5432&host=h2:5433" in message
    assert "hunter2" not in message
