"""Nothing in a store is trusted for being there: what is damaged or planted is never found, and never removed."""

from __future__ import annotations

import json
import os
import struct
import zlib
from array import array
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readyfs.catalog.build import CatalogBuilder
from readyfs.errors import PinStoreError
from readyfs.history.changes import Rows, SeriesChange, find_changes
from readyfs.history.packing import inflate_piece, pack_pieces
from readyfs.partition import SeriesKey
from readyfs.pin_store.files import Files
from readyfs.pin_store.packs import PackShelf, pack_changes
from readyfs.pin_store.records import render_record
from readyfs.pin_store.store import PinStore
from readyfs.pin_store.words import DamagedStoreError, Found, Identity
from readyfs.series_rows.columns import Columns
from tests.catalog.rows import JUNE_1, shape
from tests.pin_store.stores import (
    GRACE_S,
    SETTINGS,
    A,
    B,
    C,
    entries,
    is_whole,
    make_catalog,
    open_store,
    pass_time,
    pin_of,
)


def only(path: Path, *below: str) -> Path:
    """Return the one file below a directory of the store."""
    (found,) = entries(path, *below)
    return path / found


def plant_pack(path: Path, root: Path, content: bytes) -> None:
    """Have a root name one pack with this content, as somebody may who can write the store."""
    name = blake2b(content, digest_size=32).hexdigest()
    place = path / "packs" / name[:2] / name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)
    body = json.loads(root.read_bytes().split(b"\n", 1)[1])
    root.write_bytes(render_record("root", {**body, "steps": [[[name, len(content)]]]}))


