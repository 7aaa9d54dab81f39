"""What consumers ask over the public socket beside pins.

`{"op": "watch", "fingerprint": text, "timeout_seconds": number}` is answered when the catalog in force is another and
the kernel knows it, or when the time is up.
`{"op": "why", "asked": text, "mountpoint": text, "source": null}` is answered by the reason why a path or a key is
ready or is not. A path is absolute, below the mount point as the caller sees it.
`{"op": "shown", "asked": [text, ...], "mountpoint": text, "source": null}` is answered from memory: `shown` has
for each what the catalog in force shows there, `[run id, updated at]`, or null. All of it is of one catalog; `is_seen`
says whether the kernel knows that, `fingerprint` which one it knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from readyfs.control.allowance import QUERY_BYTES
from readyfs.control.messages import MalformedMessageError
from readyfs.control.public_fields import Fields, read_seconds_or_null, read_text, read_text_or_null, read_texts

MAX_WATCH_S: Final = 30.0
"""For how long one request may wait for another catalog."""


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """Wait until the catalog in force is another than the one with the fingerprint."""

    fingerprint: str
    timeout_s: float = MAX_WATCH_S
    op: ClassVar[str] = "watch"

    @classmethod
    def parse(cls, fields: Fields) -> WatchRequest:
        """Read it from a message."""
        timeout_s = read_seconds_or_null(fields, "timeout_seconds")
        if timeout_s is None or not 0 <= timeout_s <= MAX_WATCH_S:
            raise MalformedMessageError(f"`timeout_seconds` is no number from 0 to {MAX_WATCH_S:.0f}")
        return cls(read_text(fields, "fingerprint"), timeout_s)

    def fields(self) -> dict[str, object]:
        """Return what the message says beside the word."""
        return {"fingerprint": self.fingerprint, "timeout_seconds": self.timeout_s}

    @property
    def cost_bytes(self) -> int:
        """What the user is charged with beside the bytes of the request."""
        return 0


@dataclass(frozen=True, slots=True)
class WhyRequest:
    """Tell why a path or a key is ready or is not; `mountpoint` is where the caller has the mount."""

    asked: str
    mountpoint: str
    source: str | None = None
    op: ClassVar[str] = "why"

    @classmethod
    def parse(cls, fields: Fields) -> WhyRequest:
        """Read it from a message."""
        return cls(read_text(fields, "asked"), read_text(fields, "mountpoint"), read_text_or_null(fields, "source"))

    def fields(self) -> dict[str, object]:
        """Return what the message says beside the word."""
        return {"asked": self.asked, "mountpoint": self.mountpoint, "source": self.source}

    @property
    def cost_bytes(self) -> int:
        """What the user is charged with beside the bytes of the request."""
        return QUERY_BYTES


@dataclass(frozen=True, slots=True)
class ShownRequest:
    """Tell which runs the catalog in force shows at paths and keys."""

    asked: tuple[str, ...]
    mountpoint: str
    source: str | None = None
    op: ClassVar[str] = "shown"

    @classmethod
    def parse(cls, fields: Fields) -> ShownRequest:
        """Read it from a message."""
        return cls(read_texts(fields, "asked"), read_text(fields, "mountpoint"), read_text_or_null(fields, "source"))

    def fields(self) -> dict[str, object]:
        """Return what the message says beside the word."""
        return {"asked": list(self.asked), "mountpoint": self.mountpoint, "source": self.source}

    @property
    def cost_bytes(self) -> int:
        """What the user is charged with beside the bytes of the request."""
        return 0
