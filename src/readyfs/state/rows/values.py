"""Judging one value: what a cell of the state table means as identifier, date, time or count, of whatever type it is.

A cell that has no meaning in its column raises `BadValueError`, which withholds its row (V15) and nothing else.
Text is handled as bytes, because what a producer stored need not be UTF-8.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from readyfs.partition import NOT_SET, parse_date
from readyfs.text import escape_text

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_SECOND_NS: Final = 1_000_000_000
_EARLIEST_NS: Final = 0
_LATEST_NS: Final = 2**63 - 1
"""What 63 bits hold ends in April 2262."""
_ENDLESS: Final = {b"infinity": _LATEST_NS, b"-infinity": _EARLIEST_NS}
"""PostgreSQL's words for times before and after all others."""
_BEYOND_CALENDAR: Final = re.compile(
    rb"[0-9]{4,6}-[0-9]{2}-[0-9]{2}(?: [0-9:.+-]+)? BC|[0-9]{5,6}-[0-9]{2}-[0-9]{2}(?: [0-9:.+-]+)?"
)
"""As PostgreSQL writes the times that Python's calendar does not have."""
_COUNT_LIMIT: Final = 2**63
_MAX_DIGITS: Final = 40
"""More than any 128-bit number needs; longer ones are not worth converting."""

_UNIX_UNITS: Final = ((10**11, _SECOND_NS), (10**14, 10**6), (10**17, 10**3))
"""Below each limit a bare number is seconds, milliseconds, microseconds; above all of them nanoseconds."""

_COMPACT_DATE: Final = re.compile(rb"[0-9]{8}")
_NUMBER: Final = re.compile(rb"-?[0-9]{1,19}(?:\.[0-9]{1,9})?")
_DIGITS: Final = re.compile(rb"[0-9]{1,19}")
_HYPHEN: Final = ord("-")
_SHOWN_CHARACTERS: Final = 80


class BadValueError(Exception):
    """The cell means nothing in its column; the text says why."""


@dataclass(frozen=True, slots=True)
class OddCell:
    """A cell that means nothing in any column, by its type or because no calendar has it: what it is, and its text."""

    kind: str
    text: bytes


_TRUTHS: Final = {
    **dict.fromkeys(("t", "true", "y", "yes", "on", "1"), True),
    **dict.fromkeys(("f", "false", "n", "no", "off", "0"), False),
}


def parse_truth(word: str) -> bool | None:
    """Return what a word says of a boolean, in any case of letters; None for one that says nothing."""
    return _TRUTHS.get(word.casefold())


def show_value(value: object) -> str:
    """Return a cell as short printable text for a log line."""
    if isinstance(value, bytes | bytearray | memoryview):
        shown = escape_text(bytes(value[: _SHOWN_CHARACTERS * 4]))
    elif isinstance(value, str):
        shown = escape_text(value[: _SHOWN_CHARACTERS * 4])
    elif value is None:
        shown = "NULL"
    elif isinstance(value, OddCell):
        shown = escape_text(value.text[: _SHOWN_CHARACTERS * 4])
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        shown = f"an integer of {value.bit_length()} bits"
    else:
        shown = f"{type(value).__name__} {escape_text(str(value))}"
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[: _SHOWN_CHARACTERS - 3] + "..."


def quote_value(value: object) -> str:
    """Return a cell as `show_value` does, text in quotes: what is empty or ends in a blank can be seen to."""
    is_text = isinstance(value, bytes | bytearray | memoryview | str | OddCell)
    return f"'{show_value(value)}'" if is_text else show_value(value)


def parse_id(value: object) -> bytes:
    """Return an identifier as bytes: text and blobs as stored, numbers in decimal, times in ISO 8601.

    A `datetime` with an offset becomes UTC with milliseconds (microseconds if it has them) and `Z`, the usual form
    of a run id. Booleans and floating-point numbers have no one spelling and are refused, as is NULL.
    """
    match value:
        case bytes():
            return value
        case str():
            return _encode(value)
        case bool():
            raise BadValueError("is a boolean, not an identifier")
        case int():
            return _render_integer(value)
        case bytearray() | memoryview():
            return bytes(value)
        case Decimal():
            return _render_integer(_integral(value))
        case UUID():
            return str(value).encode()
        case datetime.datetime():
            return _render_datetime(value)
        case datetime.date():
            return value.isoformat().encode()
        case None:
            raise BadValueError("is NULL")
        case _:
            raise BadValueError(f"is {_kind_of(value)}, not an identifier")


def parse_logical_date(value: object) -> int:
    """Return the ordinal of a calendar day.

    Takes `YYYY-MM-DD`, `YYYYMMDD` as text or integer, a date, and a timestamp that is midnight UTC (without an
    offset it is read as UTC): the day of any other moment would be a guess.
    """
    match value:
        case bytes():
            return _parse_date_text(value)
        case str():
            return _parse_date_text(_encode(value))
        case bool():
            raise BadValueError("is a boolean, not a date")
        case int() | Decimal():
            return _parse_date_text(_render_integer(_integral(value)))
        case datetime.datetime():
            return _midnight(value)
        case datetime.date():
            return value.toordinal()
        case bytearray() | memoryview():
            return _parse_date_text(bytes(value))
        case None:
            raise BadValueError("is NULL")
        case _:
            raise BadValueError(f"is {_kind_of(value)}, not a date")