def flip(content: bytes) -> bytes:
    """Return content with another byte in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("spoil", [flip, lambda content: content[:-1], lambda content: content + b"\0"])
def test_damaged_pack_is_never_loaded_and_is_written_anew(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    catalog = make_catalog(1)
    open_store(tmp_path).publish(catalog, pin_of(catalog), None)
    pack = only(tmp_path, "packs")
    pack.write_bytes(spoil(pack.read_bytes()))
    reader = open_store(tmp_path, B)
    with pytest.raises(DamagedStoreError, match=r"does not hold what was written there|is not there"):
        is_whole(reader, catalog)
    reader.publish(catalog, pin_of(catalog, "again"), None)
    assert is_whole(open_store(tmp_path, C), catalog)
    assert len(entries(tmp_path, "set-aside")) == 1


def test_pack_that_is_gone_is_noticed_by_who_only_asks_whether_a_pin_is_there(tmp_path: Path) -> None:
    """So its pinner, who asks now and then, publishes it anew; in the trash it is still there."""
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    pack = only(tmp_path, "packs")
    trashed = pack.rename(tmp_path / "trash/packs" / pack.name)
    assert is_whole(store, catalog)
    trashed.unlink()
    with pytest.raises(DamagedStoreError, match="a pack of it is not there"):
        store.find(catalog.fingerprint)
    store.publish(catalog, pin_of(catalog), None)
    assert is_whole(store, catalog)


def test_damage_that_was_met_when_reading_is_mended_by_the_next_publishing(tmp_path: Path) -> None:
    """Though this mount had written the pack itself, and knew it as sound."""
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    pack = only(tmp_path, "packs")
    pack.write_bytes(flip(pack.read_bytes()))
    with pytest.raises(DamagedStoreError):
        is_whole(store, catalog)
    store.publish(catalog, pin_of(catalog), None)
    assert is_whole(store, catalog)


def test_damaged_pack_of_the_catalog_before_is_not_built_upon(tmp_path: Path) -> None:
    older = make_catalog(1)
    newer = make_catalog(2, older)
    open_store(tmp_path).publish(older, pin_of(older, "older"), None)
    pack = only(tmp_path, "packs")
    pack.write_bytes(flip(pack.read_bytes()))
    open_store(tmp_path).publish(newer, pin_of(newer, "newer"), older)  # by a process that has not read it
    assert is_whole(open_store(tmp_path, B), newer)


@pytest.mark.parametrize("spoil", [flip, lambda content: content[:-1], lambda content: b"\xff" * 99])
def test_damaged_root_is_said_and_replaced(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    root = next(tmp_path.glob("views/*/root.*"))
    root.write_bytes(spoil(root.read_bytes()))
    with pytest.raises(DamagedStoreError, match="root"):
        open_store(tmp_path, B).find(catalog.fingerprint)
    assert not store.renew(pin_of(catalog))
    store.publish(catalog, pin_of(catalog), None)
    assert is_whole(open_store(tmp_path, B), catalog)


def test_root_of_another_catalog_leads_to_none(tmp_path: Path) -> None:
    one, other = make_catalog(1), make_catalog(2)
    store = open_store(tmp_path)
    for catalog in (one, other):
        store.publish(catalog, pin_of(catalog, f"pin-{catalog.fingerprint}"[:20]), None)
    mine, theirs = (next(tmp_path.glob(f"views/{catalog.fingerprint}/root.*")) for catalog in (one, other))
    mine.write_bytes(theirs.read_bytes())
    with pytest.raises(DamagedStoreError, match="is not that of its place"):
        store.find(one.fingerprint)
    body = json.loads(theirs.read_bytes().split(b"\n", 1)[1])
    mine.write_bytes(render_record("root", {**body, "fingerprint": one.fingerprint}))
    found = store.find(one.fingerprint)
    assert found is not None
    with pytest.raises(DamagedStoreError, match="it leads to the catalog"):
        store.load(found, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("taken_at_ns", 10**30),
        ("taken_at_ns", "1"),
        ("steps", []),
        ("steps", [[["../../etc/passwd", 10]]]),
        ("steps", [[["0" * 64, -1]]]),
        ("steps", [["0" * 64]]),
        ("steps", {"a": 1}),
        ("raw_id", None),
        ("settings", [1]),
    ],
)
def test_root_that_makes_no_sense_is_damaged(tmp_path: Path, name: str, value: object) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    root = next(tmp_path.glob("views/*/root.*"))
    body = json.loads(root.read_bytes().split(b"\n", 1)[1])
    root.write_bytes(render_record("root", {**body, name: value}))
    with pytest.raises(DamagedStoreError):
        store.find(catalog.fingerprint)


def change_of(*dates: int) -> SeriesChange:
    size = len(dates)
    rows = Columns(array("i", dates), (b"r",) * size, array("q", [1] * size), array("q", [1] * size), (None,))
    return SeriesChange(SeriesKey(b"s", b"c", b"q"), rows, array("i"), array("i"), True)


def rows_out_of_order() -> list[bytes]:
    return next(pack_changes([change_of(JUNE_1 + 1, JUNE_1)]))


def dates_that_are_none() -> list[bytes]:
    return next(pack_changes([change_of(-5, 2**31 - 1)]))


def change_to_nothing() -> list[bytes]:
    change = SeriesChange(SeriesKey(b"s", b"c", b"q"), Columns.of(()), array("i", [1]), array("i"), False)
    return next(pack_changes([change]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"readyfs pack 1\n",
        b"readyfs pack 1\n\xff",
        b"readyfs pack 1\n\xff\xff\xff\x7f" + b"x" * 10,
        b"readyfs pack 1\n" + struct.pack("<I", 5) + b"xxxxx",
        b"readyfs pack 1\n" + struct.pack("<I", len(zlib.compress(b"abc"))) + zlib.compress(b"abc"),
        b"".join(rows_out_of_order()),
        b"".join(dates_that_are_none()),
        b"".join(change_to_nothing()),
    ],
)
def test_planted_pack_whose_hash_is_right_is_damaged_and_nothing_worse(tmp_path: Path, content: bytes) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    plant_pack(tmp_path, next(tmp_path.glob("views/*/root.*")), content)
    found = store.find(catalog.fingerprint)
    assert found is not None
    with pytest.raises(DamagedStoreError):
        store.load(found, None)


@pytest.mark.parametrize("dates", [(1, 100, 2), (1, 2, 2), (2, 1)])
def test_rows_out_of_order_are_damage_though_their_fingerprint_is_right(tmp_path: Path, dates: tuple[int, ...]) -> None:
    """Filters look at the first and the last date: others in between would pass."""
    change, rows = change_of(*dates), Rows()
    rows.add(change)
    fingerprint = CatalogBuilder(shape()).build(rows.by_series(), None, 0)[0].fingerprint
    store = open_store(tmp_path)
    with Files.opened(tmp_path, A) as files:
        pack = PackShelf().write(files, next(pack_changes([change])))
    with pytest.raises(DamagedStoreError, match="not in order"):
        store.load(Found(fingerprint, 0, 1.0, 1.0, (pack.name,)), None)


def test_pack_that_would_take_too_much_memory_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("readyfs.pin_store.packs.MOST_INFLATED", 1000)
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    bomb = zlib.compress(bytes(10_000_000))
    plant_pack(
        tmp_path,
        next(tmp_path.glob("views/*/root.*")),
        b"readyfs pack 1\n" + struct.pack("<I", len(bomb)) + bomb,
    )
    found = store.find(catalog.fingerprint)
    assert found is not None
    with pytest.raises(DamagedStoreError, match="takes too much memory"):
        store.load(found, None)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with an empty store."""
    path = tmp_path_factory.mktemp("store")
    open_store(path)
    return path


