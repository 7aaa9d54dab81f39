"""What is asked of pins over the public socket: a pin, its renewal, its end, and a list of those that there are.

`{"op": "pin", "name": null, "lease_seconds": null, "note": "", "refresh": false}`, `{"op": "renew", "name": text,
"lease_seconds": null}`, `{"op": "unpin", "name": text}` and `{"op": "pins", "expired": false}`. What is null is up to
the daemon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from readyfs.control.allowance import REFRESH_BYTES
from readyfs.control.public_fields import Fields, read_flag, read_seconds_or_null, read_text, read_text_or_null
from readyfs.duration import parse_duration

MAX_LEASE_S: Final = 1e11
"""What no lease comes near; what it says of a longer one is never seen."""


def parse_lease(text: str) -> float:
    """Return the seconds of a lease as people write it, of any length: each mount has bounds of its own."""
    return parse_duration(text, minimum_s=0.0, maximum_s=MAX_LEASE_S)


@dataclass(frozen=True, slots=True)
class PinRequest:
    """Keep the catalog in force; `refresh` first, if so."""

    name: str | None = None
    lease_s: float | None = None
    note: str = ""
    refresh: bool = False
    op: ClassVar[str] = "pin"

    @classmethod
    def parse(cls, fields: Fields) -> PinRequest:
        """Read it from a message."""
        return cls(
            read_text_or_null(fields, "name"),
            read_seconds_or_null(fields, "lease_seconds"),
            read_text(fields, "note", ""),
            read_flag(fields, "refresh"),
        )

    def fields(self) -> dict[str, object]:
        """Return what the message says beside the word."""
        return {"name": self.name, "lease_seconds": self.lease_s, "note": self.note, "refresh": self.refresh}

    @property
    def cost_bytes(self) -> int:
        """What the user is charged with beside the bytes of the request."""
        return REFRESH_BYTES if self.refresh else 0


@dataclass(frozen=True, slots=True)
class RenewRequest:
    """Have the lease of a pin last longer."""

    name: str
    lease_s: float | None = None
    op: ClassVar[str] = "renew"

    @classmethod
    def parse(cls, fields: Fields) -> RenewRequest:
        """Read it from a message."""
        return cls(read_text(fields, "name"), read_seconds_or_null(fields, "lease_seconds"))

    def fields(self) -> dict[str, object]:
        """Return what the message says beside the word."""
        return {"name": self.name, "lease_seconds": self.lease_s}

    @property
    def cost_bytes(self) -> int:
        """What the user is charged with beside the bytes of the request."""
        return 0


@dataclass(frozen=True, slots=True)
class UnpinRequest:
    """Remove a pin."""

    name: str
    op: ClassVar[str] = "unpin"

    @classmethod
    def parse(cls, fields: Fields) -> UnpinRequest:
        """Read it from a message."""
        return cls(read_text(fields, "name"))

    def fields(self) -> dict[str, object]:
        """Return what the message says beside the word."""
        return {"name": self.name}

    @property
    def cost_bytes(self) -> int:
        """What the user is charged with beside the bytes of the request."""
        return 0


@dataclass(frozen=True, slots=True)
class PinsRequest:
    """List pins, or what is left of those that ended."""

    expired: bool = False
    op: ClassVar[str] = "pins"

    @classmethod
    def parse(cls, fields: Fields) -> PinsRequest:
        """Read it from a message."""
        return cls(read_flag(fields, "expired"))

    def fields(self) -> dict[str, object]:
        """Return what the message says beside the word."""
        return {"expired": self.expired}

    @property
    def cost_bytes(self) -> int:
        """What the user is charged with beside the bytes of the request and the entries of the list."""
        return 0
