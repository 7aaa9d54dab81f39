"""V21: `wait` ends when what it waits for can be opened, and not before; through restarts, and without a mount."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from readyfs.cli.main import main
from readyfs.consumer import wait
from readyfs.daemon.catalog_watch import USER_WATCHES
from readyfs.demo.producer import LogicalPartition
from readyfs.errors import ExitCode
from tests.mariadb.database import MariadbDatabase
from tests.mount.daemon import Place, mounted, partition, running, start, take_down, wait_until
from tests.mount.forked import ForkedProcess, stem
from tests.mount.test_listen import make_trigger
from tests.mount.test_mariadb import set_row
from tests.postgres.database import StateDatabase

ONE: Final = partition(date="2024-06-01")
TWO: Final = partition(date="2024-06-02")
THREE: Final = partition(date="2024-06-03")
SOON: Final = ("--interval", "100ms")
PATIENCE_S: Final = 20.0


@dataclass(slots=True)
class Waiter:
    """A `readyfs wait` that runs in a process of its own."""

    process: ForkedProcess
    out: Path
    errors: Path

    def code(self) -> int:
        """Return its exit code once it has ended."""
        return self.process.wait(PATIENCE_S)

    def is_waiting(self) -> bool:
        return self.process.poll() is None

    def has_looked(self) -> None:
        """Return once it has looked in vain, and waits."""
        wait_until(lambda: "readyfs: waiting: " in self.told(), "it waits")

    def told(self) -> str:
        return self.errors.read_text("utf-8")


@contextmanager
def waiting(place: Place, *arguments: str | os.PathLike[str]) -> Iterator[Waiter]:
    """Start a wait of a minute at most; it is ended whatever happens."""
    directory = Path(tempfile.mkdtemp(dir=place.base))
    with (directory / "out").open("wb") as out, (directory / "errors").open("wb") as errors:
        words = ["wait", "--timeout", "1m", *(os.fspath(one) for one in arguments)]
        process = stem().fork(words, out.fileno(), errors.fileno())
    waiter = Waiter(process, directory / "out", directory / "errors")
    try:
        yield waiter
    finally:
        waiter.process.kill()
        waiter.process.wait(PATIENCE_S)


def look(capsys: pytest.CaptureFixture[str], *arguments: str | os.PathLike[str]) -> tuple[int, str]:
    """Run one look in this process; return its exit code and what it said on stderr."""
    capsys.readouterr()
    code = main(["wait", "--timeout", "0", *(os.fspath(one) for one in arguments)])
    return code, capsys.readouterr().err


def key(one: LogicalPartition) -> str:
    return f"{one.customer_id}/{one.query_name}/{one.logical_date}"


def offline(place: Place) -> tuple[str, ...]:
    return ("--state", str(place.state), "--raw", str(place.raw))


# ---- through a mount ----------------------------------------------------------------------------------------------


def test_it_ends_when_the_next_open_succeeds(place: Place, engine: str) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with mounted(place, *SOON, engine=engine) as daemon:
        for asked in (daemon.of(TWO), daemon.directory(THREE)):
            assert not asked.exists()  # the kernel remembers that it is not there
        with (
            waiting(place, daemon.of(TWO)) as by_path,
            waiting(place, key(THREE), "--mount", daemon.path) as by_key,
        ):
            by_path.has_looked()
            by_key.has_looked()
            place.producer.write_and_publish(TWO, "r1", b"two\n")
            assert by_path.code() == ExitCode.OK, by_path.told()
            assert daemon.of(TWO).read_bytes() == b"two\n"
            assert by_key.is_waiting()
            place.producer.write_and_publish(THREE, "r1", b"three\n")
            assert by_key.code() == ExitCode.OK, by_key.told()
            assert daemon.of(THREE).read_bytes() == b"three\n"
            assert "is ready: run r1" in by_key.out.read_text("utf-8")


def test_one_look_says_what_is_unmet(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    place.change(
        "INSERT INTO partition_state(source, customer_id, query_name, logical_date, status, updated_at)"
        " VALUES ('s1', 'c1', 'q1', '2024-06-02', 'failed', '2024-06-02T05:00:00+00:00')"
    )
    with mounted(place, "--until", "2024-06-30") as daemon:
        for where in (("--mount", str(daemon.path)), (*offline(place), "--until", "2024-06-30")):
            assert look(capsys, key(ONE), *where) == (ExitCode.OK, "")
            code, told = look(capsys, key(ONE), key(THREE), *where)
            assert code == ExitCode.NOT_READY
            assert "1 of 2 ready, 2 wanted" in told
            assert f"{key(THREE)} is not there: the state has no row of it" in told
            code, told = look(capsys, key(TWO), *where)
            assert (code, "has failed" in told) == (ExitCode.FAILED, True)
            assert look(capsys, key(TWO), "--through-failures", *where)[0] == ExitCode.NOT_READY
            assert look(capsys, key(ONE), key(TWO), "--any", *where)[0] == ExitCode.OK
            assert look(capsys, key(TWO), key(THREE), "--at-least", "2", *where)[0] == ExitCode.FAILED
            assert look(capsys, key(TWO), key(THREE), "--any", *where)[0] == ExitCode.NOT_READY
            for never in ("c1/q1/2024-02-30", "c1/q1/2024-07-01"):
                assert look(capsys, never, *where)[0] == ExitCode.IMPOSSIBLE
                assert look(capsys, never, key(ONE), *where)[0] == ExitCode.IMPOSSIBLE
                assert look(capsys, never, key(ONE), "--any", *where)[0] == ExitCode.OK
            assert look(capsys, key(ONE), "--at-least", "2", *where)[0] == ExitCode.USAGE
            assert look(capsys, key(ONE), "--newer-than", "r1", *where)[0] == ExitCode.NOT_READY
            assert look(capsys, key(ONE), "--newer-than", "r0", *where)[0] == ExitCode.OK
            assert look(capsys, key(ONE), "--newer-than", "2020-01-01", *where)[0] == ExitCode.OK
            assert look(capsys, key(ONE), "--newer-than", "2100-01-01", *where)[0] == ExitCode.NOT_READY


def test_it_answers_as_json(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with mounted(place) as daemon:
        capsys.readouterr()
        where = ("--mount", str(daemon.path), "--timeout", "0", "--json")
        assert main(["wait", key(ONE), key(TWO), *where]) == ExitCode.NOT_READY
        first, second, error = map(json.loads, capsys.readouterr().out.splitlines())
        assert (first["met"], first["reason"], first["path"]) == (True, "ready", key(ONE))
        assert (second["met"], second["reason"]) == (False, "missing")
        assert error["exit_code"] == ExitCode.NOT_READY


def test_a_failure_ends_it_and_a_later_attempt_is_waited_for(place: Place) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    place.producer.expect(TWO)
    with (
        mounted(place, *SOON) as daemon,
        waiting(place, daemon.directory(TWO)) as waiter,
        waiting(place, daemon.directory(TWO), "--through-failures") as patient,
    ):
        waiter.has_looked()
        patient.has_looked()
        place.producer.fail(TWO, "no")
        assert waiter.code() == ExitCode.FAILED
        assert "has failed" in waiter.told()
        assert "no;" not in waiter.told(), "the message is for who reads the state"
        assert patient.is_waiting()
        place.producer.requeue(TWO)
        place.producer.write_and_publish(TWO, "r2", b"two\n")
        assert patient.code() == ExitCode.OK
        assert daemon.of(TWO).read_bytes() == b"two\n"


def test_it_waits_for_another_run(place: Place) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with mounted(place, *SOON) as daemon, waiting(place, daemon.of(ONE), "--newer-than", "r1") as waiter:
        waiter.has_looked()
        place.producer.requeue(ONE)
        wait_until(lambda: not daemon.of(ONE).exists(), "it is retracted")
        assert waiter.is_waiting()
        place.producer.write_and_publish(ONE, "r2", b"other\n")
        assert waiter.code() == ExitCode.OK
        assert daemon.of(ONE).read_bytes() == b"other\n"


def test_what_was_ready_first_is_looked_at_again_at_the_end(place: Place) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with mounted(place, *SOON) as daemon, waiting(place, daemon.of(ONE), daemon.of(TWO)) as waiter:
        waiter.has_looked()
        place.producer.requeue(ONE)
        wait_until(lambda: not daemon.of(ONE).exists(), "it is retracted")
        place.producer.write_and_publish(TWO, "r1", b"two\n")
        wait_until(lambda: daemon.of(TWO).exists(), "the other is there")
        assert waiter.is_waiting()
        place.producer.write_and_publish(ONE, "r2", b"one\n")
        assert waiter.code() == ExitCode.OK
        assert (daemon.of(ONE).read_bytes(), daemon.of(TWO).read_bytes()) == (b"one\n", b"two\n")


def test_a_broken_run_is_waited_for_until_it_is_whole(place: Place) -> None:
    run = place.producer.begin_run(ONE, "r1", b"x\n")
    place.producer.set_ready(ONE, "r1")
    with mounted(place, *SOON) as daemon, waiting(place, daemon.of(ONE)) as waiter:
        waiter.has_looked()
        assert waiter.is_waiting()
        place.producer.seal_run(run)
        assert waiter.code() == ExitCode.OK
        assert daemon.of(ONE).read_bytes() == b"x\n"


MANY: Final = [partition(customer=f"c{number}") for number in range(200)]


@pytest.mark.parametrize("count", [70, pytest.param(200, marks=pytest.mark.long)])
def test_more_partitions_than_a_user_may_ask_about_at_once_all_end(place: Place, count: int) -> None:
    """The last comes when the others were looked at: each is looked at again, at the rate that there is."""
    many = MANY[:count]
    for one in many[1:]:
        place.producer.write_and_publish(one, "r1", b"x\n")
    with mounted(place, *SOON) as daemon, waiting(place, *map(key, many), "--mount", daemon.path) as waiter:
        waiter.has_looked()
        assert f"{count - 1} of {count} ready" in waiter.told()
        place.producer.write_and_publish(many[0], "r1", b"x\n")
        assert waiter.process.wait(count) == ExitCode.OK, waiter.told()
        assert len(waiter.out.read_text("utf-8").splitlines()) == count


def test_the_rate_of_a_user_is_told_to_be_the_reason(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with mounted(place) as daemon:
        code, told = look(capsys, *map(key, MANY), "--mount", daemon.path)
        assert code == ExitCode.NOT_READY
        assert "too much was asked for at once" in told


def test_a_directory_is_refused_because_it_names_no_date(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    """A script whose variable for the day is empty must not go on."""
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with mounted(place) as daemon:
        for where in (("--mount", str(daemon.path)), offline(place)):
            for asked in ("c1/q1", "c1", "c9/q9"):
                code, told = look(capsys, asked, *where)
                assert (code, "names no date" in told) == (ExitCode.USAGE, True), told
        for path in (f"{daemon.path}/c1/q1/", daemon.path, f"{daemon.path}/c9"):
            code, told = look(capsys, path)
            assert (code, "names no date" in told) == (ExitCode.USAGE, True), told
        code, told = look(capsys, daemon.directory(ONE), key(ONE))
        assert (code, "name the mount with --mount, too" in told) == (ExitCode.USAGE, True)
        assert look(capsys, key(ONE), "--any", "--all", "--mount", daemon.path)[0] == ExitCode.USAGE


def test_the_layout_shows_a_source_that_the_key_does_not_tell(place: Place) -> None:
    layout = ("--layout", "{source}/{customer_id}/{query_name}/{logical_date}")
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with (
        mounted(place, *SOON, *layout) as daemon,
        waiting(place, key(TWO), "--mount", daemon.path, "--json") as waiter,
    ):
        waiter.has_looked()
        place.producer.write_and_publish(TWO, "r1", b"two\n")
        assert waiter.code() == ExitCode.OK, waiter.told()
        told = json.loads(waiter.out.read_text("utf-8"))
        assert (told["path"], told["met"]) == (f"s1/{key(TWO)}", True)
        assert (daemon.path / told["path"] / "payload.jsonl").read_bytes() == b"two\n"


def test_more_waits_than_one_user_may_hold_at_the_daemon_all_end(place: Place) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with mounted(place, *SOON) as daemon, ExitStack() as ending:
        waiters = [ending.enter_context(waiting(place, daemon.directory(TWO))) for _ in range(USER_WATCHES + 1)]
        for one in waiters:
            one.has_looked()
        assert daemon.public.pins() == [], "the same user can still ask for other things"
        place.producer.write_and_publish(TWO, "r1", b"two\n")
        assert [one.code() for one in waiters] == [ExitCode.OK] * len(waiters)


# ---- daemons that die, hang or are not there ----------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["pyfuse3", "passthrough"])
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_it_goes_on_waiting_through_a_restart_of_the_daemon_and_says_so(place: Place, engine: str, how: str) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with running(place, *SOON, engine=engine) as daemon, waiting(place, daemon.of(TWO)) as waiter:
        waiter.has_looked()
        if how == "killed":
            daemon.kill()
        else:
            assert daemon.stop() == 0
        gone = "is gone; still waiting" if how == "killed" else "is mounted at"
        wait_until(lambda: gone in waiter.told(), "it says so")
        again = start(place, *SOON, engine=engine)
        try:
            place.producer.write_and_publish(TWO, "r1", b"two\n")
            assert waiter.code() == ExitCode.OK, waiter.told()
            assert again.of(TWO).read_bytes() == b"two\n"
        finally:
            take_down(again)
        assert waiter.told().splitlines()[-1] == "readyfs: the daemon answers again"
        assert len(waiter.told().splitlines()) <= 5, "it says each thing once"


def test_its_time_is_up_while_there_is_no_daemon(place: Place) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with running(place, *SOON) as daemon, waiting(place, daemon.of(TWO), "--timeout", "2s") as waiter:
        waiter.has_looked()
        daemon.kill()
        assert waiter.code() == ExitCode.NOT_READY
        assert "is gone" in waiter.told().splitlines()[-1]


def test_its_time_is_up_although_the_mount_hangs(place: Place) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with mounted(place, *SOON) as daemon, waiting(place, daemon.of(TWO), "--timeout", "1s") as waiter:
        waiter.has_looked()
        daemon.process.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        assert waiter.code() == ExitCode.NOT_READY
        assert time.monotonic() - begun < 8
        daemon.process.send_signal(signal.SIGCONT)


def test_a_mount_without_a_daemon_is_refused_at_once(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    code = main(["wait", key(ONE), "--mount", str(place.mountpoint)])
    assert code == ExitCode.NOT_RUNNING
    assert "nothing is mounted at" in capsys.readouterr().err


# ---- without a mount ----------------------------------------------------------------------------------------------


def test_without_a_mount_a_producer_in_sqlite_is_waited_for(place: Place) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with waiting(place, key(TWO), key(ONE), *offline(place)) as waiter:
        waiter.has_looked()
        place.producer.expect(TWO)
        place.producer.write_and_publish(TWO, "r1", b"two\n")
        assert waiter.code() == ExitCode.OK, waiter.told()
        assert f"{key(TWO)} is ready: run r1" in waiter.out.read_text("utf-8")


def test_without_a_mount_an_outage_is_waited_through(place: Place) -> None:
    place.producer.write_and_publish(ONE, "r1", b"x\n")
    with waiting(place, key(TWO), *offline(place)) as waiter:
        waiter.has_looked()
        away = place.state.rename(place.state.with_name("away.db"))
        wait_until(lambda: "still waiting" in waiter.told(), "it says so")
        away.rename(place.state)
        place.producer.write_and_publish(TWO, "r1", b"two\n")
        assert waiter.code() == ExitCode.OK
        assert waiter.told().splitlines()[-1] == "readyfs: the state can be read again"
    missing = ("--state", str(place.base / "none.db"), "--raw", str(place.raw))
    with waiting(place, key(TWO), *missing) as refused:
        assert refused.code() == ExitCode.STATE


def test_without_a_mount_a_notification_of_postgresql_ends_it_at_once(
    place: Place, postgres: StateDatabase, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its next look would come in an hour."""
    monkeypatch.setattr(wait, "FIRST_PAUSE_S", 3600.0)
    tell, looked = wait.Wait.describe_unmet, threading.Event()
    make_trigger(postgres)
    postgres.publish(place.producer.write_run(ONE, "r1", b"x\n"))
    where = ("--state", postgres.url(), "--raw", str(place.raw), "--state-listen", "partition_state")
    # The last that it says on its connection, before it only listens.
    listening = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'readyfs listen' AND query LIKE %s"

    def describe(self: wait.Wait) -> str:
        looked.set()
        return tell(self)

    def publish() -> None:
        assert looked.wait(PATIENCE_S)
        wait_until(lambda: postgres.execute(listening, "UNLISTEN%") == [(1,)], "it listens")
        postgres.publish(place.producer.write_run(TWO, "r1", b"two\n"))

    monkeypatch.setattr(wait.Wait, "describe_unmet", describe)
    producer = threading.Thread(target=publish)
    producer.start()
    begun = time.monotonic()
    code = main(["wait", key(TWO), "--timeout", "40s", *where])
    producer.join(PATIENCE_S)
    assert code == ExitCode.OK
    assert time.monotonic() - begun < 20
    assert capfd.readouterr().out.startswith(f"{key(TWO)} is ready: run r1"), "and nothing of a log"
    assert "readyfs-listen" not in [one.name for one in threading.enumerate()]
    wait_until(lambda: postgres.execute(listening, "%") == [(0,)], "nobody listens any more")


def test_without_a_mount_a_producer_in_postgresql_is_waited_for(place: Place, postgres: StateDatabase) -> None:
    with waiting(place, key(TWO), "--state", postgres.url(), "--raw", str(place.raw)) as waiter:
        waiter.has_looked()
        postgres.publish(place.producer.write_run(TWO, "r1", b"two\n"))
        assert waiter.code() == ExitCode.OK


def test_without_a_mount_a_producer_in_mariadb_is_waited_for(place: Place, mariadb: MariadbDatabase) -> None:
    place.producer.write_run(ONE, "r1", b"x\n")
    with waiting(place, key(ONE), "--state", mariadb.url(), "--raw", str(place.raw)) as waiter:
        waiter.has_looked()
        set_row(mariadb, "2024-06-01", "r1", "2024-06-02 05:00:00")
        assert waiter.code() == ExitCode.OK, waiter.told()
