"""The page's asset events: from a real mount, to an API that fails in every way that one can."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.mount.daemon import Daemon, Place, mounted, partition
from tests.schedulers.airflow.api import LOGIN, PAGE, Answer, Api, serving
from tests.schedulers.airflow.page import Desk

ASSET = "readyfs://s1/q1"
DAYS = ("2024-06-01", "2024-06-02", "2024-06-03")


@dataclass
class Post:
    """A mount, an API, and the program between them."""

    daemon: Daemon
    api: Api
    desk: Desk
    pids: list[int] = field(default_factory=list)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the program once; return its exit code and what it says on stderr."""
        process = self.desk.start("post_events.py", *arguments, AIRFLOW_URL=self.api.url, **LOGIN)
        self.pids.append(process.pid)
        _, said = process.communicate(timeout=60)
        assert "Traceback" not in said
        return process.returncode, said

    def publish(self, *days: str, run: str = "r1", customer: str = "c1") -> None:
        """Publish days of a customer, for the mount to see."""
        for day in days:
            self.daemon.place.producer.write_and_publish(partition(customer, date=day), run, b"{}\n")
        self.daemon.refresh()

    def change_rows(self, assignment: str) -> None:
        """Change one column of all rows, for the mount to see."""
        self.daemon.place.change(f"UPDATE partition_state SET {assignment}")
        self.daemon.refresh()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One mount for all tests: each begins with nothing in it, and no consumer."""
    place = Place(tmp_path_factory.mktemp("events"))
    with closing(place.producer), mounted(place) as daemon:
        yield daemon


@pytest.fixture
def post(served: Daemon, tmp_path: Path) -> Iterator[Post]:
    served.place.change("DELETE FROM partition_state")
    for run in served.place.raw.rglob("*.json*"):
        run.unlink()
    with serving() as api:
        api.add_asset(ASSET)
        yield Post(served, api, Desk.at(tmp_path / "desk", served.path))
    if served.public.pins():
        served.public.unpin("airflow")


def told(*days: str, kind: str = "appeared", run: str = "r1") -> list[tuple[str, ...]]:
    return [(kind, "c1", day, run) for day in days]


def test_each_change_is_posted_once(post: Post) -> None:
    post.daemon.place.producer.write_and_publish(partition(query="of no DAG"), "r1", b"")
    post.publish(*DAYS)
    code, said = post.run()
    assert code == 16
    assert "where to begin?" in said
    assert post.api.posts == 0
    assert post.run("beginning") == (0, "")
    assert post.api.told() == told(*DAYS)
    post.publish(DAYS[0], run="r2")
    post.daemon.place.producer.requeue(partition(date=DAYS[1]))
    post.change_rows("record_count = 7")  # which makes the third day `touched`, and is told to nobody
    assert post.run() == (0, "")
    assert post.api.told()[3:] == [*told(DAYS[0], kind="switched", run="r2"), ("retracted", "c1", DAYS[1], "None")]
    assert [event["extra"]["old_run_id"] for event in post.api.events[3:]] == ["r1", "r1"]
    assert post.run() == (0, "")
    assert post.api.posts == 5


def test_what_is_refused_is_posted_again(post: Post) -> None:
    post.publish(*DAYS[:2])
    url, post.api.url = post.api.url, "http://127.0.0.1:9"
    code, said = post.run("beginning")
    assert (code, said.split(": ")[0]) == (1, "http://127.0.0.1:9/auth/token?")
    post.api.url = url
    for status in (403, 503):
        post.api.refuses = Answer(status, {"detail": "no \N{SNOWMAN}"})
        code, said = post.run()
        assert code == 1
        assert f"/api/v2/assets/events?: {status} " in said
    where = f"{post.api.url}/api/v2/assets/events?asset_id=1"
    post.api.refuses = Answer(302, {}, {"Location": where})  # a post that is followed becomes a question
    code, said = post.run()
    assert code == 1
    assert "took no event" in said
    post.api.refuses = None
    assert post.run() == (0, "")
    assert post.api.told() == told(*DAYS[:2])


def test_cut_short_at_any_point_it_posts_the_rest(post: Post) -> None:
    def cut(number: int) -> None:
        if number == 1:  # it arrived, and the answer did not
            raise ConnectionResetError
        os.kill(post.pids[-1], signal.SIGKILL)

    post.publish(*DAYS)
    post.api.befalls = cut
    assert post.run("beginning")[0] == 1
    assert post.run()[0] == -signal.SIGKILL
    assert post.run()[0] == -signal.SIGKILL  # all are posted, and not acknowledged
    post.publish("2024-06-04")  # which is no part of the batch that has to be told again
    assert post.run() == (0, "")
    assert post.api.told() == told(*DAYS)
    post.api.befalls = None
    assert post.run() == (0, "")
    assert post.api.told() == told(*DAYS, "2024-06-04")


def test_change_that_comes_back_is_told_again(post: Post) -> None:
    """The same two catalogs make the same names of events: an old one must not stand for a new one."""
    post.publish(DAYS[0])
    assert post.run("beginning") == (0, "")
    for status in ("pending", "success", "pending"):
        post.change_rows(f"status = '{status}'")
        assert post.run() == (0, "")
        post.api.events[1]["timestamp"] = "2024-06-03T00:00:00Z"  # of a server whose clock is ahead
    there, gone = told(DAYS[0])[0], ("retracted", "c1", DAYS[0], "None")
    assert post.api.told() == [there, gone, there, gone]
    names = [event["extra"]["readyfs_event"] for event in post.api.events]
    assert names[1] == names[3]


def test_events_of_others_and_further_pages_hide_nothing(post: Post) -> None:
    def hang_up(_number: int) -> None:
        for _ in range(2 * PAGE):
            post.api.add_event(asset_id, {"readyfs_event": "another 1-2 0"})
        raise ConnectionResetError

    for number in range(PAGE):
        post.api.add_asset(f"readyfs://other/{number}")
    query = "q 1% é\N{LINE SEPARATOR}"
    asset_id = post.api.add_asset("readyfs://s2/q%201%25%20%C3%A9%E2%80%A8")
    post.daemon.place.producer.write_and_publish(partition(query=query, source="s2"), "r1", b"")
    post.daemon.refresh()
    post.api.befalls = hang_up
    assert post.run("beginning")[0] == 1
    assert post.run() == (0, "")
    assert [event["asset_id"] for event in post.api.events] == [asset_id] * (2 * PAGE + 1)
    assert post.api.events[0]["extra"]["query_name"] == query
