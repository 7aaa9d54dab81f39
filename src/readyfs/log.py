"""Logging: human-readable lines on a terminal, JSON lines anywhere else.

The rest of the code calls `structlog.get_logger(__name__)` and passes facts as keyword arguments. Records of the
standard library's `logging` and `warnings` come out in the same form. Whatever the form, one record is one line
(a traceback on a terminal excepted), each event, key and value is escaped, and a password in a URL is masked.

The log file is opened once, for appending, by the first line: rotate it with logrotate's `copytruncate`.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from readyfs.errors import UsageError
from readyfs.log_words import LogFormat, LogLevel
from readyfs.text import escape_text


def configure_logging(
    format: LogFormat = LogFormat.AUTO,
    level: LogLevel = LogLevel.INFO,
    file: Path | None = None,
    stream: TextIO | None = None,
) -> None:
    """Send every log record to `file`, or else to `stream` (stderr); a second call replaces the first.

    The file is made by the first line and not before. Raises `UsageError` when it could not be opened for appending.
    """
    stream = stream if stream is not None else sys.stderr
    if format is LogFormat.AUTO:
        format = LogFormat.HUMAN if file is None and stream.isatty() else LogFormat.JSON
    handler = _make_handler(file, stream)
    handler.setFormatter(_make_formatter(format))
    _replace_handler(handler, level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_FACTS,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def mask_passwords(text: str) -> str:
    """Return the text with the password of every URL in it replaced by `***`."""
    return _PASSWORD.sub(r"\1***@", text) if "://" in text else text


_FACTS: Final[tuple[Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
)
"""What each record gets, whoever logged it."""
_OURS: Final = "readyfs_handler"
# Greedy, because a password may hold `@` and `/`: rather too much than too little is hidden.
_PASSWORD: Final = re.compile(r"(://[^:/@\s]*:)[^\s\"']+@")
_LONGEST_INTEGER: Final = 1 << 63


class _LogFile(logging.FileHandler):
    """A file that is opened by its first line; a failure to open it is like any other failure to write."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)


def _make_handler(file: Path | None, stream: TextIO) -> logging.StreamHandler[TextIO] | logging.FileHandler:
    if file is None:
        return logging.StreamHandler(stream)
    check_log_file(file)
    return _LogFile(file, mode="a", encoding="utf-8", delay=True)


def _make_formatter(format: LogFormat) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        # Records of the standard library bring further facts of their own.
        foreign_pre_chain=[*_FACTS[:2], structlog.stdlib.ExtraAdder(), *_FACTS[2:]],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _escape_record,
            _render_human if format is LogFormat.HUMAN else _render_json,
        ],
    )


def _replace_handler(handler: logging.Handler, level: LogLevel) -> None:
    """Have the root logger, which all records reach, use this handler instead of our one before."""
    root = logging.getLogger()
    for old in [old for old in root.handlers if getattr(old, _OURS, False)]:
        root.removeHandler(old)
        old.close()
    setattr(handler, _OURS, True)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # A log that cannot be written (a closed pipe, a full disk) must neither raise nor write elsewhere.
    logging.raiseExceptions = False
    logging.captureWarnings(True)


def check_log_file(file: Path) -> None:
    """Raise `UsageError` if a log file could not be opened for appending by us as we are; opens nothing."""
    if (problem := _find_obstacle(file)) is not None:
        raise UsageError(
            f"cannot open the log file {escape_text(str(file))}: {os.strerror(problem)}",
            "make its directory and let the user that runs readyfs write there, or name another file with --log-file",
        )


def _find_obstacle(file: Path) -> int | None:
    """Return the errno with which opening a file for appending would fail, without opening it."""
    try:
        try:
            mode = file.stat().st_mode
        except FileNotFoundError:
            if not stat.S_ISDIR(file.parent.stat().st_mode):
                return errno.ENOTDIR
            return None if os.access(file.parent, os.W_OK | os.X_OK, effective_ids=True) else errno.EACCES
    except OSError as error:
        return error.errno
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    return None if os.access(file, os.W_OK, effective_ids=True) else errno.EACCES


def _clean(value: object) -> object:
    """Return a value that any renderer can show: printable text, numbers, lists and dicts of them."""
    match value:
        case None | bool() | float():
            return value
        case int():
            return int(value) if -_LONGEST_INTEGER <= value < _LONGEST_INTEGER else str(value)
        case str() | bytes():
            return mask_passwords(escape_text(value))
        case Mapping():
            return {str(_clean(str(key))): _clean(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean(item) for item in value]
        case _:
            return mask_passwords(escape_text(str(value)))


def _escape_record(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    exception = event_dict.pop("exception", None)
    record: EventDict = {escape_text(key): _clean(value) for key, value in event_dict.items()}
    if exception is not None:
        record["exception"] = "\n".join(str(_clean(line)) for line in str(exception).split("\n"))
    return record


def _render_json(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> str:
    first = {key: event_dict.pop(key) for key in ("timestamp", "level", "event") if key in event_dict}
    return orjson.dumps(first | dict(event_dict)).decode()


def _render_human(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> str:
    timestamp, level, event = (str(event_dict.pop(key, "")) for key in ("timestamp", "level", "event"))
    exception = event_dict.pop("exception", None)
    facts = "".join(f"  {key}={_render_value(value)}" for key, value in event_dict.items())
    line = f"{timestamp[:19]}Z {level:<7} {event}{facts}"
    return line if exception is None else f"{line}\n{exception}"


def _render_value(value: object) -> str:
    match value:
        case str():
            if value and not any(mark in value for mark in " =\"'"):
                return value
            return '"' + value.replace('"', '\\"') + '"'
        case bool() | None:
            return orjson.dumps(value).decode()
        case list() | dict():
            return orjson.dumps(value).decode()
        case _:
            return str(value)