def parse_updated_at(value: object) -> int:
    """Return UTC nanoseconds since the epoch, `NOT_SET` for NULL.

    Takes ISO 8601 text (without an offset it is UTC; digits beyond microseconds are cut), a `datetime`, a date, and a
    number since the epoch as number or text: seconds below 1e11, milliseconds below 1e14, microseconds below 1e17,
    nanoseconds above. It is only shown, so that what does not fit [0, 2**63) becomes the nearer end of that and
    withholds no row.
    """
    match value:
        case bytes():
            return _parse_time_text(value)
        case None:
            return NOT_SET
        case str():
            return _parse_time_text(_encode(value))
        case bool():
            raise BadValueError("is a boolean, not a time")
        case int() | float() | Decimal():
            return _parse_unix(value)
        case datetime.datetime():
            return _since_epoch(value)
        case datetime.date():
            return _since_epoch(datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC))
        case bytearray() | memoryview():
            return _parse_time_text(bytes(value))
        case _:
            raise BadValueError(f"is {_kind_of(value)}, not a time")


def parse_record_count(value: object) -> int:
    """Return a count in [0, 2**63) given as an integral number or as digits, `NOT_SET` for NULL."""
    match value:
        case bytes():
            count = _digits(value)
        case None:
            return NOT_SET
        case bool():
            raise BadValueError("is a boolean, not a count")
        case int() | Decimal() | float():
            count = _integral(value)
        case bytearray() | memoryview():
            count = _digits(bytes(value))
        case str():
            count = _digits(_encode(value))
        case _:
            raise BadValueError(f"is {_kind_of(value)}, not a count")
    if not 0 <= count < _COUNT_LIMIT:
        raise BadValueError("is negative or does not fit 63 bits")
    return count


def parse_schema_version(value: object) -> bytes | None:
    """Return the version as an identifier, None for NULL."""
    return None if value is None else parse_id(value)


def _kind_of(value: object) -> str:
    return value.kind if isinstance(value, OddCell) else f"a {type(value).__name__}"


def _encode(value: str) -> bytes:
    try:
        # Drivers that decode with surrogateescape get the stored bytes back.
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise BadValueError("holds a lone surrogate") from error


def _render_integer(value: int) -> bytes:
    if value.bit_length() > _MAX_DIGITS * 3:
        raise BadValueError("is too large a number")
    return b"%d" % value


def _integral(value: Decimal | float) -> int:
    if isinstance(value, Decimal) and value.adjusted() > _MAX_DIGITS:
        raise BadValueError("is too large a number")
    try:
        number = int(value)
    except (OverflowError, ValueError) as error:
        raise BadValueError("is not a finite number") from error
    if number != value:
        raise BadValueError("is not a whole number")
    return number


def _digits(text: bytes) -> int:
    if _DIGITS.fullmatch(text) is None:
        raise BadValueError("is not a whole number")
    return int(text)


def _render_datetime(value: datetime.datetime) -> bytes:
    suffix = ""
    if value.tzinfo is not None:
        value, suffix = _to_utc(value).replace(tzinfo=None), "Z"
    precision = "microseconds" if value.microsecond % 1000 else "milliseconds"
    return (value.isoformat(timespec=precision) + suffix).encode()


def _to_utc(value: datetime.datetime) -> datetime.datetime:
    try:
        return value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value.astimezone(datetime.UTC)
    except (OverflowError, ValueError) as error:
        raise BadValueError("is out of the calendar's range in UTC") from error


def _parse_date_text(text: bytes) -> int:
    if _COMPACT_DATE.fullmatch(text) is not None:
        text = b"-".join((text[:4], text[4:6], text[6:]))
    ordinal = parse_date(text)
    if ordinal is None and _is_timestamp(text):
        return _midnight(_parse_timestamp(text))
    if ordinal is None:
        raise BadValueError("is not a date")
    return ordinal


def _midnight(value: datetime.datetime) -> int:
    moment = _to_utc(value)
    if moment.time() != datetime.time.min:
        raise BadValueError("is not midnight UTC")
    return moment.toordinal()


def _is_timestamp(text: bytes) -> bool:
    # What ISO 8601 has besides (week dates, other separators) `fromisoformat` takes and we do not.
    return len(text) > 10 and text[4] == text[7] == _HYPHEN and text[10] in b"T "


def _parse_timestamp(text: bytes) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(text.decode("ascii"))
    except ValueError as error:
        raise BadValueError("is not a time") from error


def _parse_time_text(text: bytes) -> int:
    if _is_timestamp(text) and not text.endswith(b" BC"):
        return _since_epoch(_parse_timestamp(text))
    if _NUMBER.fullmatch(text) is not None:
        return _parse_unix(Decimal(text.decode("ascii")))
    if text in _ENDLESS:
        return _ENDLESS[text]
    if _BEYOND_CALENDAR.fullmatch(text) is not None:
        return _EARLIEST_NS if text.endswith(b" BC") else _LATEST_NS
    ordinal = parse_date(text)
    if ordinal is None:
        raise BadValueError("is not a time")
    return _clamp((ordinal - _EPOCH.toordinal()) * 86_400 * _SECOND_NS)


def _since_epoch(value: datetime.datetime) -> int:
    # Subtracting from an aware epoch is exact and never goes through a float, unlike `timestamp`.
    delta = (value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value) - _EPOCH
    ns = (delta.days * 86_400 + delta.seconds) * _SECOND_NS + delta.microseconds * 1_000
    return _clamp(ns)


def _parse_unix(value: Decimal | float) -> int:
    # Through the shortest text that gives a float: its binary value would show its rounding as nanoseconds.
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if number.is_nan():
        raise BadValueError("is not a number")
    if not 0 <= number <= _LATEST_NS:
        return _EARLIEST_NS if number < 0 else _LATEST_NS
    unit = next((unit for limit, unit in _UNIX_UNITS if number < limit), 1)
    return _clamp(int(number * unit))


def _clamp(ns: int) -> int:
    return min(max(ns, _EARLIEST_NS), _LATEST_NS)
