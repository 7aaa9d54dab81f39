"""`readyfs latest` through a mount: the daemon answers by the catalog in force, as the state would be read."""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from readyfs.cli.main import main
from readyfs.control.latest_request import LatestRequest
from readyfs.errors import ExitCode, LimitError, RefreshFailedError, UsageError
from tests.mount.daemon import Daemon, Place, mounted, wait_until
from tests.mount.test_pins import as_nobody


def days_ago(number: int) -> str:
    return (datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(number)).isoformat()


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One mount for all, which others can walk down to: a customer has a gap, and one ended ten days ago."""
    with tempfile.TemporaryDirectory(prefix="readyfs-") as directory:
        Path(directory).chmod(0o755)
        place = Place(Path(directory))
        with closing(place.producer):
            for number in range(30, -2, -1):
                if number != 20:
                    insert(place, "c1", number)
                if number >= 10:
                    insert(place, "c2", number)
            with mounted(place, engine="opened") as found:
                yield found


def insert(place: Place, customer: str, number: int, source: str = "s1") -> None:
    date = days_ago(number)
    place.insert(source, customer, "q1", date, "r1", updated_at=f"{date}T05:00:00.123456+00:00")


def latest(capfd: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    """Return what the command prints, without what goes on with the clock."""
    capfd.readouterr()
    assert main(["latest", *arguments, "--json"]) == ExitCode.OK
    said = capfd.readouterr()
    assert said.err == ""
    found = [json.loads(line) for line in said.out.splitlines()]
    for one in found:
        age_s = seconds_between(one["max_loaded_at"], one.pop("snapshotted_at")) if one["max_loaded_at"] else None
        assert one.pop("max_loaded_at_time_ago_in_s") == (age_s and pytest.approx(age_s, abs=1e-3))
    return found


def is_seen_after(daemon: Daemon, refreshed_at: object) -> bool:
    return daemon.status()["refreshed_at"] != refreshed_at


def seconds_between(first: str, second: str) -> float:
    return (datetime.datetime.fromisoformat(second) - datetime.datetime.fromisoformat(first)).total_seconds()


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--sla", "36h"),
        ("--deadline", "09:00", "--tz", "Europe/Berlin", "--warn", "2h", "--day-tz", "Asia/Kolkata"),
        ("--cadence", "weekdays"),
        ("--cadence", "auto"),
        ("--cadence", "* * MON,FRI"),
        ("--customer", "c2"),
        ("--customer", "c?", "--query", "other"),
        ("--since", days_ago(15)),
        ("--since", "0001-01-01"),
        ("--until", days_ago(25)),
    ],
)
def test_the_daemon_answers_what_the_state_says(
    daemon: Daemon, options: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    by_mount = latest(capfd, str(daemon.path), *options)
    assert by_mount == latest(capfd, "--state", str(daemon.place.state), *options)
    assert len(by_mount) == (0 if "other" in options else 1 if "c2" in options else 2)


def test_nothing_of_what_was_asked_for_is_told_with_its_name(daemon: Daemon, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert main(["latest", str(daemon.path), "--customer", "999"]) == ExitCode.OK
    assert capfd.readouterr().out == "the mount shows nothing of customer 999\n"


def test_a_user_without_rights_may_ask(daemon: Daemon) -> None:
    done = as_nobody(daemon, "latest", "--until", days_ago(2))
    assert (done.returncode, done.stderr) == (0, "")
    one, two = done.stdout.splitlines()[1:]
    assert one.split()[:5] == ["pass", "s1", "c1", "q1", days_ago(2)]
    assert two.split()[:7] == ["crit", "s1", "c2", "q1", days_ago(10), days_ago(2), "8"]


def test_pages_join_to_the_whole(daemon: Daemon) -> None:
    whole = [one["customer_id"] for one in daemon.public.latest(LatestRequest())]
    assert whole == ["c1", "c2"]
    after = [one["customer_id"] for one in daemon.public.latest(LatestRequest(after="s1/c1/q1"))]
    assert after == ["c2"]
    assert list(daemon.public.latest(LatestRequest(after="s1/c2/q1"))) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cadence", "hourly"), "'hourly' is not a cadence"),
        (("--day-tz", "Berlin"), "--day-tz: there is no time zone 'Berlin'"),
        (("--warn", "2h", "--crit", "1h"), "--warn 2h comes after the alarm"),
        (("--contract", "/nonexistent"), "--contract is read beside the state store"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    daemon: Daemon, options: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["latest", str(daemon.path), *options]) == ExitCode.USAGE
    errors = capfd.readouterr().err
    assert (errors.count("\n"), errors.startswith(f"readyfs: {said}")) == (1, True), errors


@pytest.mark.parametrize("request_", [LatestRequest(after="nonsense"), LatestRequest(dates={"since": "soon"})])
def test_a_request_that_makes_no_sense_is_refused(daemon: Daemon, request_: LatestRequest) -> None:
    with pytest.raises(UsageError):
        list(daemon.public.latest(request_))


def test_who_asks_too_much_is_refused_and_the_others_do_not_notice(daemon: Daemon) -> None:
    with pytest.raises(LimitError):
        for _ in range(200):
            list(daemon.public.latest(LatestRequest()))
    assert as_nobody(daemon, "latest").returncode == 0


def test_a_path_that_two_rows_claim_is_no_ready_date(place: Place) -> None:
    for number in (3, 4, 5):
        insert(place, "c1", number)
    with mounted(place, engine="opened") as daemon:
        insert(place, "c1", 3, source="s2")
        daemon.refresh()
        [one, two] = daemon.public.latest(LatestRequest())
        assert (one["source"], one["newest_date"], one["complete_until_date"]) == ("s1", days_ago(4), days_ago(4))
        # It begins with the first date of which anything is known, as in a state store.
        assert (two["source"], two["newest_date"], two["status"], two["behind_dates"]) == ("s2", None, "error", 3)


def test_an_answer_is_of_when_the_state_was_seen_and_an_outage_is_told(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    insert(place, "c1", 3)
    with mounted(place, "--interval", "100ms", engine="opened") as daemon:
        for _ in range(2):  # while all is well nothing is said, and the answer is of the last look at the state
            before = daemon.status()["refreshed_at"]
            [one] = daemon.public.latest(LatestRequest())
            after = daemon.status()["refreshed_at"]
            assert str(before) <= str(one["snapshotted_at"]) <= str(after)
            wait_until(partial(is_seen_after, daemon, after), "the state is looked at again")
        place.state.rename(place.state.with_name("away.db"))
        wait_until(lambda: daemon.status()["state_error"] is not None, "the outage is noticed")
        seen = daemon.status()["refreshed_at"]
        capfd.readouterr()
        assert main(["latest", str(daemon.path), "--json"]) == ExitCode.OK
        said = capfd.readouterr()
        assert json.loads(said.out)["snapshotted_at"] == seen
        assert said.err.startswith(f"readyfs: the mount shows the state as it was at {seen}: ")
        assert said.err.count("\n") == 1


def test_a_catalog_that_is_too_old_answers_nothing(place: Place) -> None:
    insert(place, "c1", 3)
    with mounted(place, "--interval", "100ms", "--max-staleness", "1s", engine="opened") as daemon:
        assert len(list(daemon.public.latest(LatestRequest()))) == 1
        place.state.rename(place.state.with_name("away.db"))
        wait_until(lambda: daemon.status()["stale"] is True, "the catalog is too old")
        with pytest.raises(RefreshFailedError, match=r"the catalog is \ds old"):
            list(daemon.public.latest(LatestRequest()))
