"""V3, sooner than the timer: a PostgreSQL state that notifies has its changes seen at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from readyfs.doctor.finding import Verdict
from readyfs.doctor.mounts import look_at_daemons
from readyfs.errors import ExitCode
from tests.doctor.subjects import make_subject
from tests.mount.daemon import EACH_ENGINE_ONCE, Place, mounted, partition, try_to_mount, wait_until
from tests.postgres.database import StateDatabase
from tests.postgres.pooler import TransactionPooler

OPERATIONS: Final = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture(params=EACH_ENGINE_ONCE)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_trigger(postgres: StateDatabase) -> None:
    """Set up the producer's side just as the documents show it."""
    (example,) = re.findall(r"```sql\n(.*?)```", OPERATIONS.read_text("utf-8").partition("### NOTIFY")[2], re.DOTALL)
    postgres.execute(example)


def test_commit_is_seen_at_once_although_the_timer_is_far_away(
    place: Place, engine: str, postgres: StateDatabase
) -> None:
    """V3: an interval of an hour, and the trigger of the documents: appears, switches, disappears."""
    first, second = partition(), partition(date="2024-06-02")
    make_trigger(postgres)
    postgres.publish(place.producer.write_run(first, "r1", b"x\n"))
    options = ("--state", postgres.url(), "--interval", "1h", "--state-listen", "partition_state")
    with mounted(place, *options, engine=engine) as daemon:
        wait_until(lambda: bool(daemon.events("listening for changes of the state")), "it listens")
        assert not daemon.of(second).exists()
        postgres.publish(place.producer.write_run(second, "r1", b"new\n"))
        wait_until(daemon.of(second).exists, "the new partition appears")
        assert daemon.of(second).read_bytes() == b"new\n"
        postgres.publish(place.producer.write_run(first, "r2", b"other\n"))
        wait_until(lambda: daemon.of(first).read_bytes() == b"other\n", "the run is switched")
        postgres.delete_row(second)
        wait_until(lambda: not daemon.of(second).exists(), "it disappears")
    wait_until(lambda: postgres.sessions() == [], "the daemon's sessions end with it")


def test_what_was_missed_is_made_up_for_when_the_server_is_back(
    place: Place, engine: str, own_postgres: StateDatabase
) -> None:
    """V11: the end of its connection is no outage, and an outage ends with the first connection that can be made."""
    make_trigger(own_postgres)
    own_postgres.publish(place.producer.write_run(partition(), "r1", b"x\n"))
    options = ("--state", own_postgres.url(), "--interval", "1h", "--state-listen", "partition_state")
    with mounted(place, *options, engine=engine) as daemon:
        wait_until(lambda: bool(daemon.events("listening for changes of the state")), "it listens")
        daemon.refresh()  # which the one that it asked for at first is over with
        own_postgres.server.kill()
        wait_until(
            lambda: bool(daemon.events("changes of the state are not notified, the timer finds them")), "it is told"
        )
        assert daemon.status()["state_error"] is None
        own_postgres.server.start()
        unseen = partition(date="2024-06-02")
        own_postgres.publish(place.producer.write_run(unseen, "r1", b"new\n"))
        wait_until(daemon.of(unseen).exists, "what was committed meanwhile is seen")


def test_pooler_that_keeps_notifications_is_no_outage_and_told_of(place: Place, postgres: StateDatabase) -> None:
    """V3: the timer finds what changes, and log, status and doctor say why nothing else does."""
    postgres.publish(place.producer.write_run(partition(), "r1", b"x\n"))
    with TransactionPooler(postgres.server.port) as pooler:
        options = ("--state", postgres.url(port=pooler.port), "--interval", "200ms", "--state-timeout", "500ms")
        with mounted(place, *options, "--state-listen", "partition_state") as daemon:
            wait_until(
                lambda: bool(daemon.events("changes of the state are not notified, the timer finds them")), "it is told"
            )
            postgres.publish(place.producer.write_run(partition(), "r2", b"other\n"))
            wait_until(lambda: daemon.of(partition()).read_bytes() == b"other\n", "the timer finds it")
            status = daemon.status()
            assert "pooler in transaction mode" in str(status["listen_error"])
            assert status["state_error"] is None
            assert not daemon.events("listening for changes of the state")
            found = list(look_at_daemons(make_subject(mountpoint=daemon.path, runtime_dir=place.runtime_dir)))
            assert [(one.verdict, "is not notified of changes" in one.summary) for one in found] == [
                (Verdict.WARNING, True)
            ]


def test_channel_of_a_state_that_cannot_notify_is_a_usage_error(place: Place) -> None:
    refused = try_to_mount(place, "--state-listen", "partition_state")
    assert refused.returncode == ExitCode.USAGE
    assert "--state-listen needs a state in PostgreSQL" in refused.stderr


@pytest.mark.parametrize("channel", ["", "x" * 64])
def test_name_that_no_channel_can_have_is_a_usage_error(place: Place, postgres: StateDatabase, channel: str) -> None:
    refused = try_to_mount(place, "--state", postgres.url(), f"--state-listen={channel}")
    assert refused.returncode == ExitCode.USAGE
