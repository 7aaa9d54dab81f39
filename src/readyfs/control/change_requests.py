"""What is asked of changes over the public socket: a page of what changed, and that a batch is acknowledged.

`{"op": "changes", "since": text, "consumer": null, "lease_seconds": null, "seen": null}` begins a batch. `since` is a
cursor, a time, an age, `beginning`, or null for a consumer that goes on. `seen` is what the answer of a batch that the
client has says as `batch`. As long as that is not acknowledged it is not sent again, and `waits` is true in the answer.
`{"op": "changes", "since": cursor, "until": cursor, "after": text}` asks for the next page of a batch, where `after` is
what the page before said.
`{"op": "ack", "consumer": text, "cursor": text, "lease_seconds": null}` acknowledges a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from readyfs.control.allowance import PAGE_BYTES
from readyfs.control.messages import MalformedMessageError
from readyfs.control.public_fields import Fields, read_seconds_or_null, read_text, read_text_or_null

BEGINNING: Final = "beginning"
"""The cursor of whoever has nothing yet."""


@dataclass(frozen=True, slots=True)
class ChangesRequest:
    """Tell what changed since a cursor: the first page of a batch, or the one behind `after`."""

    since: str | None = None
    until: str | None = None
    after: str | None = None
    consumer: str | None = None
    lease_s: float | None = None
    seen: str | None = None
    op: ClassVar[str] = "changes"

    @classmethod
    def parse(cls, fields: Fields) -> ChangesRequest:
        """Read it from a message."""
        found = cls(
            read_text_or_null(fields, "since"),
            read_text_or_null(fields, "until"),
            read_text_or_null(fields, "after"),
            read_text_or_null(fields, "consumer"),
            read_seconds_or_null(fields, "lease_seconds"),
            read_text_or_null(fields, "seen"),
        )
        if found.since is None and found.consumer is None:
            raise MalformedMessageError("`since` is not a text, and there is no `consumer`")
        if (found.until is None) != (found.after is None):
            raise MalformedMessageError("`until` and `after` come together")
        return found

    def fields(self) -> dict[str, object]:
        """Return what the message says beside the word."""
        return {
            "since": self.since,
            "until": self.until,
            "after": self.after,
            "consumer": self.consumer,
            "lease_seconds": self.lease_s,
            "seen": self.seen,
        }

    @property
    def cost_bytes(self) -> int:
        """What the user is charged with beside the bytes of the request."""
        return PAGE_BYTES


@dataclass(frozen=True, slots=True)
class AckRequest:
    """Acknowledge the batch of a consumer that ends with a cursor."""

    consumer: str
    cursor: str
    lease_s: float | None = None
    op: ClassVar[str] = "ack"

    @classmethod
    def parse(cls, fields: Fields) -> AckRequest:
        """Read it from a message."""
        return cls(
            read_text(fields, "consumer"), read_text(fields, "cursor"), read_seconds_or_null(fields, "lease_seconds")
        )

    def fields(self) -> dict[str, object]:
        """Return what the message says beside the word."""
        return {"consumer": self.consumer, "cursor": self.cursor, "lease_seconds": self.lease_s}

    @property
    def cost_bytes(self) -> int:
        """What the user is charged with beside the bytes of the request."""
        return 0
