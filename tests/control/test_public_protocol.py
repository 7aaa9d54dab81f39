"""The wire form of the public socket: what is asked survives it, and what is nonsense is said to be."""

from __future__ import annotations

import json

import pytest

from readyfs.control.change_requests import AckRequest, ChangesRequest
from readyfs.control.latest_request import AGREEMENT_WORDS, LatestRequest
from readyfs.control.messages import MalformedMessageError
from readyfs.control.pin_requests import PinRequest, PinsRequest, RenewRequest, UnpinRequest
from readyfs.control.public_protocol import (
    OTHER_MOUNT,
    PublicRequest,
    parse_public_request,
    render_public_request,
)
from readyfs.control.question_requests import ShownRequest, WatchRequest, WhyRequest
from readyfs.errors import NotRunningError


@pytest.mark.parametrize(
    "request_",
    [
        PinRequest(),
        PinRequest("job", 21600.0, "nightly, für \N{SNOWMAN}", True),
        RenewRequest("job"),
        RenewRequest("job", 60.5),
        UnpinRequest("job"),
        PinsRequest(),
        PinsRequest(expired=True),
        WatchRequest("ab" * 16, 12.5),
        WhyRequest("/mnt/a/\udcff/b", "/mnt"),
        ChangesRequest("beginning"),
        ChangesRequest(None, consumer="job", lease_s=60.0, seen="ab" * 16),
        ChangesRequest("ab" * 16, "cd" * 16, "61/62/63/1"),
        AckRequest("job", "ab" * 16, 60.0),
        WhyRequest("a/b", "/mnt", "\udcfe"),
        ShownRequest(("/mnt/a/\udcff/b", "c"), "/mnt", "s"),
        LatestRequest(
            dict.fromkeys(AGREEMENT_WORDS, None) | {"cadence": "1,15 * *"},
            {"sources": (), "customers": ("c*", "\udcff"), "queries": ("q1",)},
            {"since": "2024-06-01", "until": None},
            "s1/%FF/q1",
        ),
    ],
)
def test_request_survives_the_wire(request_: PublicRequest) -> None:
    line = render_public_request(request_)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert parse_public_request(line) == request_


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"[]", b"hello", b"{}", b'{"op":7}', b'{"op":"status"}', b'{"op":"refresh"}', b'{"op":"stop"}'),
        *(b'{"op":"pin","name":7}', b'{"op":"pin","note":null}', b'{"op":"pin","refresh":1}'),
        *(
            b'{"op":"pin","lease_seconds":"1h"}',
            b'{"op":"pin","lease_seconds":true}',
            b'{"op":"pin","lease_seconds":NaN}',
        ),
        *(b'{"op":"pin","lease_seconds":Infinity}', b'{"op":"pin","lease_seconds":1e999}'),
        b'{"op":"renew","lease_seconds":-' + b"9" * 400 + b',"name":"x"}',
        *(b'{"op":"renew"}', b'{"op":"renew","name":null}', b'{"op":"unpin"}', b'{"op":"pins","expired":"no"}'),
        *(b'{"op":"latest","agreement":[]}', b'{"op":"latest","agreement":{"cadence":1}}'),
        *(b'{"op":"latest","filters":{"sources":"s"}}', b'{"op":"latest","filters":{"sources":[1]}}'),
        *(b'{"op":"latest","after":1}', b'{"op":"latest","agreement":{"tz":"' + b"x" * 300 + b'"}}'),
        *(b'{"op":"changes"}', b'{"op":"changes","since":1}', b'{"op":"changes","since":"a","until":"b"}'),
        *(b'{"op":"changes","since":"a","after":"b"}', b'{"op":"changes","consumer":"a","seen":1}'),
        *(b'{"op":"ack"}', b'{"op":"ack","consumer":"a"}', b'{"op":"ack","consumer":"a","cursor":1}'),
        *(b'{"op":"watch"}', b'{"op":"watch","fingerprint":"a"}', b'{"op":"watch","timeout_seconds":1}'),
        *(
            b'{"op":"watch","fingerprint":"a","timeout_seconds":30.5}',
            b'{"op":"watch","fingerprint":"a","timeout_seconds":-1}',
        ),
        *(b'{"op":"why"}', b'{"op":"why","asked":"a"}', b'{"op":"why","mountpoint":"/"}'),
        *(
            b'{"op":"shown"}',
            b'{"op":"shown","asked":"a","mountpoint":"/"}',
            b'{"op":"shown","asked":[1],"mountpoint":"/"}',
        ),
        # Halves of characters that stand for no byte.
        *(
            b'{"op":"why","asked":"\\ud800","mountpoint":"/"}',
            b'{"op":"why","asked":"a","mountpoint":"/","source":"\\ud800"}',
            b'{"op":"shown","asked":["\\ud800"],"mountpoint":"/"}',
            b'{"op":"broken","after":"\\ud800"}',
            b'{"op":"latest","after":"\\ud800"}',
            b'{"op":"pin","name":"\\ud800"}',
        ),
        b"[" * 4000,
        json.dumps({"op": "p" * 100}).encode(),
    ],
)
def test_nonsense_is_said_to_be(line: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse_public_request(line)


def test_what_is_meant_for_another_mount_is_refused() -> None:
    line = render_public_request(PinsRequest(), 41)
    assert parse_public_request(line) == parse_public_request(line, 41) == PinsRequest()
    assert parse_public_request(render_public_request(PinsRequest()), 42) == PinsRequest()
    with pytest.raises(NotRunningError, match=OTHER_MOUNT):
        parse_public_request(line, 42)
