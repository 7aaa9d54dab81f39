"""What is asked over the public socket of how far series have come.

`{"op": "latest", "agreement": {...}, "filters": {...}, "after": null}` is answered by some series, in the order of
their keys, and by `next`: what to ask for `after` next, null at the end. The agreement holds the words of the options
of `readyfs latest`, the filters lists of patterns and the first and last date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from readyfs.control.messages import MalformedMessageError
from readyfs.control.public_fields import Fields, read_text_or_null

AGREEMENT_WORDS: Final = ("cadence", "day_tz", "warn", "crit", "sla", "deadline", "tz")
FILTER_LISTS: Final = ("sources", "customers", "queries")
FILTER_DATES: Final = ("since", "until")
_LONGEST_WORD: Final = 256
_PAGE_BYTES: Final = 4096
"""Of a page of series: some 40 at once, and 4 a second."""


@dataclass(frozen=True, slots=True)
class LatestRequest:
    """Tell how far the series have come that pass the filters and come after a key."""

    agreement: Mapping[str, str | None] = field(default_factory=dict)
    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dates: Mapping[str, str | None] = field(default_factory=dict)
    after: str | None = None
    op: ClassVar[str] = "latest"

    @classmethod
    def parse(cls, fields: Fields) -> LatestRequest:
        """Read it from a message."""
        agreement, filters = _read_object(fields, "agreement"), _read_object(fields, "filters")
        return cls(
            {name: _read_word(agreement, name) for name in AGREEMENT_WORDS},
            {name: _read_patterns(filters, name) for name in FILTER_LISTS},
            {name: _read_word(filters, name) for name in FILTER_DATES},
            read_text_or_null(fields, "after"),
        )

    def fields(self) -> dict[str, object]:
        """Return what the message says beside the word."""
        return {
            "agreement": dict(self.agreement),
            "filters": {**{name: list(texts) for name, texts in self.patterns.items()}, **self.dates},
            "after": self.after,
        }

    @property
    def cost_bytes(self) -> int:
        """What the user is charged with beside the bytes of the request."""
        return _PAGE_BYTES


def _read_object(fields: Fields, key: str) -> Fields:
    value = fields.get(key, {})
    if not isinstance(value, dict):
        raise MalformedMessageError(f"`{key}` is not an object")
    return value


def _read_word(fields: Fields, key: str) -> str | None:
    text = read_text_or_null(fields, key)
    if text is not None and len(text) > _LONGEST_WORD:
        raise MalformedMessageError(f"`{key}` is too long")
    return text


def _read_patterns(fields: Fields, key: str) -> tuple[str, ...]:
    value = fields.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise MalformedMessageError(f"`{key}` is not a list of texts")
    return tuple(value)