@settings(max_examples=60)
@given(st.data())
def test_whatever_a_pack_holds_is_the_catalog_or_damage(shared: Path, data: st.DataObject) -> None:
    catalog = make_catalog(1, rows=6)
    (piece,) = pack_pieces(find_changes(None, catalog))
    text = bytearray(inflate_piece(piece, 1 << 20))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    planted = zlib.compress(bytes(text))
    content = b"readyfs pack 1\n" + struct.pack("<I", len(planted)) + planted
    name = blake2b(content, digest_size=32).hexdigest()
    pack = shared / "packs" / name[:2] / name
    pack.parent.mkdir(exist_ok=True)
    pack.write_bytes(content)
    store = PinStore(shared, Identity("raw", SETTINGS), A, shape(), GRACE_S)
    try:
        loaded = store.load(Found(catalog.fingerprint, 0, 1.0, 1.0, (name,)), None)
    except DamagedStoreError:
        return
    assert loaded.fingerprint == catalog.fingerprint


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, "1", True, None, 1e300])
def test_lease_that_makes_no_sense_holds_nothing(tmp_path: Path, value: object) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    lease = only(tmp_path, "views", catalog.fingerprint, "leases")
    body = json.loads(lease.read_bytes().split(b"\n", 1)[1])
    lease.write_bytes(render_record("lease", {**body, "lease_s": value}))
    assert store.find(catalog.fingerprint) is None
    lease.write_bytes(lease.read_bytes()[:-1])
    assert store.find(catalog.fingerprint) is None


def test_lease_of_another_pin_holds_nothing(tmp_path: Path) -> None:
    one, other = make_catalog(1), make_catalog(2)
    store = open_store(tmp_path)
    store.publish(one, pin_of(one, "one"), None)
    store.publish(other, pin_of(other, "other"), None)
    pass_time(tmp_path, 1000)
    assert store.renew(pin_of(other, "other"))
    theirs = only(tmp_path, "views", other.fingerprint, "leases")
    mine = only(tmp_path, "views", one.fingerprint, "leases")
    mine.with_name(theirs.name).write_bytes(theirs.read_bytes())
    assert (store.ends_in_s(one.fingerprint) or 0) < 0


def plant_large_file(place: Path) -> None:
    place.touch()
    os.truncate(place, 1 << 40)


Plant = Callable[[Path], None]
PLANTS: dict[str, Plant] = {
    "a link": lambda place: place.symlink_to("/etc/passwd"),
    "a link to nothing": lambda place: place.symlink_to("/nowhere"),
    "a FIFO": lambda place: os.mkfifo(place),
    "a directory": lambda place: place.mkdir(),
    "an empty file": lambda place: place.touch(),
    "a large file": plant_large_file,
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
@pytest.mark.parametrize("what", ["lease", "root", "pack", "name"])
def test_what_is_planted_in_the_place_of_a_file_is_never_followed_or_waited_for(
    tmp_path: Path, what: str, plant: Plant
) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    view = tmp_path / "views" / catalog.fingerprint
    place = {
        "lease": only(tmp_path, "views", catalog.fingerprint, "leases"),
        "root": next(view.glob("root.*")),
        "pack": only(tmp_path, "packs"),
        "name": tmp_path / "names" / "nightly",
    }[what]
    place.unlink()
    plant(place)
    reader = open_store(tmp_path, B)
    if what == "name":
        assert reader.resolve("nightly") is None
        assert is_whole(reader, catalog)
        with pytest.raises(PinStoreError):
            reader.publish(catalog, pin_of(catalog), None)
    elif what == "lease":
        assert reader.find(catalog.fingerprint) is None
    else:
        with pytest.raises(DamagedStoreError):
            is_whole(reader, catalog)
    reader.collect()
    pass_time(tmp_path, 3 * GRACE_S)
    reader.collect()


@pytest.mark.parametrize("name", ["packs", "views", "names", "tmp", "clock", "trash"])
def test_directory_of_a_store_that_is_a_link_is_not_followed(tmp_path: Path, name: str) -> None:
    place, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    place.mkdir()
    store = open_store(place)
    (place / name).rename(elsewhere)
    (place / name).symlink_to(elsewhere)
    before = entries(elsewhere)
    catalog = make_catalog(1)
    for write in (store.check, lambda: store.publish(catalog, pin_of(catalog), None), store.collect):
        with suppress(PinStoreError):
            write()
    assert entries(elsewhere) == before


def test_foreign_files_are_never_removed(tmp_path: Path) -> None:
    catalog = make_catalog(1)
    store = open_store(tmp_path)
    store.publish(catalog, pin_of(catalog), None)
    view = tmp_path / "views" / catalog.fingerprint
    foreign = [
        tmp_path / "README",
        tmp_path / "packs" / "notes",
        tmp_path / "views" / "notes",
        view / "notes",
        view / "leases" / "notes",
        tmp_path / "names" / "notes",
        tmp_path / "trash" / "notes",
        tmp_path / "trash" / "packs" / "notes",
        tmp_path / "trash" / "views" / "notes",
        tmp_path / "tmp" / "notes",
        tmp_path / "set-aside" / "notes",
    ]
    for place in foreign:
        place.write_bytes(b"mine")
    store.end(pin_of(catalog))
    for _ in range(5):
        pass_time(tmp_path, 3 * GRACE_S)
        open_store(tmp_path, B).collect()
    assert store.find(catalog.fingerprint) is None
    assert sum(1 for one in tmp_path.rglob("*") if one.is_file() and one.read_bytes() == b"mine") == len(foreign)
    assert entries(tmp_path, "packs") == ["packs/notes"]
    assert A  # the mount of the pin
