"""Who asks for something to be done to pins."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: a user id, and whether that is an operator of the mount, who may do it to the pins of others."""

    uid: int
    is_operator: bool = False
