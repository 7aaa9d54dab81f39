"""V7: one pass over one directory lists the names of one catalog."""

from __future__ import annotations

import threading
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readyfs.catalog.history import KEPT, KEPT_S
from readyfs.errors import NotADirectoryNodeError, StaleHandleError, WouldBlockError
from readyfs.vfs.inode_number import ROOT_INODE, InodeNumber
from readyfs.vfs.listing import DOTS, ListedEntry, position_after, stamp_at
from tests.catalog.rows import JUNE_1, Row
from tests.vfs.place import DAY_1, METADATA, PAYLOAD, Place, named


def customers(*numbers: int) -> list[Row]:
    return [Row(customer=b"c%d" % number) for number in numbers]


def names(entries: list[ListedEntry]) -> list[bytes]:
    return [entry.name for entry in entries]


def take(place: Place, inode: InodeNumber, position: int, count: int) -> list[ListedEntry]:
    """Read some entries from a position, as a kernel with a small buffer does."""
    entries = place.fs.read_directory(inode, position, may_block=True)
    return [entry for entry, _ in zip(entries, range(count), strict=False)]


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**32 - 2))
def test_position_fits_a_signed_offset_and_says_its_stamp(stamp: int, index: int) -> None:
    """telldir(3) is signed, and 0 begins a pass."""
    position = position_after(stamp, index)
    assert 0 < position < 2**63
    assert stamp_at(position) == stamp
    assert stamp_at(0) is None


def test_listing_is_the_dots_and_then_the_names_in_order(place: Place) -> None:
    place.publish(*customers(2, 1), Row(customer=b"\xff"))
    assert names(place.listed(ROOT_INODE)) == [b".", b"..", b"c1", b"c2", b"\xff"]


def test_each_kind_of_directory_lists_its_entries(place: Place) -> None:
    place.write(Row(), sub__f=b"")
    place.publish(Row(), Row(date=JUNE_1 + 1), Row(query=b"q2"))
    assert place.names(place.inode(b"c")) == [b"q", b"q2"]
    assert place.names(place.inode(b"c", b"q")) == [DAY_1, b"2024-06-02"]
    assert place.names(place.day()) == [METADATA, PAYLOAD, b"sub"]
    assert place.names(place.inode(b"c", b"q", DAY_1, b"sub")) == [b"f"]


def test_listed_entry_is_the_one_that_lookup_finds(place: Place) -> None:
    """READDIRPLUS teaches the kernel the same as LOOKUP."""
    place.serve(Row(), sub__f=b"123")
    for path in ((), (b"c",), (b"c", b"q"), (b"c", b"q", DAY_1), (b"c", b"q", DAY_1, b"sub")):
        inode = place.inode(*path) if path else ROOT_INODE
        for listed in place.listed(inode):
            if listed.counted:
                found = place.entry(listed.name, start=inode)
                assert listed.entry.attributes == found.attributes
                assert listed.entry.entry_timeout_s == found.entry_timeout_s
                assert listed.entry.attr_timeout_s == found.attr_timeout_s
                assert listed.entry.node.identity == found.node.identity


def test_dots_name_the_directory_and_its_parent(place: Place) -> None:
    place.serve(Row(), sub__deep__f=b"")
    path = [ROOT_INODE]
    for name in (b"c", b"q", DAY_1, b"sub", b"deep"):
        path.append(place.inode(name, start=path[-1]))
    for parent, inode in zip([ROOT_INODE, *path], path, strict=False):
        dots = place.listed(inode)[:2]
        assert [dot.entry.attributes.inode for dot in dots] == [inode, parent]
        assert not any(dot.counted for dot in dots)


def test_listing_counts_no_lookup_by_itself(place: Place) -> None:
    """The engine counts what it handed to the kernel, and no more."""
    place.publish(*customers(1, 2, 3))
    place.listed(ROOT_INODE)
    assert len(place.fs.inodes) == 1


def test_pass_continues_at_any_position_in_the_same_names(place: Place) -> None:
    """V7: read one entry at a time, while the names change."""
    place.publish(*customers(1, 2, 3, 4))
    found: list[bytes] = []
    position, step = 0, 0
    while entries := take(place, ROOT_INODE, position, 1):
        found.append(entries[0].name)
        position = entries[0].next_position
        step += 1
        place.publish(*customers(*range(step, step + 3)))
    assert found == [b".", b"..", b"c1", b"c2", b"c3", b"c4"]


