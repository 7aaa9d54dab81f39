"""V21: through real mounts, `why` tells the true reason, one for each there is, and nothing of what is filtered."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec

import pytest

from readyfs.cli.main import main
from readyfs.consumer.explanation import NO_FIELDS, Reason
from readyfs.control.pin_requests import PinRequest
from readyfs.control.protocol import socket_path
from readyfs.demo.producer import LogicalPartition
from readyfs.errors import ExitCode, LimitError
from readyfs.partition import WithheldReason
from tests.consumer.test_why import REASONS_OF_ERRORS
from tests.mount.daemon import Daemon, Place, mounted, partition, wait_until
from tests.mount.test_pins import run_as_nobody
from tests.postgres.database import StateDatabase

READY: Final = partition(date="2024-06-01")
PENDING: Final = partition(date="2024-06-02")
REQUEUED: Final = partition(date="2024-06-03")
FAILED: Final = partition(date="2024-06-04")
NO_ROW: Final = partition(date="2024-06-05")
NO_RUN: Final = partition(date="2024-06-06")
BAD: Final = partition(date="2024-06-07")
SLASH: Final = partition(date="2024-06-08")
BROKEN: Final = partition(date="2024-06-09")
CLAIMED: Final = partition(date="2024-06-10")
UNSEEN: Final = partition(date="2024-06-11")
TWICE: Final = partition(date="2024-06-12")
EARLY, LATE = partition(date="2024-05-31"), partition(date="2024-07-01")
STRANGER: Final = partition(customer="secret")
ENGINES: Final = ("pyfuse3", "passthrough")
"""One way of reading of each: what is asked here goes to no kernel."""
on_both_engines: Final = pytest.mark.parametrize("engine", ENGINES)
TOLD: Final[set[Reason | WithheldReason]] = set()
"""What a test of this module is for."""
ANSWERED: Final[list[object]] = []
"""What was answered in the test that runs."""
P = ParamSpec("P")
MESSAGE: Final = "quota of customer 42 exceeded"


def put(place: Place, one: LogicalPartition, status: str, run: str | None = None, **more: object) -> None:
    """Write a row of any kind."""
    row = {
        "source": one.source,
        "customer_id": one.customer_id,
        "query_name": one.query_name,
        "logical_date": one.logical_date,
        "status": status,
        "current_run_id": run,
        "updated_at": "2024-07-02T05:00:00+00:00",
        **more,
    }
    names, marks = ", ".join(row), ", ".join("?" for _ in row)
    place.change(f"INSERT OR REPLACE INTO partition_state({names}) VALUES ({marks})", *row.values())


def fill(place: Place) -> None:
    for one in (READY, BROKEN, EARLY, LATE, STRANGER):
        place.producer.write_and_publish(one, "r1", b"x\n")
    (place.producer.run_directory(BROKEN, "r1") / "metadata.json").unlink()
    put(place, PENDING, "pending", attempt_count=2)
    put(place, REQUEUED, "pending", "r7")
    put(place, FAILED, "failed", "r1", attempt_count=3, error_message=MESSAGE)
    put(place, NO_RUN, "success")
    put(place, BAD, "success", "r1", record_count="many")
    put(place, SLASH, "success", "a/b")
    put(place, STRANGER._replace(logical_date="2024-06-02"), "failed", error_message=MESSAGE)


@dataclass(slots=True)
class World:
    """A mount with a partition for each reason."""

    place: Place
    daemon: Daemon

    def path(self, one: LogicalPartition, *names: str) -> str:
        return str(self.daemon.directory(one).joinpath(*names))


@pytest.fixture(scope="module", params=ENGINES)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = Place(tmp_path_factory.mktemp("why"))
    options = ("--customer", "c*", "--since", "2024-06-01", "--until", "2024-06-30", "--files", "*.json*")
    with closing(place.producer):
        fill(place)
        with mounted(place, *options, engine=str(request.param)) as daemon:
            place.producer.write_and_publish(CLAIMED, "r1", b"x\n")
            place.producer.write_and_publish(CLAIMED._replace(source="s2"), "r2", b"x\n")
            daemon.refresh()
            place.producer.write_and_publish(UNSEEN, "r9", b"x\n")
            yield World(place, daemon)


def ask(capsys: pytest.CaptureFixture[str], asked: str, *options: str) -> tuple[int, dict[str, object]]:
    """Run `readyfs why --json`."""
    capsys.readouterr()
    code = main(["why", asked, *options, "--json"])
    told = capsys.readouterr()
    assert not told.err
    answer = json.loads(told.out)
    assert {"asked", "reason", "detail", "note", "sentence", "remedy", *NO_FIELDS} <= set(answer)
    ANSWERED.extend((Reason(str(answer["reason"])), answer["withheld"] and WithheldReason(str(answer["withheld"]))))
    return code, answer


def tells(*told: Reason | WithheldReason) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Hold a test to having `ask` answered by these, and note that they have a test."""
    TOLD.update(told)

    def decorate(test: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(test)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            ANSWERED.clear()
            test(*args, **kwargs)
            assert set(told) <= {*ANSWERED}

        return run

    return decorate


def offline(place: Place) -> tuple[str, ...]:
    return ("--state", str(place.state), "--raw", str(place.raw))


def key(one: LogicalPartition) -> str:
    return f"{one.customer_id}/{one.query_name}/{one.logical_date}"


def both_ways(
    capsys: pytest.CaptureFixture[str], world: World, one: LogicalPartition
) -> tuple[dict[str, object], dict[str, object]]:
    """Ask the daemon by path, and the stores by key; both give the same reason."""
    code, shown = ask(capsys, world.path(one))
    code_by_key, by_key = ask(capsys, key(one), "--mount", str(world.daemon.path))
    code_offline, told = ask(capsys, key(one), *offline(world.place))
    assert code == code_by_key == code_offline
    assert shown["reason"] == by_key["reason"] == told["reason"], told
    expected = {"ready": ExitCode.OK, "impossible": ExitCode.IMPOSSIBLE}.get(str(told["reason"]), ExitCode.FOUND)
    assert code == expected
    return shown, told


# ---- one for each reason ------------------------------------------------------------------------------------------


@tells(Reason.READY)
def test_ready_tells_which_run_and_since_when(capsys: pytest.CaptureFixture[str], world: World) -> None:
    for answer in both_ways(capsys, world, READY):
        assert answer["reason"] == Reason.READY
        assert (answer["run_id"], answer["record_count"], answer["source"]) == ("r1", 1, "s1")
        since = str(answer["updated_at"])
        assert f"run r1 since {since[:10]} {since[11:19]}Z" in str(answer["sentence"])
        assert answer["note"] == ""


@tells(Reason.PENDING)
def test_pending_tells_what_its_row_says(capsys: pytest.CaptureFixture[str], world: World) -> None:
    for answer in both_ways(capsys, world, PENDING):
        assert (answer["reason"], answer["status"], answer["attempt_count"]) == (Reason.PENDING, "pending", 2)
        assert "pending since 2024-07-02 05:00:00Z" in str(answer["detail"])


def test_a_partition_that_is_not_ready_tells_which_run_its_row_names(
    capsys: pytest.CaptureFixture[str], world: World
) -> None:
    for answer in both_ways(capsys, world, REQUEUED):
        assert (answer["reason"], answer["status"], answer["run_id"]) == (Reason.PENDING, "reprocessing", "r7")
        assert "its row still names run r7, and its row says pending" in str(answer["sentence"])


@tells(Reason.MISSING)
def test_missing_has_no_row(capsys: pytest.CaptureFixture[str], world: World) -> None:
    for answer in both_ways(capsys, world, NO_ROW):
        assert (answer["reason"], answer["status"], answer["logical_date"]) == (Reason.MISSING, None, "2024-06-05")


@tells(Reason.FAILED)
def test_failed_tells_attempts_and_its_message_only_to_who_reads_the_state(
    capsys: pytest.CaptureFixture[str], world: World
) -> None:
    shown, told = both_ways(capsys, world, FAILED)
    assert shown["reason"] == Reason.FAILED
    assert shown["attempt_count"] == told["attempt_count"] == 3
    assert MESSAGE not in json.dumps(shown)
    assert (shown["note"], told["note"]) == ("the message of its row is not shown through this mount", "")
    assert (told["error_message"], MESSAGE in str(told["sentence"])) == (MESSAGE, True)


@tells(Reason.WITHHELD, WithheldReason.NO_RUN_ID, WithheldReason.BAD_ROW, WithheldReason.UNUSABLE_RAW_PATH)
def test_withheld_tells_why(capsys: pytest.CaptureFixture[str], world: World) -> None:
    for one, why in (
        (NO_RUN, WithheldReason.NO_RUN_ID),
        (BAD, WithheldReason.BAD_ROW),
        (SLASH, WithheldReason.UNUSABLE_RAW_PATH),
    ):
        for answer in both_ways(capsys, world, one):
            assert (answer["reason"], answer["withheld"]) == (Reason.WITHHELD, why.value)
            assert str(answer["detail"]).startswith(f"{why.value}: ")


@tells(Reason.WITHHELD, WithheldReason.UNUSABLE_NAME)
def test_a_name_that_is_too_long_is_withheld(capsys: pytest.CaptureFixture[str], world: World) -> None:
    long = partition(customer="c" * 300)
    put(world.place, long, "success", "r1")
    for answer in (
        ask(capsys, key(long), "--mount", str(world.daemon.path))[1],
        ask(capsys, key(long), *offline(world.place))[1],
    ):
        assert (answer["reason"], answer["withheld"]) == (Reason.WITHHELD, WithheldReason.UNUSABLE_NAME.value)


@tells(Reason.BROKEN)
def test_broken_tells_which_file_is_not_there(capsys: pytest.CaptureFixture[str], world: World) -> None:
    for answer in both_ways(capsys, world, BROKEN):
        assert (answer["reason"], answer["run_id"]) == (Reason.BROKEN, "r1")
        assert "metadata.json is missing" in str(answer["detail"])
    world.daemon.assert_refused(world.path(BROKEN, "payload.jsonl"))


def take_away_file(place: Place) -> Callable[[], object]:
    run = place.producer.run_directory(READY, "r1")
    away = (run / "payload.jsonl").rename(place.base / "away")
    return lambda: away.rename(run / "payload.jsonl")


def take_away_run(place: Place) -> Callable[[], object]:
    run = place.producer.run_directory(READY, "r1")
    away = run.rename(place.base / "away")
    return lambda: away.rename(run)


def take_away_raw(place: Place) -> Callable[[], object]:
    away = place.raw.rename(place.base / "away")
    return lambda: away.rename(place.raw)


def cut_short(place: Place) -> Callable[[], object]:
    payload = place.producer.run_directory(READY, "r1") / "payload.jsonl"
    stat, data = payload.stat(), payload.read_bytes()
    payload.write_bytes(data[:-1])

    def mend() -> None:
        payload.write_bytes(data)
        os.utime(payload, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    return mend


@on_both_engines
def test_a_run_that_was_served_before_is_looked_at_again(
    capsys: pytest.CaptureFixture[str], place: Place, engine: str
) -> None:
    """Its files went away, or changed, since it was read: `why`, `wait` and the next open agree on it."""
    place.producer.write_and_publish(READY, "r1", b"x\n")
    with mounted(place, engine=engine) as daemon:
        asked = str(daemon.directory(READY))
        for harm in (take_away_file, take_away_run, take_away_raw, cut_short):
            assert daemon.of(READY).read_bytes() == b"x\n", harm
            mend = harm(place)
            try:
                # First of all `wait`, which must find it by itself.
                assert main(["wait", asked, "--timeout", "0"]) == ExitCode.NOT_READY, harm
                assert "cannot be served" in capsys.readouterr().err
                code, answer = ask(capsys, asked)
                assert (code, answer["reason"], answer["looked_at"]) == (ExitCode.FOUND, Reason.BROKEN, True), harm
                assert daemon.status()["broken"] == 1
                daemon.assert_refused(daemon.of(READY))
            finally:
                mend()
            assert ask(capsys, asked)[0] == ExitCode.OK, harm


def test_a_run_that_nobody_could_look_at_is_not_told_to_be_good(
    capsys: pytest.CaptureFixture[str], world: World
) -> None:
    """Without a raw root: exit code 0 would say that it can be opened, and a wait would end for that."""
    state = ("--state", str(world.place.state))
    code, answer = ask(capsys, key(READY), *state)
    assert (code, answer["reason"], answer["looked_at"]) == (ExitCode.FOUND, Reason.READY, False)
    assert answer["note"] == "the run was not looked at: no raw root is named"
    assert main(["wait", key(READY), "--timeout", "0", *state]) == ExitCode.USAGE
    assert "name it with --raw" in capsys.readouterr().err
    assert ask(capsys, key(FAILED), *state)[1]["reason"] == Reason.FAILED


def test_a_remedy_is_told_where_there_is_one(capsys: pytest.CaptureFixture[str], world: World) -> None:
    assert main(["why", world.path(BROKEN)]) == ExitCode.FOUND
    assert "\nremedy: have its producer write another run" in capsys.readouterr().out
    assert main(["why", world.path(READY)]) == ExitCode.OK
    assert "remedy" not in capsys.readouterr().out


def test_a_source_tells_which_key_is_meant_and_hides_no_other_claim(
    capsys: pytest.CaptureFixture[str], world: World, tmp_path: Path
) -> None:
    """One path that two sources claim is shown by no mount, of whichever source the key is said to be."""
    config = tmp_path / "readyfs.toml"
    config.write_text(f'state = "{world.place.state}"\nraw = "{world.place.raw}"\n', "utf-8")
    of_both = tmp_path / "both.toml"
    of_both.write_text(config.read_text("utf-8") + 'source = ["s1"]\n', "utf-8")
    for where in (offline(world.place), ("--mount", str(world.daemon.path)), ("--config", str(config))):
        for source in ("s1", "s2"):
            code, answer = ask(capsys, key(CLAIMED), *where, "--source", source)
            assert (code, answer["reason"]) == (ExitCode.FOUND, Reason.AMBIGUOUS), where
            assert main(["wait", key(CLAIMED), *where, "--source", source, "--timeout", "0"]) == ExitCode.NOT_READY
            assert "mend it" in capsys.readouterr().err
    # The sources of the mount are those of its file.
    assert ask(capsys, key(CLAIMED), "--config", str(of_both), "--source", "s1")[1]["reason"] == Reason.READY
    assert ask(capsys, key(CLAIMED), "--config", str(of_both), "--source", "s2")[1]["reason"] == Reason.FILTERED


@tells(Reason.AMBIGUOUS, WithheldReason.AMBIGUOUS_PATH)
def test_ambiguous_tells_both_rows(capsys: pytest.CaptureFixture[str], world: World) -> None:
    for answer in both_ways(capsys, world, CLAIMED):
        claims = answer["claims"]
        assert isinstance(claims, list)
        assert answer["reason"] == Reason.AMBIGUOUS
        assert sorted((one["source"], one["run_id"]) for one in claims) == [("s1", "r1"), ("s2", "r2")]


@tells(Reason.NOT_SEEN_YET)
def test_what_the_mount_has_not_seen_yet_tells_when_it_looked(capsys: pytest.CaptureFixture[str], world: World) -> None:
    code, answer = ask(capsys, world.path(UNSEEN))
    assert (code, answer["reason"], answer["run_id"]) == (ExitCode.FOUND, Reason.NOT_SEEN_YET, "r9")
    looked = str(world.daemon.status()["refreshed_at"])
    assert f"{looked[:10]} {looked[11:19]}Z" in str(answer["detail"])
    assert ask(capsys, key(UNSEEN), *offline(world.place))[1]["reason"] == Reason.READY


@pytest.mark.parametrize(
    ("one", "why"), [(EARLY, "before --since"), (LATE, "after --until"), (STRANGER, "outside of --customer")]
)
@tells(Reason.FILTERED)
def test_filtered_tells_nothing_but_the_kind_of_the_filter(
    capsys: pytest.CaptureFixture[str], world: World, one: LogicalPartition, why: str
) -> None:
    """Whether there is a row, what it says, and which customers the mount is for: nobody is told."""
    code, there = ask(capsys, world.path(one))
    _, absent = ask(capsys, world.path(one._replace(query_name="q9")))
    assert (code, there["reason"]) == (ExitCode.FOUND, Reason.FILTERED)
    assert why in str(there["detail"])
    assert {**there, "asked": 0, "sentence": 0, "query_name": 0} == {
        **absent,
        "asked": 0,
        "sentence": 0,
        "query_name": 0,
    }
    assert there["run_id"] is there["status"] is None
    assert "c*" not in json.dumps(there)


def test_a_file_that_is_hidden_is_filtered_whether_it_is_there_or_not(
    capsys: pytest.CaptureFixture[str], world: World
) -> None:
    run = world.place.producer.run_directory(READY, "r1")
    (run / "notes.txt").write_bytes(b"private")
    for name in ("notes.txt", "other.txt"):
        code, answer = ask(capsys, world.path(READY, name))
        assert (code, answer["reason"], answer["run_id"]) == (ExitCode.FOUND, Reason.FILTERED, None)
        assert "--files" in str(answer["detail"])


def test_a_file_that_the_run_does_not_have_is_missing_and_breaks_nothing(
    capsys: pytest.CaptureFixture[str], world: World
) -> None:
    for names in (("none.json",), ("nowhere", "deep.json"), ("payload.jsonl", "below.json")):
        code, answer = ask(capsys, world.path(READY, *names))
        assert (code, answer["reason"]) == (ExitCode.FOUND, Reason.MISSING)
        assert "no such file" in str(answer["detail"])
    assert ask(capsys, world.path(READY, "payload.jsonl"))[1]["reason"] == Reason.READY
    assert Path(world.path(READY, "payload.jsonl")).read_bytes() == b"x\n"


@pytest.mark.parametrize(
    ("below", "nearest"),
    [
        ("c1/q1/2024-6-1", "c1/q1/2024-06-01"),
        ("c1/q1/2024-02-30", None),
        ("c%31/q1/2024-06-01", "c1/q1/2024-06-01"),
        ("customer_id=c1/query_name=q1/logical_date=2024-06-01", "c1/q1/2024-06-01"),
        (".readyfs/status", None),
    ],
)
@tells(Reason.IMPOSSIBLE)
def test_impossible_tells_the_nearest_possible_path(
    capsys: pytest.CaptureFixture[str], world: World, below: str, nearest: str | None
) -> None:
    """A date that is none, a wrong escape, another layout, a reserved name."""
    code, answer = ask(capsys, f"{world.daemon.path}/{below}")
    assert (code, answer["reason"]) == (ExitCode.IMPOSSIBLE, Reason.IMPOSSIBLE)
    assert answer["nearest"] == (None if nearest is None else f"{world.daemon.path}/{nearest}")
    assert not os.path.lexists(f"{world.daemon.path}/{below}") or below.startswith(".readyfs")


@tells(Reason.EXPIRED)
def test_a_view_holds_still_and_one_that_is_not_kept_is_expired(
    capsys: pytest.CaptureFixture[str], world: World
) -> None:
    view = world.daemon.public.view(str(world.daemon.status()["fingerprint"]))
    names = (READY.customer_id, READY.query_name)
    assert ask(capsys, str(view.joinpath(*names, READY.logical_date)))[1]["reason"] == Reason.READY
    code, answer = ask(capsys, str(view.joinpath(*names, UNSEEN.logical_date)))
    assert (code, answer["reason"]) == (ExitCode.FOUND, Reason.MISSING)
    assert "when the view was taken" in str(answer["detail"])
    for gone in (world.daemon.public.view("ab" * 16), world.daemon.path / ".readyfs/at/job"):
        code, answer = ask(capsys, str(gone.joinpath(*names, READY.logical_date)))
        assert (code, answer["reason"]) == (ExitCode.FOUND, Reason.EXPIRED)
        assert answer["detail"] == "the view is not kept any more, or never was"


def test_a_view_whose_grace_time_runs_is_expired(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    place.producer.write_and_publish(READY, "r1", b"x\n")
    with mounted(place, "--history-count", "0", "--pin-grace", "1h") as daemon:
        view = daemon.public.view(str(daemon.public.pin(PinRequest("job"))["fingerprint"]))
        there = view / READY.customer_id / READY.query_name / READY.logical_date
        assert ask(capsys, str(there))[1]["reason"] == Reason.READY
        place.producer.write_and_publish(READY, "r2", b"y\n")
        daemon.refresh()
        os.stat(there)
        daemon.public.unpin("job")
        wait_until(lambda: ask(capsys, str(there))[1]["reason"] == Reason.EXPIRED, "it has expired")
        assert ask(capsys, str(daemon.directory(READY)))[1]["run_id"] == "r2"


def test_directories_are_there_or_not(capsys: pytest.CaptureFixture[str], world: World) -> None:
    root = world.daemon.path
    for there in (root, root / "c1", root / "c1/q1"):
        assert ask(capsys, str(there))[0] == ExitCode.OK
    code, answer = ask(capsys, str(root / "c1/q9"))
    assert (code, answer["reason"]) == (ExitCode.FOUND, Reason.PENDING)
    assert "name a date" in str(answer["detail"])
    assert ask(capsys, "c1/q1", "--mount", str(root))[0] == ExitCode.OK
    code, answer = ask(capsys, str(root / "c1/q1/latest"))
    assert (code, answer["logical_date"]) == (ExitCode.FOUND, CLAIMED.logical_date)


# ---- reasons that concern a whole mount ---------------------------------------------------------------------------


@on_both_engines
@tells(Reason.HELD_BACK)
def test_held_back_tells_what_the_guard_says(capsys: pytest.CaptureFixture[str], place: Place, engine: str) -> None:
    days = [partition(date=f"2024-06-{number:02}") for number in range(1, 9)]
    for one in days:
        place.producer.write_and_publish(one, "r1", b"x\n")
    new = partition(date="2024-06-20")
    with mounted(place, "--max-retract", "50%", "--retract-floor", "3", "--interval", "100ms", engine=engine) as daemon:
        place.change("UPDATE partition_state SET status = 'pending'")
        place.producer.write_and_publish(new, "r2", b"x\n")
        wait_until(lambda: daemon.status()["held_back_fingerprint"] is not None, "it is held back")
        code, answer = ask(capsys, str(daemon.directory(new)))
        assert (code, answer["reason"], answer["run_id"]) == (ExitCode.FOUND, Reason.HELD_BACK, "r2")
        assert "--max-retract" in str(answer["detail"])
        code, answer = ask(capsys, str(daemon.directory(days[0])))
        assert (code, answer["reason"]) == (ExitCode.OK, Reason.READY)
        assert "its row says pending by now, and the state is held back" in str(answer["note"])


@on_both_engines
@tells(Reason.STALE)
def test_stale_tells_that_every_path_fails_and_an_outage_that_nobody_knows(
    capsys: pytest.CaptureFixture[str], place: Place, engine: str
) -> None:
    place.producer.write_and_publish(READY, "r1", b"x\n")
    away = place.state.with_name("away.db")
    with mounted(place, "--max-staleness", "1s", "--interval", "100ms", engine=engine) as daemon:
        shutil.move(place.state, away)
        wait_until(lambda: daemon.status()["state_error"] is not None, "the outage is noticed")
        code, answer = ask(capsys, str(daemon.directory(NO_ROW)))
        if answer["reason"] != Reason.STALE:  # it may have become stale meanwhile
            assert (code, answer["reason"]) == (ExitCode.FOUND, Reason.NOT_SEEN_YET)
            assert "does not exist" in str(answer["note"])
        wait_until(lambda: daemon.status()["stale"] is True, "it is stale")
        for one in (READY, NO_ROW):
            code, answer = ask(capsys, str(daemon.directory(one)))
            assert (code, answer["reason"]) == (ExitCode.FOUND, Reason.STALE)
        shutil.move(away, place.state)
        wait_until(lambda: daemon.status()["stale"] is False, "it is fresh again")


def test_what_the_state_says_by_now_stands_in_the_note(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    place.producer.write_and_publish(READY, "r1", b"x\n")
    with mounted(place) as daemon:
        place.producer.write_and_publish(READY, "r2", b"y\n")
        code, answer = ask(capsys, str(daemon.directory(READY)))
        assert (code, answer["reason"], answer["run_id"]) == (ExitCode.OK, Reason.READY, "r1")
        assert answer["note"] == "its row names run r2 by now, which the mount has not seen yet"
        place.change("DELETE FROM partition_state")
        assert "no row of it any more" in str(ask(capsys, str(daemon.directory(READY)))[1]["note"])


def test_messages_are_told_where_the_operator_allows_it(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    put(place, FAILED, "failed", error_message="bad\x1b[31m\n")
    place.producer.write_and_publish(READY, "r1", b"x\n")
    with mounted(place, "--show-error-messages") as daemon:
        _, answer = ask(capsys, str(daemon.directory(FAILED)))
        assert answer["error_message"] == "bad\x1b[31m\n"
        assert "bad\\x1b[31m\\n" in str(answer["sentence"])
        main(["why", str(daemon.directory(FAILED))])
        assert "\x1b" not in capsys.readouterr().out


# ---- sources ------------------------------------------------------------------------------------------------------


def test_a_key_of_several_sources_needs_to_be_told_which(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    other = READY._replace(source="s2")
    place.producer.write_and_publish(READY, "r1", b"x\n")
    place.producer.write_and_publish(other, "r2", b"x\n")
    layout = "{source}/{customer_id}/{query_name}/{logical_date}"
    with mounted(place, "--layout", layout) as daemon:
        there = ("--mount", str(daemon.path))
        for options in (there, (*offline(place), "--layout", layout)):
            assert main(["why", key(READY), *options]) == ExitCode.USAGE
            assert "name one with --source" in capsys.readouterr().err
            assert ask(capsys, key(READY), *options, "--source", "s2")[1]["run_id"] == "r2"
        assert ask(capsys, f"{daemon.path}/s1/{key(READY)}")[1]["run_id"] == "r1"
        put(place, PENDING, "pending")
        assert ask(capsys, key(PENDING), *there)[1]["reason"] == Reason.PENDING
        assert ask(capsys, key(PENDING), *there, "--source", "s2")[1]["reason"] == Reason.MISSING


def test_of_several_rows_at_one_path_the_one_that_may_come_first_is_told(
    capsys: pytest.CaptureFixture[str], place: Place
) -> None:
    place.producer.write_and_publish(READY, "r1", b"x\n")
    put(place, FAILED, "failed")
    put(place, FAILED._replace(source="s0"), "pending")
    with mounted(place) as daemon:
        assert ask(capsys, str(daemon.directory(FAILED)))[1]["reason"] == Reason.PENDING
        assert ask(capsys, key(FAILED), "--mount", str(daemon.path), "--source", "s1")[1]["reason"] == Reason.FAILED


def test_rows_of_sources_that_are_filtered_are_never_told(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    """The path does not tell the source: a row of another source than those of the mount is as if it were not there."""
    place.producer.write_and_publish(READY, "r1", b"x\n")
    put(place, FAILED._replace(source="s2"), "failed", error_message=MESSAGE)
    with mounted(place, "--source", "s1", "--show-error-messages") as daemon:
        _, answer = ask(capsys, str(daemon.directory(FAILED)))
        assert answer["reason"] == Reason.MISSING
        assert MESSAGE not in json.dumps(answer)
        _, answer = ask(capsys, key(FAILED), "--mount", str(daemon.path), "--source", "s2")
        assert answer["reason"] == Reason.FILTERED
        assert MESSAGE not in json.dumps(answer)


# ---- who may ask ---------------------------------------------------------------------------------------------------


def test_a_user_without_rights_may_ask_and_one_who_may_not_enter_is_told_nothing(open_place: Place) -> None:
    """It has no password and may not read the state file: the daemon answers, if the mount lets the user in."""
    open_place.state.chmod(0o600)
    put(open_place, FAILED, "failed", attempt_count=3, error_message=MESSAGE)
    with mounted(open_place) as daemon:
        told = run_as_nobody("why", str(daemon.directory(FAILED)), "--json")
        answer = json.loads(told.stdout)
        assert (told.returncode, answer["reason"], answer["attempt_count"]) == (ExitCode.FOUND, Reason.FAILED, 3)
        assert MESSAGE not in told.stdout
        waited = run_as_nobody("wait", str(daemon.directory(FAILED)), "--timeout", "0")
        assert waited.returncode == ExitCode.FAILED
        assert MESSAGE not in waited.stderr
    with mounted(open_place, "--dir-mode", "0500") as daemon:
        told = run_as_nobody("why", str(daemon.directory(FAILED)), "--socket", str(socket_of(daemon)))
        assert (told.returncode, told.stdout) == (ExitCode.NOT_PERMITTED, "")
        assert "failed" not in told.stderr


def socket_of(daemon: Daemon) -> Path:
    return socket_path(daemon.place.public_dir, daemon.path)


# ---- PostgreSQL ---------------------------------------------------------------------------------------------------


@on_both_engines
def test_postgres_is_asked_for_the_same(
    capsys: pytest.CaptureFixture[str], place: Place, engine: str, postgres: StateDatabase
) -> None:
    postgres.publish(place.producer.write_run(READY, "r1", b"x\n"))
    with mounted(place, "--state", postgres.url(), engine=engine) as daemon:
        postgres.publish(place.producer.write_run(UNSEEN, "r9", b"x\n"))
        postgres.publish(place.producer.write_run(FAILED, "r2", b"x\n"))
        postgres.execute("UPDATE partition_state SET status = 'failed' WHERE logical_date = '2024-06-04'")
        for one, reason in (
            (READY, Reason.READY),
            (UNSEEN, Reason.NOT_SEEN_YET),
            (FAILED, Reason.FAILED),
            (NO_ROW, Reason.MISSING),
        ):
            answer = ask(capsys, str(daemon.directory(one)))[1]
            assert answer["reason"] == reason, answer
        offline_reason = ask(capsys, key(FAILED), "--state", postgres.url(), "--raw", str(place.raw))[1]["reason"]
        assert offline_reason == Reason.FAILED


# ---- stores that hang, users that ask too much --------------------------------------------------------------------


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Hold SQLite's exclusive lock, as a producer that hangs in the middle of a commit would."""
    with closing(sqlite3.connect(place.state, isolation_level=None)) as state:
        state.execute("BEGIN EXCLUSIVE")
        yield
        state.execute("ROLLBACK")


@on_both_engines
def test_a_state_that_hangs_leaves_an_answer_of_the_catalog_with_a_note(
    capsys: pytest.CaptureFixture[str], place: Place, engine: str
) -> None:
    place.producer.write_and_publish(READY, "r1", b"x\n")
    with mounted(place, "--state-timeout", "300ms", engine=engine) as daemon, locked(place):
        for one, reason in ((READY, Reason.READY), (NO_ROW, Reason.NOT_SEEN_YET)):
            code, answer = ask(capsys, str(daemon.directory(one)))
            assert (answer["reason"], code == 0) == (reason, one is READY)
            assert "the state could not be asked" in str(answer["note"])


def test_a_state_that_never_answers_costs_threads_and_time_that_are_bounded(
    place: Place, own_postgres: StateDatabase
) -> None:
    """Its server is stopped: questions end at their deadline, as many as ask, and the mount serves on."""
    own_postgres.publish(place.producer.write_run(READY, "r1", b"x\n"))
    with mounted(place, "--state", own_postgres.url()) as daemon, ExitStack() as after:
        own_postgres.server.pause()
        after.callback(own_postgres.server.resume)
        answers: list[dict[str, object]] = []
        before = len(list(Path(f"/proc/{daemon.pid}/task").iterdir()))
        asking = [
            threading.Thread(target=lambda: answers.append(daemon.public.why(str(daemon.directory(NO_ROW)))))
            for _ in range(8)
        ]
        begun = time.monotonic()
        for thread in asking:
            thread.start()
        assert daemon.of(READY).read_bytes() == b"x\n"
        daemon.status()
        assert len(list(Path(f"/proc/{daemon.pid}/task").iterdir())) <= before + 8
        for thread in asking:
            thread.join(9)
        assert time.monotonic() - begun < 8
        assert [one["reason"] for one in answers] == ["not_seen_yet"] * 8
        assert all("the state could not be asked" in str(one["note"]) for one in answers)


def test_a_user_who_asks_too_much_is_refused_and_the_mount_answers_on(place: Place) -> None:
    place.producer.write_and_publish(READY, "r1", b"x\n")
    with mounted(place) as daemon:
        with pytest.raises(LimitError, match="too much"):
            for _ in range(300):
                daemon.public.why("c1/q1/2024-02-30")
        assert daemon.of(READY).read_bytes() == b"x\n"
        # A reserve is left for what is answered from memory.
        _, shown = daemon.public.shown([str(daemon.directory(READY)), "c1/q1/2024-02-30"])
        assert [one is not None for one in shown or ()] == [True, False]


def test_every_reason_is_told_by_a_test() -> None:
    """`tells` holds each of these tests to what it is for; so the list is complete if all of it is in there."""
    assert set(Reason) == {one for one in TOLD if isinstance(one, Reason)}
    assert set(WithheldReason) == {one for one in TOLD if isinstance(one, WithheldReason)}
    assert {one for one in REASONS_OF_ERRORS.values() if one is not None} <= TOLD


def test_why_writes_nothing(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    place.producer.write_and_publish(READY, "r1", b"x\n")
    before = subprocess.run(["find", str(place.base), "-newermt", "@0", "-printf", "%p %T@ %s\n"], capture_output=True)
    ask(capsys, key(READY), *offline(place))
    after = subprocess.run(["find", str(place.base), "-newermt", "@0", "-printf", "%p %T@ %s\n"], capture_output=True)
    assert before.stdout == after.stdout
