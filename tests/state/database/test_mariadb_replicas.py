"""V3, V11: one address that leads to several MariaDB servers, of which one lags behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from readyfs.errors import StateError
from readyfs.partition import render_date
from readyfs.state.database.position import ServerMoment, look_at_server, parse_position
from readyfs.state.database.server_history import ServerHistory
from readyfs.state.database.sqlalchemy_engine import choose_driver
from readyfs.state.database.store import DatabaseStore
from readyfs.state.filters import Filters
from readyfs.state.store import StateTable
from tests.mariadb.database import MariadbDatabase
from tests.mariadb.server import MariadbServer
from tests.postgres.proxy import Proxy

CAUGHT_UP: Final = "SELECT MASTER_GTID_WAIT(%s, 20)"


class Pair:
    """A primary with a replica that follows it by its binary log, and a store that reaches either by one address."""

    def __init__(self, primary: MariadbServer, replica: MariadbServer, proxy: Proxy) -> None:
        self.replica, self._proxy = replica, proxy
        primary.execute("CREATE USER follower@'127.0.0.1' IDENTIFIED BY 'secret'")
        primary.execute("GRANT REPLICATION SLAVE ON *.* TO follower@'127.0.0.1'")
        self.database = MariadbDatabase.create(primary, "state")
        replica.execute(
            "CHANGE MASTER TO master_host = '127.0.0.1', master_user = 'follower', master_password = 'secret', "
            f"master_port = {primary.port}, master_use_gtid = slave_pos"
        )
        replica.execute("START SLAVE")
        self.catch_up()
        url = choose_driver(sa.make_url(primary.url("state", port=proxy.port)))
        self.store = DatabaseStore(url, StateTable(), Filters(), 5, 600)

    def catch_up(self) -> None:
        """Wait until the replica has everything."""
        ((position,),) = self.database.server.execute("SELECT @@GLOBAL.gtid_binlog_pos")
        assert self.replica.execute(CAUGHT_UP, position) == ((0,),)

    def dates(self, server: MariadbServer) -> list[str]:
        """Load from one of the servers."""
        self._proxy.target_port = server.port
        loaded = self.store.load()
        return [render_date(date).decode()[-2:] for rows in loaded.series.values() for date in rows.dates]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary and its replica."""
    with (
        MariadbServer("--server-id=1", "--log-bin=log") as primary,
        MariadbServer("--server-id=2") as replica,
        Proxy(primary.start().port) as proxy,
    ):
        pair = Pair(primary, replica.start(), proxy)
        with closing(pair.store):
            yield pair


def test_replica_that_lags_is_an_outage_and_never_takes_readers_back(pair: Pair) -> None:
    primary = pair.database.server
    pair.database.put("2024-06-01", "2024-06-02 05:00:00")
    assert pair.dates(primary) == ["01"]
    pair.catch_up()
    with capture_logs() as logs:
        assert pair.dates(pair.replica) == ["01"], "one that has everything is as good"
    assert not [line for line in logs if line["log_level"] == "warning"]
    pair.replica.execute("STOP SLAVE SQL_THREAD")
    pair.database.put("2024-06-02", "2024-06-02 05:00:01")
    assert pair.dates(pair.replica) == ["01"], "what was not seen yet cannot be missed"
    assert pair.dates(primary) == ["01", "02"]
    pair.store.start_over()
    for _ in range(2):
        with pytest.raises(StateError, match=rf":{pair.replica.port} \(server_id 2\) is a replica that lags"):
            pair.dates(pair.replica)
    assert pair.dates(primary) == ["01", "02"]
    pair.replica.execute("START SLAVE SQL_THREAD")
    pair.catch_up()
    assert pair.dates(pair.replica) == ["01", "02"]


def moment(host: str, position: str) -> ServerMoment:
    """Return a MariaDB server as it tells of itself."""
    return ServerMoment(host, "3306", "1", (host,), parse_position({"gtid_current_pos": position}))


def test_servers_whose_positions_are_not_known_are_warned_of_once() -> None:
    history = ServerHistory("mariadb://db/state")
    with capture_logs() as logs:
        for host in ("a", "a", "b", "a", "b"):
            history.follow(moment(host, ""), moment(host, ""))
    (line,) = logs
    assert (line["log_level"], line["server"], line["before"]) == (
        "warning",
        "b:3306 (server_id 1)",
        "a:3306 (server_id 1)",
    )


def test_position_that_was_seen_counts_whatever_server_answered_meanwhile() -> None:
    history = ServerHistory("mariadb://db/state")
    history.follow(moment("a", "0-1-7,1-1-3"), moment("a", "0-1-8,1-1-3"))
    with capture_logs():
        history.follow(moment("b", ""), moment("b", ""))
    for lagging in ("0-1-7,1-1-3", "0-1-9", "0-1-9,1-1-2"):
        with pytest.raises(StateError, match="is behind what was served"):
            history.follow(moment("c", lagging), moment("c", "0-1-9,1-1-9"))
    history.follow(moment("c", "0-2-8,1-1-3,2-1-1"), moment("c", "0-2-8,1-1-3,2-1-1"))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"gtid_current_pos": "0-1-345, 7-2-8"}, {"0": ((1, 345),), "7": ((1, 8),)}),
        ({"gtid_executed": "aa-1:1-5:7,\nbb-2:1-3"}, {"aa-1": ((1, 5), (7, 7)), "bb-2": ((1, 3),)}),
        ({"gtid_executed": "aa-1:1-5:tag:2-3"}, {"aa-1": ((1, 5),), "aa-1:tag": ((2, 3),)}),
        ({"gtid_current_pos": "0-1-345", "wsrep_on": "ON", "wsrep_gtid_mode": "OFF"}, {}),
        ({"gtid_current_pos": "0-1-345", "wsrep_on": "ON", "wsrep_gtid_mode": "ON"}, {"0": ((1, 345),)}),
        ({"gtid_current_pos": "no position"}, {}),
        ({}, {}),
    ],
)
def test_position_is_read_as_servers_write_it(variables: dict[str, str], expected: object) -> None:
    assert parse_position(variables) == expected


def test_real_server_says_which_it_is(mariadb: MariadbDatabase) -> None:
    """For which no right is needed."""
    engine = sa.create_engine(choose_driver(sa.make_url(mariadb.url())))
    with engine.connect() as connection:
        found = look_at_server(connection)
    engine.dispose()
    assert (found.port, found.number) == (str(mariadb.server.port), "1")
    assert all(found.identity[:4])
