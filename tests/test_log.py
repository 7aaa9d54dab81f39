from __future__ import annotations

import datetime
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from readyfs.errors import UsageError
from readyfs.log import configure_logging, mask_passwords
from readyfs.log_words import LogFormat, LogLevel


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    logging.captureWarnings(False)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_auto_writes_json_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    structlog.get_logger("x").info("refreshed", appeared=3, path=Path("/mnt/ready"))
    record = json.loads(stream.getvalue())
    timestamp = datetime.datetime.fromisoformat(record.pop("timestamp"))
    assert timestamp.utcoffset() == datetime.timedelta(0)
    assert record == {"level": "info", "event": "refreshed", "appeared": 3, "path": "/mnt/ready"}


def test_auto_writes_readable_lines_on_a_terminal() -> None:
    stream = Terminal()
    configure_logging(stream=stream)
    structlog.get_logger("x").warning("state outage", cause="disk full", tries=2, stale=True)
    line = stream.getvalue()
    assert line.endswith('Z warning state outage  cause="disk full"  tries=2  stale=true\n')
    assert line.count("\n") == 1


@pytest.mark.parametrize("form", [LogFormat.HUMAN, LogFormat.JSON])
def test_control_characters_and_invalid_utf_8_are_escaped_everywhere(form: LogFormat) -> None:
    stream = io.StringIO()
    configure_logging(form, stream=stream)
    structlog.get_logger("x").info("a\nb", **{"k\n1": b"\xff\x1b[2J", "list": ["x\r", {"y\n": "\udcff"}]})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    assert "\\xff" in text
    assert "2J" in text


def test_values_that_json_has_no_form_for_are_still_written() -> None:
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, stream=stream)
    structlog.get_logger("x").info("odd", large=1 << 70, kind=LogFormat.JSON, words=frozenset({"a"}), nan=float("nan"))
    record = json.loads(stream.getvalue())
    assert (record["large"], record["kind"], record["words"], record["nan"]) == (str(1 << 70), "json", ["a"], None)


@pytest.mark.parametrize("form", [LogFormat.HUMAN, LogFormat.JSON])
def test_exception_is_logged_with_its_traceback_and_escaped(form: LogFormat) -> None:
    stream = io.StringIO()
    configure_logging(form, stream=stream)
    try:
        raise ValueError("bad \x1b value")
    except ValueError:
        structlog.get_logger("x").exception("failed")
    text = stream.getvalue()
    assert "Traceback" in text
    assert "\x1b" not in text
    assert ("\\\\x1b" if form is LogFormat.JSON else "\\x1b") in text
    if form is LogFormat.JSON:
        assert len(text.splitlines()) == 1


def test_standard_library_records_come_out_in_the_same_form() -> None:
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, stream=stream)
    logging.getLogger("library").error("lost %s\n", "it", extra={"host": "db\n"})
    record = json.loads(stream.getvalue())
    assert (record["event"], record["level"], record["host"]) == ("lost it\\n", "error", "db\\n")


def test_standard_library_exception_has_its_traceback() -> None:
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, stream=stream)
    try:
        raise ValueError("lost")
    except ValueError:
        logging.getLogger("library").exception("failed")
    assert "ValueError: lost" in json.loads(stream.getvalue())["exception"]


def test_warnings_come_out_in_the_same_form() -> None:
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old call", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    record = json.loads(stream.getvalue())
    assert record["level"] == "warning"
    assert "old call" in record["event"]


def test_less_severe_records_are_left_out() -> None:
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, LogLevel.WARNING, stream=stream)
    structlog.get_logger("x").info("quiet")
    logging.getLogger("library").info("quiet too")
    structlog.get_logger("x").warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_logger_obtained_before_configuration_follows_it() -> None:
    early = structlog.get_logger("early")
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, stream=stream)
    early.info("hello")
    assert json.loads(stream.getvalue())["event"] == "hello"


def test_second_configuration_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(LogFormat.JSON, stream=first)
    configure_logging(LogFormat.JSON, stream=second)
    structlog.get_logger("x").info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def test_log_file_is_appended_to_and_survives_copytruncate(tmp_path: Path) -> None:
    file = tmp_path / "readyfs.log"
    file.write_text("before\n")
    configure_logging(file=file, stream=Terminal())
    structlog.get_logger("x").info("one")
    assert len(file.read_text().splitlines()) == 2
    file.write_text("")
    structlog.get_logger("x").info("two")
    assert json.loads(file.read_text())["event"] == "two"


@pytest.mark.parametrize(
    ("name", "problem"),
    [("missing/x.log", "No such file"), ("file/x.log", "Not a directory"), ("directory", "Is a directory")],
)
def test_log_file_that_cannot_be_opened_is_a_usage_error(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    with pytest.raises(UsageError, match=f"{problem}.*--log-file"):
        configure_logging(file=tmp_path / name)


def test_log_file_that_may_not_be_written_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.log").write_text("")
    asked: list[Path] = []

    def refuse(path: Path, _mode: int, **_options: bool) -> bool:
        asked.append(path)
        return False

    monkeypatch.setattr(os, "access", refuse)
    for name in ("new.log", "old.log"):
        with pytest.raises(UsageError, match=r"Permission denied.*--log-file"):
            configure_logging(file=tmp_path / name)
    assert asked == [tmp_path, tmp_path / "old.log"]


def test_log_file_is_made_by_its_first_line(tmp_path: Path) -> None:
    file = tmp_path / "readyfs.log"
    configure_logging(file=file)
    assert not file.exists()
    structlog.get_logger("x").info("one")
    assert len(file.read_text().splitlines()) == 1


def test_log_file_that_goes_away_before_its_first_line_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    configure_logging(file=tmp_path / "logs" / "readyfs.log")
    (tmp_path / "logs").rmdir()
    structlog.get_logger("x").info("lost")


def test_log_that_cannot_be_written_raises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    stream.close()
    structlog.get_logger("x").info("lost")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://me:s3cret@db/x", "postgresql://me:***@db/x"),
        ("(postgresql+psycopg://:p@db)", "(postgresql+psycopg://:***@db)"),
        ("postgresql://me:p@ss@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me:p/s@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me@db:5432/x", "postgresql://me@db:5432/x"),
        ("/data/state.db", "/data/state.db"),
    ],
)
def test_passwords_in_urls_are_masked(text: str, masked: str) -> None:
    assert mask_passwords(text) == masked


def test_password_never_reaches_the_log() -> None:
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, stream=stream)
    try:
        raise ValueError("cannot open postgresql://me:s3cret@db/x")
    except ValueError:
        structlog.get_logger("x").exception("postgresql://me:s3cret@db/x", url="postgresql://me:s3cret@db/x")
    assert "s3cret" not in stream.getvalue()
    assert "***" in stream.getvalue()
