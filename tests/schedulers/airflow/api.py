"""What Airflow's REST API answers to whoever posts asset events, on a port of its own.

The shape is that of Airflow 3.3.2, whose specification says version 2. The tests with the real one hold it to this:

- `POST /auth/token` takes `username` and `password`, and answers 201 with `access_token`.
- `GET /api/v2/assets` and `/api/v2/assets/events` answer with pages: `limit` is 100 at most, and each has
  `total_entries`. `uri_pattern` finds a part of a URI, `order_by=-timestamp` puts the newest event first.
- `POST /api/v2/assets/events` needs `asset_id`, a number, and takes `extra`, an object. Fields unknown to it are
  refused with 422, an asset that it does not know with 404, and a wrong token with 403.
- It answers 200 with the event: `id`, `asset_id`, `extra`, `timestamp` and more. To `extra` it adds `from_rest_api`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

EVENT_FIELDS: Final = {"asset_id", "extra", "partition_key", "access_control"}
LOGIN: Final = {"AIRFLOW_USERNAME": "readyfs", "AIRFLOW_PASSWORD": "p@ss word"}
PAGE: Final = 100
_TOKEN: Final = "a.token"


@dataclass
class Answer(Exception):
    """How a request ends; raised by whatever keeps it from its usual end."""

    status: int
    body: object
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Api:
    """The assets and events that it has, and what befalls the next posts."""

    url: str = ""
    assets: dict[str, int] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    befalls: Callable[[int], None] | None = None
    """Called with the number of the post, counted from 1, when the event is there and the answer is not."""
    refuses: Answer | None = None
    """What posts are answered with instead of being taken."""
    posts: int = 0

    def add_asset(self, uri: str) -> int:
        """Make an asset known, as a DAG that names it does."""
        return self.assets.setdefault(uri, len(self.assets) + 1)

    def add_event(self, asset_id: int, extra: dict[str, object]) -> dict[str, Any]:
        """Add an event."""
        number = len(self.events) + 1
        event = {
            "id": number,
            "asset_id": asset_id,
            "extra": {**extra, "from_rest_api": True},
            "source_map_index": -1,
            "created_dagruns": [],
            "timestamp": f"2024-06-02T00:00:00.{number:06}Z",
            "partition_key": None,
        }
        self.events.append(event)
        return event

    def told(self) -> list[tuple[str, ...]]:
        """Return type, customer, date and run of each event of a change, in the order in which they were posted."""
        names = ("type", "customer_id", "logical_date", "run_id")
        extras = (event["extra"] for event in self.events)
        return [tuple(str(extra[name]) for name in names) for extra in extras if "readyfs_event" in extra]

    def get(self, path: str, query: dict[str, str]) -> Answer:
        """Answer a GET."""
        first, count = int(query.get("offset", "0")), min(int(query.get("limit", "50")), PAGE)
        if path == "/api/v2/assets":
            found: list[Any] = [
                {"id": number, "uri": uri, "name": uri}
                for uri, number in self.assets.items()
                if query.get("uri_pattern", "") in uri
            ]
            return Answer(200, {"assets": found[first : first + count], "total_entries": len(found)})
        if path == "/api/v2/assets/events":
            found = [event for event in self.events if str(event["asset_id"]) == query["asset_id"]]
            if query.get("order_by") == "-timestamp":
                found.sort(key=lambda event: event["timestamp"], reverse=True)
            return Answer(200, {"asset_events": found[first : first + count], "total_entries": len(found)})
        return Answer(404, {"detail": "Not Found"})

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        """Answer a POST."""
        if path != "/api/v2/assets/events":
            return Answer(404, {"detail": "Not Found"})
        self.posts += 1
        if self.refuses is not None:
            return self.refuses
        if set(body) - EVENT_FIELDS or not isinstance(body.get("asset_id"), int) or type(body.get("extra")) is not dict:
            return Answer(422, {"detail": [{"type": "extra_forbidden"}]})
        if body["asset_id"] not in self.assets.values():
            return Answer(404, {"detail": f"Asset with ID: `{body['asset_id']}` was not found"})
        event = self.add_event(body["asset_id"], body["extra"])
        if self.befalls is not None:
            self.befalls(self.posts)
        return Answer(200, event)


def _handler(api: Api) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            split = urlsplit(self.path)
            self._check_token()
            self._send(api.get(split.path, {name: values[0] for name, values in parse_qs(split.query).items()}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path = urlsplit(self.path).path
            if path == "/auth/token":
                fits = body == {"username": LOGIN["AIRFLOW_USERNAME"], "password": LOGIN["AIRFLOW_PASSWORD"]}
                self._send(Answer(201, {"access_token": _TOKEN}) if fits else Answer(401, {"detail": "Unauthorized"}))
                return
            self._check_token()
            self._send(api.post(path, body))

        def _check_token(self) -> None:
            if self.headers["Authorization"] != f"Bearer {_TOKEN}":
                raise Answer(403, {"detail": "Invalid JWT token"})

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except Answer as answer:
                self._send(answer)
            except ConnectionError:
                self.close_connection = True  # without an answer

        def _send(self, answer: Answer) -> None:
            data = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(data)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def serving() -> Iterator[Api]:
    """Serve an API that knows nothing yet."""
    api = Api()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(api)) as server:
        api.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
