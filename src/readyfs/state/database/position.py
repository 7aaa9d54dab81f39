"""Which MySQL or MariaDB server answers, and how far it has come: so that a replica that lags is told from a newer one.

MariaDB counts the transactions of each replication domain (mariadb.com/kb/en/gtid: `domain-server-sequence`), MySQL
names all that it has executed (dev.mysql.com/doc, "GTID Format and Storage": `uuid:first-last`). Everybody may ask for
either. A server that neither writes a binary log nor follows another has no position, and a node of a Galera cluster
none that holds elsewhere, unless `wsrep_gtid_mode` is on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from readyfs.text import escape_text

_NAMES: Final = (
    "hostname",
    "port",
    "server_id",
    "server_uid",
    "server_uuid",
    "gtid_current_pos",
    "gtid_executed",
    "wsrep_on",
    "wsrep_gtid_mode",
)
_ASK: Final = f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({', '.join(map(repr, _NAMES))})"
"""A variable that the server does not have is left out, where `SELECT @@name` would be an error."""

Intervals: TypeAlias = tuple[tuple[int, int], ...]
Position: TypeAlias = Mapping[str, Intervals]
"""By domain or server, the first and last numbers of transactions that were executed; empty if that is not known."""


@dataclass(frozen=True, slots=True)
class ServerMoment:
    """Which server answers, and its position at that time."""

    host: str
    port: str
    number: str
    identity: tuple[str, ...]
    position: Position

    @property
    def label(self) -> str:
        """The server's own names for itself, for a message."""
        return escape_text(f"{self.host}:{self.port} (server_id {self.number})")

    def is_comparable(self, earlier: ServerMoment) -> bool:
        """Tell whether both positions are known."""
        return bool(self.position and earlier.position)

    def lags_behind(self, earlier: ServerMoment) -> bool:
        """Tell whether transactions are missing here that an earlier moment had seen."""
        return any(
            not any(first >= low and last <= high for low, high in self.position.get(domain, ()))
            for domain, intervals in earlier.position.items()
            for first, last in intervals
        )


def look_at_server(connection: sa.Connection) -> ServerMoment:
    """Return which server answers at this moment."""
    found = {str(name).lower(): str(value) for name, value in connection.exec_driver_sql(_ASK)}
    names = [found.get(name, "") for name in _NAMES[:5]]
    return ServerMoment(names[0], names[1], names[2], tuple(names), parse_position(found))


def parse_position(variables: Mapping[str, Any]) -> Position:
    """Return a server's position as its variables tell it; empty if they do not, or not in a known form."""
    if variables.get("wsrep_on") == "ON" and variables.get("wsrep_gtid_mode") != "ON":
        return {}
    try:
        if executed := variables.get("gtid_executed"):
            return _parse_executed(executed)
        return _parse_domains(variables.get("gtid_current_pos", ""))
    except ValueError:
        return {}


def _parse_domains(text: str) -> Position:
    position: dict[str, Intervals] = {}
    for one in filter(None, map(str.strip, text.split(","))):
        domain, _, sequence = one.split("-")
        position[domain] = ((1, int(sequence)),)
    return position


def _parse_executed(text: str) -> Position:
    position: dict[str, Intervals] = {}
    for one in filter(None, map(str.strip, text.split(","))):
        source, *parts = one.split(":")
        for part in parts:
            first, _, last = part.partition("-")
            if first.isdigit():
                position[source] = (*position.get(source, ()), (int(first), int(last or first)))
            else:
                source = f"{source.partition(':')[0]}:{part}"  # a tag (MySQL 8.3), for the intervals that follow
    return position
