"""LISTEN: a PostgreSQL state says by itself that it changed, and the refresh need not wait for its timer.

A notification asks for an ordinary refresh and carries nothing else: what it says is not believed, and one that is
lost costs no more than the rest of an interval (V3). So its connection is no part of the state store's, and losing it
is no outage (V11): it is logged once and made again, with pauses that grow. That notifications arrive is proven at
first: one is sent to ourselves, on a second connection, as a producer would. A pooler that gives each transaction
another session of the server passes on LISTEN and keeps what comes of it. One task of the daemon's loop owns everything
here; only the connecting happens on a worker thread.
"""

from __future__ import annotations

import math
import random
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NoReturn

import structlog
import trio

from readyfs.errors import UsageError
from readyfs.state.url import parse_url, scrub, sqlite_path
from readyfs.text import escape_text

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy as sa

log = structlog.get_logger("readyfs.listen")

BURST_S: Final = 0.2
"""What is notified this soon after a refresh was asked for has one refresh together."""
FIRST_PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 60.0
JITTER: Final = 0.2
PROOF_S: Final = 5.0
"""A notification to ourselves that has not arrived after this, or the time limit if that is less, never will."""
MAX_NAME_BYTES: Final = 63
"""PostgreSQL cuts longer names (NAMEDATALEN), and then nobody knows who meant whom."""

_APPLICATION: Final = "readyfs listen"
_KEEPALIVE: Final = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""A host that vanished says nothing, and nor does a quiet channel: the kernel has to ask."""


class _LostError(Exception):
    """The connection cannot be used; the text says why, without any secret."""


class Listener:
    """Listens on one channel for as long as `run` runs."""

    def __init__(self, url: str, channel: str, timeout_s: float, jitter: Callable[[], float] = random.random) -> None:
        """Check URL and channel; raise `UsageError` for a state that cannot notify or a name that is none.

        `timeout_s` bounds the making of a connection.
        """
        self._url = check_listening(url, channel)
        self._channel = channel
        self._timeout_s = timeout_s
        self._jitter = jitter
        self._trouble: str | None = "not connected yet"

    @property
    def trouble(self) -> str | None:
        """Why changes are not notified at this moment, None if they are."""
        return self._trouble

    async def run(self, on_change: Callable[[], None]) -> None:
        """Listen until cancelled, through any number of lost connections.

        `on_change` is called on the loop whenever the state may have changed, and returns at once.
        """
        failures = 0
        is_known_lost = False
        while True:
            began = trio.current_time()
            try:
                async with self._connection() as connection:
                    await self._command(connection, "LISTEN", self._channel)
                    await self._prove(connection)
                    log.info("listening for changes of the state", channel=self._channel)
                    is_known_lost, self._trouble = False, None
                    await self._pass_on(connection, on_change)
            except _LostError as error:
                self._trouble = str(error)
                if not is_known_lost:
                    log.warning("changes of the state are not notified, the timer finds them", cause=str(error))
                is_known_lost = True
            # One that never lasts is no better than none.
            failures = 1 if trio.current_time() - began > MAX_PAUSE_S else failures + 1
            pause_s = min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16), MAX_PAUSE_S)
            await trio.sleep(pause_s * (1.0 - JITTER * self._jitter()))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.Connection[Any]]:
        """Connect; whatever the driver raises in the body becomes `_LostError`."""
        import psycopg

        wanted = True

        def connect() -> psycopg.Connection[Any]:
            made = psycopg.connect(**self._arguments())
            if not wanted:
                made.close()
            return made

        connection = None
        try:
            connection = await trio.to_thread.run_sync(connect, abandon_on_cancel=True)
            yield connection
        except (psycopg.Error, OSError) as error:
            # No chain: a driver's traceback may show the URL.
            raise _LostError(scrub(str(error), self._url) or type(error).__name__) from None
        finally:
            wanted = False
            if connection is not None:
                connection.close()

    def _arguments(self) -> dict[str, Any]:
        _, given = self._url.set(drivername="postgresql+psycopg").get_dialect()().create_connect_args(self._url)
        seconds = max(2, math.ceil(self._timeout_s))  # libpq takes whole seconds and makes 2 of 1
        limits = {"connect_timeout": seconds, "application_name": _APPLICATION, **_KEEPALIVE}
        return {**limits, **given, "autocommit": True}

    async def _prove(self, connection: psycopg.Connection[Any]) -> None:
        """Send a notification to ourselves, on a channel that is nobody else's, and wait until it has arrived."""
        channel = f"readyfs_{secrets.token_hex(12)}"
        await self._command(connection, "LISTEN", channel)
        async with self._connection() as sender:
            await self._command(sender, "NOTIFY", channel)
        limit_s = min(self._timeout_s, PROOF_S)
        with trio.move_on_after(limit_s) as waiting:
            while True:
                notification = connection.pgconn.notifies()
                if notification is None:
                    await self._receive(connection)
                elif notification.relname == channel.encode():
                    break  # what else has come is made up for by the first refresh
        if waiting.cancelled_caught:
            raise _LostError(
                f"a notification to ourselves did not arrive within {limit_s:g} s: a pooler in transaction mode keeps "
                "them; give --state the server itself, or a pool in session mode"
            )
        await self._command(connection, "UNLISTEN", channel)

    async def _command(self, connection: psycopg.Connection[Any], word: str, channel: str) -> None:
        """Send LISTEN, UNLISTEN or NOTIFY and wait for the answer.

        The server may stop answering at any moment, and a thread that waits for it could not be ended: so this and all
        that follows waits on the socket instead.
        """
        from psycopg import pq, sql

        command = sql.SQL("{} {}").format(sql.SQL(word), sql.Identifier(channel))
        connection.pgconn.send_query(command.as_bytes(connection))
        with trio.move_on_after(self._timeout_s) as waiting:
            while True:
                if connection.pgconn.is_busy():
                    await self._receive(connection)
                elif (result := connection.pgconn.get_result()) is None:
                    break
                elif result.status != pq.ExecStatus.COMMAND_OK:
                    raise _LostError(scrub(result.get_error_message(), self._url))
        if waiting.cancelled_caught:
            raise _LostError(f"no answer to {word} for {self._timeout_s:g} s")

    async def _pass_on(self, connection: psycopg.Connection[Any], on_change: Callable[[], None]) -> NoReturn:
        """Ask for a refresh now, for what was missed, and at each notification."""
        on_change()
        while True:
            await trio.sleep(BURST_S)
            while connection.pgconn.notifies() is None:
                await self._receive(connection)
            while connection.pgconn.notifies() is not None:
                pass  # all that has come by now is answered by one refresh
            on_change()

    async def _receive(self, connection: psycopg.Connection[Any]) -> None:
        await trio.lowlevel.wait_readable(connection.pgconn.socket)
        connection.pgconn.consume_input()


