"""Listening for changes of a PostgreSQL state: a hint that comes at once, or not at all."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from structlog.testing import capture_logs

from readyfs.errors import UsageError
from readyfs.state.postgres import listen
from readyfs.state.postgres.listen import Listener
from tests.descriptors import open_descriptors
from tests.postgres.database import READER_PASSWORD, StateDatabase
from tests.postgres.pooler import TransactionPooler
from tests.postgres.proxy import Proxy

LISTENING = "listening for changes of the state"
LOST = "changes of the state are not notified, the timer finds them"
PATIENCE_S = 20


class Heard:
    """Counts what a listener passes on."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = trio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._changed.set()
        self._changed = trio.Event()

    async def wait_for(self, count: int) -> None:
        with trio.fail_after(PATIENCE_S):
            while self.count < count:
                await self._changed.wait()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(listen, "MAX_PAUSE_S", 0.05)


@asynccontextmanager
async def listening(url: str, channel: str = "changes", timeout_s: float = 5) -> AsyncIterator[Heard]:
    """Listen during the body; `Heard` has one call in it, for what was missed before."""
    heard = Heard()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Listener(url, channel, timeout_s).run, heard)
        await heard.wait_for(1)
        yield heard
        nursery.cancel_scope.cancel()


async def wait_until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - it is another process that makes it true
            await trio.sleep(0.01)


async def test_notification_is_passed_on(postgres: StateDatabase) -> None:
    async with listening(postgres.url()) as heard:
        postgres.execute("NOTIFY changes")
        await heard.wait_for(2)
        postgres.execute("NOTIFY changes, 'with words'")
        await heard.wait_for(3)
        assert len(postgres.sessions()) == 1
    await wait_until(lambda: postgres.sessions() == [])


async def test_burst_is_few_changes_and_its_last_is_not_lost(postgres: StateDatabase) -> None:
    def notify() -> None:
        with postgres.connect() as session:
            for number in range(500):
                session.execute("SELECT pg_notify('changes', %s)", (str(number),))

    async with listening(postgres.url()) as heard:
        await trio.to_thread.run_sync(notify)
        await heard.wait_for(2)
        await trio.sleep(3 * listen.BURST_S)
        assert heard.count < 50
        after = heard.count
        postgres.execute("NOTIFY changes")
        await heard.wait_for(after + 1)


async def test_other_channels_are_not_heard(postgres: StateDatabase) -> None:
    async with listening(postgres.url()) as heard:
        postgres.execute("NOTIFY others")
        postgres.execute("NOTIFY changes")
        await heard.wait_for(2)
        await trio.sleep(2 * listen.BURST_S)
        assert heard.count == 2


async def test_name_is_taken_as_written_and_is_no_statement(postgres: StateDatabase) -> None:
    for channel in ("Ready FS", 'a"; DROP TABLE partition_state; --', "größe"):
        async with listening(postgres.url(), channel) as heard:
            postgres.execute("SELECT pg_notify(%s, '')", channel)
            await heard.wait_for(2)
    assert postgres.execute("SELECT count(*) FROM partition_state") == [(0,)]


async def test_lost_connection_is_told_once_and_made_again(own_postgres: StateDatabase) -> None:
    """V11: through any number of attempts, and what was missed meanwhile is made up for."""
    server = own_postgres.server
    with capture_logs() as logs:
        async with listening(own_postgres.url()) as heard:
            server.end_sessions(own_postgres.name)
            await heard.wait_for(2)
            await trio.to_thread.run_sync(server.kill)
            await trio.sleep(0.5)
            server.start()
            await heard.wait_for(3)
            own_postgres.execute("NOTIFY changes")
            await heard.wait_for(4)
    assert [entry["event"] for entry in logs] == [LISTENING, LOST, LISTENING, LOST, LISTENING]
    assert all(READER_PASSWORD not in str(entry) and "hunter2" not in str(entry) for entry in logs)


async def test_server_that_is_silent_at_first_is_heard_later(own_postgres: StateDatabase) -> None:
    heard = Heard()
    with capture_logs() as logs, Proxy(own_postgres.server.port) as proxy:
        async with trio.open_nursery() as nursery:
            own_postgres.server.pause()
            try:
                nursery.start_soon(Listener(own_postgres.url(port=proxy.port), "changes", 0.1).run, heard)
                await wait_until(lambda: bool(logs))
            finally:
                own_postgres.server.resume()
            await heard.wait_for(1)
            nursery.cancel_scope.cancel()
    assert [entry["event"] for entry in logs] == [LOST, LISTENING]
    await wait_until(lambda: own_postgres.sessions() == [])


async def test_replica_is_told_of_and_waited_for(own_postgres: StateDatabase) -> None:
    """It takes no LISTEN before it is promoted."""
    with own_postgres.server.standby() as standby:
        standby.wait_replayed(own_postgres.server)
        heard = Heard()
        with capture_logs() as logs:
            async with trio.open_nursery() as nursery:
                url = StateDatabase(standby, own_postgres.name).url()
                nursery.start_soon(Listener(url, "changes", 5).run, heard)
                await wait_until(lambda: bool(logs))
                standby.promote()
                await heard.wait_for(1)
                nursery.cancel_scope.cancel()
        assert "during recovery" in logs[0]["cause"]


async def test_pooler_that_keeps_notifications_is_told_of(postgres: StateDatabase) -> None:
    """V3: it takes LISTEN without a word, and nothing is heard; in session mode all is well, which is tried again."""
    heard = Heard()
    with capture_logs() as logs, TransactionPooler(postgres.server.port) as pooler:
        listener = Listener(postgres.url(port=pooler.port), "changes", 0.3)
        assert "yet" in str(listener.trouble)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.run, heard)
            await wait_until(lambda: bool(logs))
            assert "pooler in transaction mode" in str(listener.trouble)
            assert heard.count == 0
            pooler.is_passing = True
            await heard.wait_for(1)
            assert listener.trouble is None
            postgres.execute("NOTIFY changes")
            await heard.wait_for(2)
            nursery.cancel_scope.cancel()
    assert [entry["event"] for entry in logs] == [LOST, LISTENING]
    assert "did not arrive" in logs[0]["cause"]
    await wait_until(lambda: postgres.sessions() == [])


async def test_many_losses_leak_nothing(postgres: StateDatabase) -> None:
    with Proxy(postgres.server.port) as proxy:
        async with listening(postgres.url(port=proxy.port)) as heard:
            proxy.cut()
            await heard.wait_for(2)
            before, threads = len(open_descriptors()), threading.active_count()
            for cycle in range(15):  # two connections each
                proxy.cut()
                await heard.wait_for(3 + cycle)
            await wait_until(lambda: len(postgres.sessions()) == 1)
            await wait_until(lambda: len(open_descriptors()) <= before and threading.active_count() <= threads + 1)
    await wait_until(lambda: postgres.sessions() == [])


@pytest.mark.parametrize("channel", ["", "x" * 64, "ü" * 32, "a\0b"])
def test_name_that_no_channel_can_have_is_refused(channel: str) -> None:
    with pytest.raises(UsageError, match="is no name of a channel"):
        Listener("postgresql://db/x", channel, 5)


def test_state_that_cannot_notify_is_refused_without_its_secret() -> None:
    with pytest.raises(UsageError, match="needs a state in PostgreSQL") as caught:
        Listener("mysql+pymysql://reader:hunter2@db/x", "changes", 5)
    assert "hunter2" not in str(caught.value)


def test_any_driver_of_the_url_will_do() -> None:
    """The store's driver is another matter."""
    Listener("postgresql+psycopg2://db/x", "changes", 5)
