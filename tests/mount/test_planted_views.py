"""A catalog that no state table ever had, offered in a pin store by somebody who may write there (V24)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest

from readyfs.catalog.build import CatalogShape
from readyfs.layout import MountLayout, RawLayout
from readyfs.pin_store.store import PinStore
from readyfs.pin_store.words import Identity, SharedPin
from tests.catalog.rows import JUNE_1, Row, build
from tests.mount.daemon import EACH_ENGINE_ONCE, Daemon, Place, mounted, partition
from tests.mount.forked import run_forked
from tests.mount.sharing import pin, view

ONE: Final = partition(source="s", customer="c", query="q")
REQUIRED: Final = ("payload.jsonl", "metadata.json")
LEAST, MOST = -(2**63), 2**63 - 1
ODD: Final = (
    Row(run=b"r1"),
    Row(date=JUNE_1 + 1, run=b"r1", updated_at_ns=LEAST, record_count=LEAST),
    Row(date=JUNE_1 + 2, run=b"r1", updated_at_ns=MOST, record_count=MOST),
    Row(date=JUNE_1 + 3, run=b"r1", updated_at_ns=-2, record_count=-2, schema_version=b""),
    Row(date=1, run=b"a\nb", schema_version=b"\0\n\xff"),
    Row(date=3652059, run=b"\xff", schema_version=b"v" * 60_000),
    Row(query=b"line\nbreak", run=b"r1"),
    Row(query=b"\xff\x01", run=b"r1"),
    Row(query=b"..", run=b"r1"),
    Row(query=b"sound", date=JUNE_1, run=b"../../../secret"),
    Row(query=b"sound", date=JUNE_1 + 1, run=b".."),
    Row(query=b"sound", date=JUNE_1 + 2, run=b"nul\0"),
)
SHOWN: Final = 8
"""All but those that have no path: they are withheld, wherever a catalog is from."""


def plant(place: Place, daemon: Daemon) -> str:
    """Put a catalog of odd rows into the store of a mount, as if another mount had; return its fingerprint."""
    fingerprint = pin(daemon, "honest")
    [root] = (place.base / "pins/views" / fingerprint).glob("root.*")
    body = json.loads(root.read_bytes().split(b"\n", 1)[1])
    shape = CatalogShape(MountLayout.parse(body["settings"]["layout"]), RawLayout.parse(), (), REQUIRED)
    catalog = build(ODD, of=shape)
    store = PinStore(place.base / "pins", Identity(body["raw_id"], body["settings"]), "f" * 32, shape, 3600)
    store.check()
    store.publish(catalog, SharedPin("odd", catalog.fingerprint, 1, 1, "planted", 3600, 3600), None)
    return catalog.fingerprint


@pytest.mark.parametrize("engine", EACH_ENGINE_ONCE)
def test_odd_rows_that_somebody_planted_are_shown_as_far_as_they_have_a_path(place: Place, engine: str) -> None:
    place.producer.write_and_publish(ONE, "r1", b"first\n")
    (place.base / "pins").mkdir()
    (place.raw / "secret").mkdir()
    (place.raw / "secret/payload.jsonl").write_bytes(b"secret\n")
    with mounted(place, "--pin-store", str(place.base / "pins"), engine=engine) as daemon:
        top = view(daemon, plant(place, daemon))
        seen = [Path(above) / name for above, below, _ in os.walk(top) for name in below]
        dates = [path for path in seen if len(path.relative_to(top).parts) == 3]
        assert len(dates) == SHOWN
        for path in seen:
            assert path.stat().st_nlink == 1
            for name in os.listxattr(path):
                assert os.getxattr(path, name) is not None
        assert (top / "c/q/2024-06-01/payload.jsonl").read_bytes() == b"first\n"
        assert not list(top.glob("c/sound/*")) + list(top.glob("*/../secret"))
        lines = (top / ".manifest.jsonl").read_bytes().splitlines()
        assert len(list(map(json.loads, lines))) == SHOWN
        assert len((top / ".manifest.paths0").read_bytes().split(b"\0")) > SHOWN
        for words in (("why", str(dates[0])), ("check", "--view", str(top), "--raw", str(place.raw)), ("ls", str(top))):
            done = run_forked(words, 30)
            assert "Traceback" not in done.stderr, words
