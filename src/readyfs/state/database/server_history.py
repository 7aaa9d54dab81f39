"""Never going back in time where an address leads to several MySQL or MariaDB servers, some of which lag."""

from __future__ import annotations

import structlog

from readyfs.errors import StateError
from readyfs.state.database.position import ServerMoment

_log = structlog.get_logger("readyfs.state")


class ServerHistory:
    """What was served came from these servers, up to these positions; for one store, by one thread at a time."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._seen: ServerMoment | None = None
        self._furthest: ServerMoment | None = None
        self._warned = False

    def follow(self, before: ServerMoment, after: ServerMoment) -> None:
        """Take it that what was read is to be served: the server as it was before the snapshot, and after it.

        Raises `StateError` if that would go back to what was true before. What was read holds at least what the server
        had before, and at most what it had after.
        """
        # Behind a proxy the two may come from different servers; then only the second is that of the snapshot.
        now = before if before.identity == after.identity else after
        if self._furthest is not None and now.is_comparable(self._furthest):
            if now.lags_behind(self._furthest):
                raise StateError(
                    f"state store {self._label} is behind what was served from it already: server {now.label} is a "
                    "replica that lags, or a server that was replaced",
                    "wait until it has caught up, or restart readyfs to start from what it holds",
                )
        elif self._seen is not None and now.identity != self._seen.identity and not self._warned:
            self._warned = True
            _log.warning(
                "the state store is another server than before, and which of them is ahead cannot be told",
                store=self._label,
                server=after.label,
                before=self._seen.label,
            )
        self._seen = after
        if after.position:
            self._furthest = after
