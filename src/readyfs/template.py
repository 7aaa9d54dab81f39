"""Components of path templates: literal text with a field in it, or with parts of the date.

Used by `layout`. A name that was made of a component can be read back: a field stands alone in its component, and the
parts of a date have a fixed width each, so that several of them may share one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from readyfs.partition import render_date

_YEAR: Final = rb"(?P<year>[0-9]{4})"
_MONTH: Final = rb"(?P<month>[0-9]{2})"
_DAY: Final = rb"(?P<day>[0-9]{2})"
_DATE_PATTERNS: Final[Mapping[str, bytes]] = {
    "logical_date": _YEAR + b"-" + _MONTH + b"-" + _DAY,
    "year": _YEAR,
    "month": _MONTH,
    "day": _DAY,
}
_DATE_PLACES: Final[Mapping[str, slice]] = {
    "logical_date": slice(0, 10),
    "year": slice(0, 4),
    "month": slice(5, 7),
    "day": slice(8, 10),
}
"""Where the parts stand in `YYYY-MM-DD`."""
DATE_PARTS: Final = ("year", "month", "day")
DATE_FIELDS: Final = ("logical_date", *DATE_PARTS)

_COMPONENT: Final = re.compile(r"[^{}]*(?:\{[a-z_]+\}[^{}]*)*")
_FIELD: Final = re.compile(r"\{([a-z_]+)\}")


class Component(NamedTuple):
    """Literal text around one field, or without a field."""

    prefix: bytes
    field: str | None
    suffix: bytes

    def around(self, name: bytes) -> bytes:
        """Return the name that a value makes."""
        return self.prefix + name + self.suffix

    def within(self, name: bytes) -> bytes | None:
        """Return what stands in a name in place of the field; None if the literal text around it is another."""
        begin, end = len(self.prefix), len(name) - len(self.suffix)
        if begin > end or not (name.startswith(self.prefix) and name.endswith(self.suffix)):
            return None
        return name[begin:end]


@dataclass(frozen=True, slots=True)
class DateComponent:
    """Literal text around parts of the date; `texts` has one more than `fields`."""

    texts: tuple[bytes, ...]
    fields: tuple[str, ...]
    pattern: re.Pattern[bytes]

    def name_of(self, date: int) -> bytes:
        """Return the name of a date."""
        day, texts = render_date(date), self.texts
        if len(texts) == 2:
            return texts[0] + day[_DATE_PLACES[self.fields[0]]] + texts[1]
        parts = (day[_DATE_PLACES[field]] + text for field, text in zip(self.fields, texts[1:], strict=True))
        return texts[0] + b"".join(parts)

    def parts_of(self, name: bytes) -> Mapping[str, bytes] | None:
        """Return what of a date a name tells, by `year`, `month` and `day`; None if it is no name of this kind."""
        match = self.pattern.fullmatch(name)
        return None if match is None else match.groupdict()


def parse_component(text: str) -> Component | DateComponent | None:
    """Return what a component of a template means; None if it is no text with fields in it.

    Raises `ValueError` if its fields cannot share one component.
    """
    if _COMPONENT.fullmatch(text) is None:
        return None
    texts, fields = _FIELD.split(text)[::2], tuple(_FIELD.findall(text))
    encoded = tuple(map(str.encode, texts))
    if fields and all(field in DATE_FIELDS for field in fields):
        if len(set(fields)) != len(fields) or ("logical_date" in fields and len(fields) > 1):
            raise ValueError("the date stands twice")
        pattern = re.escape(encoded[0])
        for field, following in zip(fields, encoded[1:], strict=True):
            pattern += _DATE_PATTERNS[field] + re.escape(following)
        return DateComponent(encoded, fields, re.compile(pattern, re.DOTALL))
    if len(fields) > 1:
        raise ValueError("its fields could not be told apart in a name")
    return Component(encoded[0], fields[0] if fields else None, encoded[1] if fields else b"")
