"""A stand-in for Dagster's webserver: of its REST and GraphQL interfaces what the page's program calls.

The shape is that of dagster-webserver 1.13: `tests/clients/test_dagster.py` runs the same program with the real one.

- `POST /report_asset_materialization/` and `/report_asset_observation/` take one JSON object of `asset_key` (a list),
  `partition`, `data_version`, `metadata` and `description`, with exactly the content type `application/json`. What they
  cannot use is 400 with `error`. They do not ask whether asset or partition are known. The answer is `{}`.
- `assetNodeOrError` of `POST /graphql` is an `AssetNotFoundError` for what no definition has. Else it has the newest
  materialization of each partition that was asked for, or null, and all observations of these, the newest first.
- `addDynamicPartition` says `DuplicateDynamicPartitionError` for one that is there.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

EVENTS: Final = {
    "/report_asset_materialization/": "materialization",
    "/report_asset_observation/": "observation",
}
FIELDS: Final = frozenset({"asset_key", "partition", "data_version", "metadata", "description"})


class Fault(Enum):
    """How a request ends otherwise than well."""

    REFUSED = 1
    """With 500, and nothing was done."""
    LOST = 2
    """It is done, and the connection ends before the answer."""
    GARBLED = 3
    """It is done, and the answer is no JSON, as of a proxy."""


@dataclass(frozen=True, slots=True)
class Event:
    """What was reported."""

    kind: str
    asset: str
    partition: str
    version: str
    metadata: dict[str, object]
    at: int


@dataclass(slots=True)
class DagsterServer:
    """What the server knows; its threads answer one request at a time."""

    url: str = ""
    assets: set[str] = field(default_factory=set)
    """Those that are in the definitions, as source and query with a slash between."""
    customers: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    """By the number of the request, from 1."""
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    clock: Iterator[int] = field(default_factory=itertools.count)

    def told(self, kind: str = "materialization") -> list[tuple[str, str]]:
        """Return partition and data version of what was reported, in its order."""
        return [(event.partition, event.version) for event in self.events if event.kind == kind]

    def answer(self, path: str, content_type: str | None, body: bytes) -> tuple[int, object]:
        """Do what is asked; return the status and the answer."""
        if content_type != "application/json":
            return 400, {"error": "content type"}
        words = json.loads(body)
        if path in EVENTS:
            return self._report(EVENTS[path], words)
        if path == "/graphql":
            return 200, {"data": self._ask(words["query"], words["variables"])}
        return 404, {"error": path}

    def _report(self, kind: str, words: dict[str, Any]) -> tuple[int, object]:
        key = words["asset_key"]
        if not set(words) <= FIELDS or not isinstance(key, list) or not all(isinstance(part, str) for part in key):
            return 400, {"error": "fields"}
        at = next(self.clock)
        self.events.append(Event(kind, "/".join(key), words["partition"], words["data_version"], words["metadata"], at))
        return 200, {}

    def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, object]:
        if "addDynamicPartition" in query:
            assert variables["repository"] == {"repositoryName": "repo", "repositoryLocationName": "place"}
            is_new = variables["customer"] not in self.customers
            if is_new:
                self.customers.append(variables["customer"])
            kind = "AddDynamicPartitionSuccess" if is_new else "DuplicateDynamicPartitionError"
            return {"addDynamicPartition": {"__typename": kind}}
        asset = "/".join(variables["asset"]["path"])
        if asset not in self.assets:
            return {"assetNodeOrError": {"__typename": "AssetNotFoundError"}}
        partitions = variables["partitions"]
        ours = [event for event in self.events if event.asset == asset and event.partition in partitions]
        newest = {event.partition: describe(event) for event in ours if event.kind == "materialization"}
        return {
            "assetNodeOrError": {
                "__typename": "AssetNode",
                "repository": {"name": "repo", "location": {"name": "place"}},
                "materializations": [newest.get(name) for name in partitions],
                "observations": [describe(event) for event in reversed(ours) if event.kind == "observation"],
            }
        }


def describe(event: Event) -> dict[str, object]:
    """Return an event as GraphQL answers it: the time is a text of milliseconds."""
    tags = [
        {"key": "dagster/data_version", "value": event.version},
        {"key": "dagster/data_version_is_user_provided", "value": "true"},
    ]
    return {"timestamp": str(event.at), "partition": event.partition, "tags": tags}


@contextmanager
def serving_dagster() -> Iterator[DagsterServer]:
    """Serve on a port of its own until the body ends."""
    dagster = DagsterServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with dagster.lock:
                dagster.requests += 1
                fault = dagster.faults.get(dagster.requests)
                if fault is Fault.REFUSED:
                    status, answer = 500, b"out of order"
                else:
                    status, words = dagster.answer(self.path, self.headers["Content-Type"], body)
                    answer = b"<html>" if fault is Fault.GARBLED else json.dumps(words).encode()
            if fault is Fault.LOST:
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        dagster.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield dagster
        finally:
            server.shutdown()
            thread.join()