def test_position_can_be_sought_again(place: Place) -> None:
    """seekdir(3) to what telldir(3) gave, backwards and after a refresh."""
    place.publish(*customers(1, 2, 3))
    entries = take(place, ROOT_INODE, 0, 10)
    place.publish(*customers(7))
    for index, entry in enumerate(entries):
        assert names(take(place, ROOT_INODE, entry.next_position, 10)) == names(entries[index + 1 :])


def test_rewind_begins_a_pass_over_the_catalog_in_force(place: Place) -> None:
    """V7: rewinddir starts a new pass."""
    place.publish(*customers(1, 2))
    take(place, ROOT_INODE, 0, 3)
    place.publish(*customers(3))
    assert names(take(place, ROOT_INODE, 0, 10)) == [b".", b"..", b"c3"]


def test_passes_of_two_readers_do_not_meet(place: Place) -> None:
    place.publish(*customers(1, 2))
    position = take(place, ROOT_INODE, 0, 3)[-1].next_position
    place.publish(*customers(8, 9))
    assert names(take(place, ROOT_INODE, 0, 10)) == [b".", b"..", b"c8", b"c9"]
    assert names(take(place, ROOT_INODE, position, 10)) == [b"c2"]


def test_unchanged_directory_is_continued_for_ever(place: Place) -> None:
    """V7: however much was refreshed elsewhere, and whatever its names mean by now."""
    place.publish(*customers(1, 2))
    position = take(place, ROOT_INODE, 0, 3)[-1].next_position
    for number in range(KEPT + 1):
        place.publish(*customers(1, 2), Row(customer=b"c1", query=b"other", run=b"r%d" % number))
        place.clock.now_s += KEPT_S
    (rest,) = take(place, ROOT_INODE, position, 10)
    assert rest.name == b"c2"
    assert rest.entry.entry_timeout_s == 60.0


def test_pass_goes_on_with_the_runs_of_the_catalog_in_force(place: Place) -> None:
    """V4: the names are the same, and what they mean is what lookup says."""
    place.publish(Row(), Row(date=JUNE_1 + 1))
    query = place.inode(b"c", b"q")
    position = take(place, query, 0, 3)[-1].next_position
    place.publish(Row(), Row(date=JUNE_1 + 1, run=b"r2"))
    (rest,) = take(place, query, position, 10)
    assert rest.entry == place.entry(rest.name, start=query)._replace(node=rest.entry.node)


@pytest.mark.parametrize("how", ["in number", "in time"])
def test_position_of_a_catalog_that_is_no_longer_kept_is_stale(place: Place, how: str) -> None:
    """V7: an error, and never names of two catalogs."""
    place.publish(*customers(1, 2))
    position = take(place, ROOT_INODE, 0, 3)[-1].next_position
    place.publish(*customers(3))
    if how == "in number":
        for number in range(KEPT):
            assert names(take(place, ROOT_INODE, position, 10)) == [b"c2"]
            place.publish(*customers(number + 4))
    else:
        place.clock.now_s += KEPT_S - 0.001
        assert names(take(place, ROOT_INODE, position, 10)) == [b"c2"]
        place.clock.now_s += 0.001
    with pytest.raises(StaleHandleError):
        take(place, ROOT_INODE, position, 1)


def test_pass_over_a_directory_that_vanished_and_came_back_ends_in_its_own_names(place: Place) -> None:
    """V6, V7."""
    place.publish(Row(), Row(date=JUNE_1 + 1))
    query = place.inode(b"c", b"q")
    full = take(place, query, 0, 3)[-1].next_position
    place.publish()
    empty = take(place, query, 0, 1)[-1].next_position
    assert names(take(place, query, full, 9)) == [b"2024-06-02"]
    place.publish(Row(date=JUNE_1 + 5))
    assert names(take(place, query, full, 9)) == [b"2024-06-02"]
    assert names(take(place, query, empty, 9)) == [b".."]


@pytest.mark.parametrize("position", [1, position_after(99, 0), position_after(1, 5), 2**63 - 1])
def test_invented_position_is_stale(place: Place, position: int) -> None:
    place.publish(*customers(1))
    with pytest.raises(StaleHandleError):
        take(place, ROOT_INODE, position, 1)


