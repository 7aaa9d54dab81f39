"""The asking end of the public socket: lists that come in several answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from readyfs.control import public_client
from readyfs.control.broken_request import BrokenRequest
from readyfs.control.latest_request import LatestRequest
from readyfs.control.public_client import PublicClient
from readyfs.control.public_protocol import PublicRequest
from readyfs.errors import LimitError

BUSY = LimitError("too much was asked for at once", "wait some seconds and try again")
FIRST: dict[str, object] = {"series": [{"customer_id": "c1"}], "next": "s/c1/q"}
LAST: dict[str, object] = {"series": [{"customer_id": "c2"}], "next": None}


def client(
    monkeypatch: pytest.MonkeyPatch, *answers: dict[str, object] | LimitError
) -> tuple[PublicClient, list[object]]:
    """Return a client of a daemon that gives these answers, and where it notes what was asked for."""
    asked: list[object] = []
    left = list(answers)

    def ask(_client: PublicClient, request: PublicRequest, _timeout_s: float = 0.0) -> dict[str, object]:
        assert isinstance(request, LatestRequest | BrokenRequest)
        asked.append(request.after)
        answer = left.pop(0)
        if isinstance(answer, LimitError):
            raise answer
        return answer

    monkeypatch.setattr(PublicClient, "_ask", ask)
    monkeypatch.setattr(public_client, "WAIT_S", 0.0)
    return PublicClient(Path("/mnt"), Path("/run/socket")), asked


def test_a_list_that_goes_on_waits_for_its_turn_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = client(monkeypatch, FIRST, BUSY, BUSY, LAST)
    assert [one["customer_id"] for one in found.latest(LatestRequest())] == ["c1", "c2"]
    assert asked == [None, *["s/c1/q"] * 3]


def test_a_list_of_broken_runs_waits_for_its_turn_too(monkeypatch: pytest.MonkeyPatch) -> None:
    first: dict[str, object] = {"broken": [{"run_id": "r1"}], "next": "s/c1/q/2024-06-01"}
    found, asked = client(monkeypatch, first, BUSY, {"broken": [{"run_id": "r2"}], "next": None})
    assert [one["run_id"] for one in found.broken()] == ["r1", "r2"]
    assert asked == [None, *["s/c1/q/2024-06-01"] * 2]


def test_a_list_that_begins_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = client(monkeypatch, BUSY)
    with pytest.raises(LimitError):
        list(found.latest(LatestRequest()))
    assert asked == [None]


def test_a_list_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_client, "MOST_WAITS", 2)
    found, asked = client(monkeypatch, FIRST, BUSY, BUSY, BUSY)
    with pytest.raises(LimitError):
        list(found.latest(LatestRequest()))
    assert len(asked) == 4
