"""The words of --log-format and --log-level; apart from `log`, whose library is slow to import."""

from __future__ import annotations

from enum import StrEnum


class LogFormat(StrEnum):
    """The form of a log line; `auto` is human on a terminal and JSON otherwise."""

    AUTO = "auto"
    HUMAN = "human"
    JSON = "json"


class LogLevel(StrEnum):
    """The least severe level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