def test_position_beyond_the_end_is_the_end(place: Place) -> None:
    place.publish(*customers(1))
    last = take(place, ROOT_INODE, 0, 10)[-1].next_position
    assert take(place, ROOT_INODE, last + 1_000, 10) == []


def test_names_of_an_older_revision_are_not_taught_to_the_kernel(place: Place) -> None:
    """V4: it was told to forget them; a late listing must not bring them back."""
    place.publish(*customers(1, 2, 3))
    first = take(place, ROOT_INODE, 0, 3)[-1]
    assert first.entry.entry_timeout_s == first.entry.attr_timeout_s == 60.0
    place.publish(*customers(2))
    rest = take(place, ROOT_INODE, first.next_position, 10)
    assert names(rest) == [b"c2", b"c3"]
    assert {(entry.entry.entry_timeout_s, entry.entry.attr_timeout_s) for entry in rest} == {(0.0, 0.0)}


def test_refresh_in_the_middle_of_one_reply_counts_for_what_follows(place: Place) -> None:
    """V4: entries are made as they are handed out."""
    place.publish(*customers(1, 2))
    entries = iter(place.fs.read_directory(ROOT_INODE, 0, may_block=False))
    before = [next(entries) for _ in range(3)][-1]
    place.publish(*customers(1))
    after = next(entries)
    assert (before.name, before.entry.entry_timeout_s) == (b"c1", 60.0)
    assert (after.name, after.entry.entry_timeout_s) == (b"c2", 0.0)


def test_files_of_a_sealed_run_keep_their_cache_time_through_a_refresh(place: Place) -> None:
    place.serve(Row())
    day = place.day()
    position = take(place, day, 0, 2)[-1].next_position
    place.publish(Row(run=b"r2"))
    rest = take(place, day, position, 10)
    assert names(rest) == [METADATA, PAYLOAD]
    assert all(entry.entry.entry_timeout_s > 10**6 for entry in rest)


def test_listing_above_a_run_needs_no_raw_store(place: Place) -> None:
    place.publish(Row())
    for inode in (ROOT_INODE, place.inode(b"c"), place.inode(b"c", b"q")):
        list(place.fs.read_directory(inode, 0, may_block=False))
    assert not place.store.calls


def test_listing_of_a_run_needs_the_raw_store_once_a_pass(place: Place) -> None:
    place.serve(Row())
    day = place.day()
    with pytest.raises(WouldBlockError):
        place.fs.read_directory(day, 0, may_block=False)
    assert not place.store.calls
    entries = list(place.fs.read_directory(day, 0, may_block=True))
    place.store.calls.clear()
    list(place.fs.read_directory(day, entries[2].next_position, may_block=False))
    assert not place.store.calls


def test_pass_over_a_run_that_breaks_meanwhile_goes_on(place: Place) -> None:
    """V7: it has the same names."""
    place.serve(Row())
    day = place.day()
    position = take(place, day, 0, 3)[-1].next_position
    place.runs.report_damage(Row().partition, named("gone"))
    assert names(take(place, day, position, 10)) == [PAYLOAD]


def test_pass_over_a_broken_run_that_heals_meanwhile_goes_on(place: Place) -> None:
    """V7, V10: as long as it has no other names than were shown."""
    directory = place.serve(Row())
    (directory / "payload.jsonl").unlink()
    day = place.day()
    position = take(place, day, 0, 3)[-1].next_position
    assert not place.fs.read_directory(day, 0, may_block=True).cacheable
    place.write(Row())
    assert names(take(place, day, position, 10)) == [PAYLOAD]
    assert place.fs.read_directory(day, 0, may_block=True).cacheable


def test_pass_over_a_broken_run_that_heals_to_other_names_is_stale(place: Place) -> None:
    """V7."""
    place.publish(Row())
    day = place.day()
    position = take(place, day, 0, 3)[-1].next_position
    place.write(Row(), extra=b"1")
    with pytest.raises(StaleHandleError):
        take(place, day, position, 10)


