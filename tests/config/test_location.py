from __future__ import annotations

from pathlib import Path

import pytest

from readyfs.config.location import make_absolute
from readyfs.state.url import sqlite_path


@pytest.mark.parametrize(
    ("text", "absolute"),
    [
        ("state.db", "/base/state.db"),
        ("./a/../state.db", "/base/a/../state.db"),
        ("/state.db", "/state.db"),
        ("what?.db", "/base/what?.db"),
        ("sqlite:///state.db", "sqlite:////base/state.db"),
        ("sqlite+pysqlite:///a/state.db?mode=ro", "sqlite+pysqlite:////base/a/state.db?mode=ro"),
        ("sqlite:////state.db", "sqlite:////state.db"),
        ("sqlite:///file:state.db?mode=ro&uri=true", "sqlite:///file:/base/state.db?mode=ro&uri=true"),
        ("file:state.db", "file:/base/state.db"),
        ("file:///state.db", "file:///state.db"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        (":memory:", ":memory:"),
        ("postgresql://me:pw@db/x", "postgresql://me:pw@db/x"),
        ("s3://bucket/raw", "s3://bucket/raw"),
        ("", ""),
        ("~nobody-of-that-name/x", "/base/~nobody-of-that-name/x"),
    ],
)
def test_only_relative_paths_are_changed(text: str, absolute: str) -> None:
    assert make_absolute(text, lambda: Path("/base")) == absolute


def test_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert make_absolute("~/raw", lambda: Path("/base")) == "/home/me/raw"


@pytest.mark.parametrize("base", ["/with space", "/with?mark", "/with#hash", "/100%41", "/umläut"])
@pytest.mark.parametrize("text", ["state.db", "sqlite:///state.db", "file:state.db"])
def test_state_keeps_meaning_the_same_file_whatever_the_directory_is_called(base: str, text: str) -> None:
    assert sqlite_path(make_absolute(text, lambda: Path(base))) == Path(base, "state.db")


def test_base_is_not_asked_for_when_the_path_is_absolute() -> None:
    def fail() -> Path:
        raise AssertionError

    assert make_absolute("/raw", fail) == "/raw"