@contextmanager
def listening(listener: Listener) -> Iterator[threading.Event]:
    """Listen on a thread while the context lasts; give what is set whenever the state may have changed."""
    changed = threading.Event()
    begun: SimpleQueue[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = SimpleQueue()

    async def run() -> None:
        with trio.CancelScope() as scope:
            begun.put((trio.lowlevel.current_trio_token(), scope))
            await listener.run(changed.set)

    thread = threading.Thread(target=trio.run, args=(run,), name="readyfs-listen", daemon=True)
    thread.start()
    token, scope = begun.get()
    try:
        yield changed
    finally:
        with suppress(trio.RunFinishedError):  # a bug ended it before, and was told there
            token.run_sync_soon(scope.cancel)
        thread.join()


def check_listening(url: str, channel: str) -> sa.URL:
    """Return a state's URL parsed; raise `UsageError` if it cannot notify, or no channel can have this name."""
    if sqlite_path(url) is not None or (parsed := parse_url(url)).get_backend_name() != "postgresql":
        raise UsageError("--state-listen needs a state in PostgreSQL, the only one that notifies", "leave it out")
    if find_spec("psycopg") is None:
        raise UsageError("--state-listen needs psycopg", "install readyfs with its extra postgres, or leave it out")
    if not channel or "\0" in channel or len(channel.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES:
        raise UsageError(
            f"--state-listen: '{escape_text(channel)}' is no name of a channel",
            f"give one of 1 to {MAX_NAME_BYTES} bytes, as in NOTIFY",
        )
    return parsed