def test_pass_tells_all_its_names_wherever_it_begins(place: Place) -> None:
    place.write(Row())
    place.publish(*customers(1, 2), Row(date=JUNE_1 + 1), Row())
    for inode in (ROOT_INODE, place.inode(b"c"), place.inode(b"c", b"q"), place.day(), place.inode(b".readyfs")):
        entries = place.listed(inode)
        for position in (0, *(entry.next_position for entry in entries)):
            assert list(place.fs.read_directory(inode, position, may_block=True).names()) == names(entries)


@pytest.mark.parametrize("path", [(b"c", b"q", DAY_1, PAYLOAD), (b".readyfs", b"status.json")])
def test_file_is_no_directory(place: Place, path: tuple[bytes, ...]) -> None:
    place.serve(Row())
    with pytest.raises(NotADirectoryNodeError):
        take(place, place.inode(*path), 0, 1)


def test_directory_that_is_not_known_is_stale(place: Place) -> None:
    with pytest.raises(StaleHandleError):
        take(place, InodeNumber(10**6), 0, 1)


# ---- any history ----------------------------------------------------------------------------------------------------

CATALOGS = st.lists(
    st.lists(st.sampled_from([(customer, date) for customer in b"ab" for date in range(4)]), unique=True),
    min_size=1,
    max_size=8,
)
STEPS = st.lists(st.one_of(st.integers(1, 3), st.sampled_from(["publish", "wait", "rewind", "expire"])), max_size=30)


@given(catalogs=CATALOGS, steps=STEPS, path=st.sampled_from([(), (b"a",), (b"a", b"q")]))
@settings(max_examples=300)
def test_pass_over_any_history_names_exactly_one_catalog_or_is_stale(
    tmp_path_factory: pytest.TempPathFactory, catalogs: list[Any], steps: list[Any], path: tuple[bytes, ...]
) -> None:
    """V7: whatever is published, forgotten and waited for between two calls."""
    place = Place(tmp_path_factory.getbasetemp() / "empty")
    publications = cycle([[Row(customer=bytes([one]), date=JUNE_1 + date) for one, date in some] for some in catalogs])
    place.publish(Row(customer=b"a"))  # so that the directory is held from the beginning (V6)
    inode = place.inode(*path) if path else ROOT_INODE
    place.publish(*next(publications))

    def now() -> list[bytes]:
        return [*DOTS, *(e.name for e in place.listed(inode) if e.counted)]

    began, found, position = now(), list[bytes](), 0
    for step in [*steps, 99]:
        match step:
            case "publish":
                place.publish(*next(publications))
            case "wait":
                place.clock.now_s += KEPT_S / 2
            case "expire":
                place.fs.expire_idle()
            case "rewind":
                began, found, position = now(), [], 0
            case count:
                try:
                    batch = take(place, inode, position, count)
                except StaleHandleError:
                    assert now() != began
                    return
                if not position:
                    began = now()
                found += names(batch)
                position = batch[-1].next_position if batch else position
    assert found == began


def test_passes_on_many_threads_are_each_of_one_catalog(place: Place) -> None:
    """V7: names that go together are seen together, whatever is published meanwhile."""
    generations = [customers(*range(number * 10, number * 10 + 5)) for number in range(5)]
    allowed = {tuple(sorted(row.customer for row in rows)) for rows in generations}
    place.publish(*generations[0])
    errors: list[BaseException] = []
    passes = [0]
    done = threading.Event()

    def walk() -> None:
        try:
            while not done.is_set():
                found: list[ListedEntry] = []
                while batch := take(place, ROOT_INODE, found[-1].next_position if found else 0, 2):
                    found.extend(batch)
                assert tuple(names(found)[2:]) in allowed
                passes[0] += 1
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)

    walkers = [threading.Thread(target=walk) for _ in range(3)]
    for walker in walkers:
        walker.start()
    for turn in range(600):
        place.publish(*generations[turn % 5])
    done.set()
    for walker in walkers:
        walker.join(30)
        assert not walker.is_alive()
    assert not errors
    assert passes[0]


def test_inode_numbers_of_a_listing_are_unique(place: Place) -> None:
    rows = [Row(date=JUNE_1 + day) for day in range(50)]
    place.publish(*rows)
    inodes: list[InodeNumber] = [e.entry.attributes.inode for e in place.listed(place.inode(b"c", b"q"))]
    assert len(set(inodes)) == 52
