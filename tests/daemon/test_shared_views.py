"""V24: which views a mount has of the pin store, for how long, and that it does not depend on the store for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest

from readyfs.catalog.tree import Catalog
from readyfs.daemon.kept_catalogs import KeptCatalogs
from readyfs.daemon.pin_store_link import PinStoreLink
from readyfs.daemon.pinned_memory import PinnedMemory
from readyfs.daemon.shared_pins import SharedPins
from readyfs.daemon.shared_views import SharedViews, lies_within
from readyfs.daemon.sharing import Sharing
from readyfs.errors import BrokenRunError, PinStoreAwayError, UnreadablePinStoreError, WouldBlockError
from readyfs.history.moments import Moment
from readyfs.pin_store.words import DamagedStoreError, MismatchError, SharedPin
from readyfs.pins.file import PinFile
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import RECENT_S, Limits
from readyfs.pins.registry import Registry
from readyfs.state.filters import Filters
from readyfs.vfs.views import View
from tests.catalog.rows import JUNE_1, Row, build
from tests.daemon.store_in_memory import Clock, Content, StoreInMemory

CATALOG = build([Row(), Row(date=JUNE_1 + 1)])
OTHER = build([Row(run=b"r2")])
LIVE = build([Row(run=b"r3")])
NAME = CATALOG.fingerprint
GRACE_S = 60.0


class FakeHistory:
    """Keeps the catalog in force, and others until they are dropped."""

    def __init__(self) -> None:
        self.kept: dict[str, Catalog] = {LIVE.fingerprint: LIVE}
        self.held: Callable[[], Collection[str]] = tuple
        self.on_removed: Callable[[str], None] = lambda fingerprint: None

    def moments(self) -> Sequence[Moment]:
        return [Moment(one, 1) for one in reversed(self.kept)]

    def find(self, name: str) -> str | None:
        return None

    def first_taken_at_ns(self, fingerprint: str) -> int | None:
        return 1 if fingerprint in self.kept else None

    def catalog(self, fingerprint: str, *, may_block: bool) -> Catalog | None:
        return self.kept.get(fingerprint)

    def in_memory(self) -> Collection[str]:
        return self.kept

    def drop(self, fingerprint: str) -> None:
        del self.kept[fingerprint]
        self.on_removed(fingerprint)


class World:
    """A mount with its end of a store, in which another mount has pinned a catalog for a while."""

    def __init__(self, state_dir: Path) -> None:
        self.clock = Clock()
        content = Content(self.clock)
        self.store, self.elsewhere = StoreInMemory(content, "here"), StoreInMemory(content, "elsewhere")
        self.history = FakeHistory()
        clock = LeaseClock(lambda: self.clock.now_s, lambda: 10**18)
        limits = Limits(60.0, 60.0, GRACE_S, 3, 1 << 30)
        self.registry = Registry(PinFile(state_dir, Path("/mnt/ready"), clock), limits, clock)
        self.shared = SharedViews(PinStoreLink(self.store, 20.0), Filters(), clock, GRACE_S)
        self.kept = KeptCatalogs(self.history, self.registry, self.shared)

    def pin(self, catalog: Catalog = CATALOG, lease_s: float = 100.0, latest_s: float = 1000.0) -> None:
        self.elsewhere.publish(catalog, SharedPin("job", catalog.fingerprint, 1, 0, "", lease_s, latest_s), None)

    def find(self, fingerprint: str = NAME, *, may_block: bool = True) -> View | None:
        return self.kept.find(fingerprint, may_block=may_block)

    def move_on(self, seconds: float) -> None:
        self.clock.now_s += seconds

    def round(self) -> None:
        self.shared.look_again()
        self.shared.tell_used()

    def go_away(self) -> None:
        def refuse(call: str) -> None:
            raise PinStoreAwayError("the pin store is away", "mount it")

        self.store.before = refuse

    def come_back(self) -> None:
        self.store.before = lambda call: None
        self.shared.link.try_again()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_unknown_name_is_looked_for_on_a_thread_that_may_wait_and_is_remembered_for_2_s(world: World) -> None:
    with pytest.raises(WouldBlockError):
        world.find(may_block=False)
    assert world.find() is None
    world.pin()
    world.move_on(1.9)
    assert world.find(may_block=False) is None
    assert world.store.asked["find"] == 1
    world.move_on(0.1)
    with pytest.raises(WouldBlockError):
        world.find(may_block=False)
    found = world.find()
    assert found is not None
    assert found.catalog is CATALOG
    assert world.find(may_block=False) == found
    assert list(world.kept.held()) == [LIVE.fingerprint, NAME]
    for name in ("latest", "~1", NAME[:-1], NAME.upper()):
        assert world.find(name, may_block=False) is None  # which is no fingerprint


def test_name_of_a_pin_is_looked_for_once_in_2_s_and_no_time_is(world: World) -> None:
    world.pin()
    with pytest.raises(WouldBlockError):
        world.kept.resolve(b"job", may_block=False)
    assert world.kept.resolve(b"job", may_block=True) == NAME
    assert world.kept.resolve(b"job", may_block=False) == NAME
    assert world.kept.resolve(b"2024-06-01", may_block=False) is None
    assert world.kept.resolve(b"~7", may_block=False) is None
    assert world.store.asked["resolve"] == 1


def test_view_that_nobody_holds_any_more_expires_and_is_gone_after_the_grace_time(world: World) -> None:
    world.pin(latest_s=100.0)
    assert world.find() is not None
    world.round()
    world.move_on(99)
    world.round()
    assert not world.shared.is_due()
    world.move_on(1)
    assert world.shared.is_due()  # although the store was asked just now
    world.round()
    assert world.kept.advance() == [NAME]
    view = world.find(may_block=False)
    assert view is not None
    assert view.expired
    assert list(world.kept.held()) == [LIVE.fingerprint, NAME]
    world.move_on(GRACE_S)
    assert world.kept.advance() == [NAME]
    world.round()
    world.move_on(2)
    assert world.find() is None
    assert list(world.kept.held()) == [LIVE.fingerprint]


def test_view_that_has_ended_before_anybody_looked_has_expired_for_the_grace_time(world: World) -> None:
    world.pin(latest_s=100.0)
    world.move_on(100)
    with pytest.raises(BrokenRunError):
        world.find()
    world.move_on(GRACE_S)
    assert world.find() is None


def test_view_that_is_pinned_anew_in_its_grace_time_is_back(world: World) -> None:
    world.pin(latest_s=100.0)
    assert world.find() is not None
    world.move_on(100)
    world.round()
    assert world.kept.advance() == [NAME]
    world.pin()
    world.round()
    assert world.kept.advance() == [NAME]
    view = world.find()
    assert view is not None
    assert not view.expired


def test_while_the_store_is_away_what_was_found_goes_on_and_other_names_are_unknown(world: World) -> None:
    world.pin(lease_s=10.0, latest_s=10.0)
    assert world.find() is not None
    world.go_away()
    for _ in range(3):
        world.move_on(10)
        world.shared.look_again()
        view = world.find(may_block=False)
        assert view is not None
        assert not view.expired
    with pytest.raises(UnreadablePinStoreError):
        world.find(OTHER.fingerprint)
    with pytest.raises(UnreadablePinStoreError):
        world.kept.resolve(b"other", may_block=True)
    world.come_back()
    world.round()
    view = world.find(may_block=False)
    assert view is not None
    assert view.expired


def test_store_that_cannot_be_written_tells_all_the_same_which_views_are_over(world: World) -> None:
    def refuse(call: str) -> None:
        if call in ("check", "renew", "publish"):
            raise PinStoreAwayError("the pin store is full", "make room there")

    world.store.before = refuse
    link = world.shared.link
    sharing = Sharing(link, world.shared, SharedPins(link, world.registry, world.history))
    world.pin(lease_s=100.0)
    assert world.find()
    sharing._keep()
    assert link.problem == "the pin store is full"
    world.move_on(200)
    sharing._keep()
    view = world.find()
    assert view
    assert view.expired


def test_view_whose_leases_cannot_be_read_goes_on_and_holds_up_no_other(world: World) -> None:
    """Whoever may write the store may close a directory of it."""
    world.pin(lease_s=100.0)
    world.pin(OTHER, lease_s=20.0)
    assert world.find() and world.find(OTHER.fingerprint)

    def refuse(call: str) -> None:
        if (call == "find" and not finds.pop(0)) or call == "ends_in_s":
            raise DamagedStoreError("its files are closed to this user")

    finds = [False, True]  # of the view that was found first, and of the other
    world.store.before = refuse
    world.clock.now_s += 50.0
    world.shared.look_again()
    assert [view.expired for view in (world.find(), world.find(OTHER.fingerprint)) if view] == [False, True]


def test_view_in_use_is_held_by_a_lease_of_this_mount_up_to_the_maximum_of_the_pin(world: World) -> None:
    world.pin(lease_s=100.0, latest_s=700.0)
    assert world.find() is not None
    world.round()
    key = (NAME, "here", "")
    assert world.store.content.leases[key] == (1000 + RECENT_S, 1700)
    for _ in range(70):
        world.move_on(10)
        world.kept.used(NAME)
        world.round()
        view = world.find(may_block=False)
        assert view is not None
        assert view.expired == (world.clock.now_s >= 1700)
    assert world.store.content.leases[key] == (1700, 1700)
    assert world.store.asked["renew"] <= 15  # about once a minute


def test_view_that_nobody_uses_ends_five_minutes_after_its_last_use(world: World) -> None:
    world.pin(lease_s=10.0)
    assert world.find() is not None
    for _ in range(int(RECENT_S // 10)):
        world.round()
        world.move_on(10)
    world.round()
    view = world.find(may_block=False)
    assert view is not None
    assert view.expired


@pytest.mark.parametrize(("is_held", "is_away"), [(True, False), (False, False), (True, True)])
def test_view_that_the_history_lets_go_of_goes_on_if_the_store_holds_it(
    world: World, *, is_held: bool, is_away: bool
) -> None:
    world.history.kept[NAME] = CATALOG
    if is_held:
        world.pin()
    assert world.find() is not None
    if is_away:
        world.go_away()
        with pytest.raises(UnreadablePinStoreError):
            world.find(OTHER.fingerprint)
    world.history.drop(NAME)
    assert world.kept.advance() == ([NAME] if is_away else [])  # nobody is told of an end that may be none
    world.shared.look_again()
    view = world.find(may_block=False)
    assert view is not None
    assert view.expired != (is_held and not is_away)


def test_known_view_is_answered_without_a_question_to_the_store_or_to_what_was_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pin()
    view = world.find()
    assert view is not None
    monkeypatch.setattr(world.shared, "find", lambda *_, **__: pytest.fail("asked"))
    monkeypatch.setattr(world.history, "catalog", lambda *_, **__: pytest.fail("asked"))
    assert world.find(may_block=False) is view


def test_catalog_that_was_let_go_for_want_of_memory_is_read_again_and_held_by_nobody_until_then(world: World) -> None:
    world.pin()
    assert world.find() is not None
    world.shared.let_go(NAME)
    world.kept.let_go(NAME)
    assert list(world.kept.held()) == [LIVE.fingerprint, NAME]
    with pytest.raises(WouldBlockError):
        world.find(may_block=False)
    view = world.find()
    assert view is not None
    assert world.find(may_block=False) is view
    assert world.store.asked["load"] == 2


def test_catalog_that_is_let_go_while_somebody_looks_is_not_held(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.pin()
    find = world.shared.find

    def find_and_let_go(fingerprint: str, *, may_block: bool) -> View | None:
        view = find(fingerprint, may_block=may_block)
        world.shared.let_go(fingerprint)
        world.kept.let_go(fingerprint)
        return view

    monkeypatch.setattr(world.shared, "find", find_and_let_go)
    view = world.find()
    assert view is not None
    assert not view.expired
    monkeypatch.undo()
    with pytest.raises(WouldBlockError):
        world.find(may_block=False)


def test_view_that_ends_while_somebody_looks_has_expired_for_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.pin(latest_s=100.0)
    find = world.shared.find

    def find_and_end(fingerprint: str, *, may_block: bool) -> View | None:
        view = find(fingerprint, may_block=may_block)
        world.move_on(100)
        world.shared.look_again()
        return view

    monkeypatch.setattr(world.shared, "find", find_and_end)
    view = world.find()
    monkeypatch.undo()
    assert view is not None
    assert view.expired
    assert world.kept.advance() == [NAME]
    assert world.find(may_block=False) == view


def test_end_of_a_view_is_told_though_its_catalog_was_let_go_for_want_of_memory(world: World) -> None:
    """The kernel may know names of it, whoever kept it last."""
    world.pin(latest_s=100.0)
    assert world.find() is not None
    world.history.kept[NAME] = CATALOG
    world.shared.let_go(NAME)
    world.kept.let_go(NAME)
    world.move_on(100)
    world.round()
    assert world.kept.advance() == []  # the history keeps it
    world.history.drop(NAME)
    assert world.kept.advance() == [NAME]


def test_view_that_the_history_lets_go_of_ends_if_the_store_cannot_be_asked_then(world: World) -> None:
    world.history.kept[NAME] = CATALOG
    world.pin()
    assert world.find() is not None
    world.history.drop(NAME)
    world.go_away()
    world.shared.look_again()
    view = world.find(may_block=False)
    assert view is not None
    assert view.expired


def test_view_that_is_not_for_this_mount_is_absent_and_says_why_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pin()

    def refuse(fingerprint: str) -> None:
        raise MismatchError("it is of another raw store")

    monkeypatch.setattr(world.store, "find", refuse)
    for _ in range(3):
        assert world.find() is None
        world.move_on(2)
    assert world.shared.why_not(NAME) == "it is of another raw store"
    monkeypatch.undo()
    assert world.find() is not None
    assert world.shared.why_not(NAME) is None


def test_view_that_the_filters_keep_back_is_read_once(world: World) -> None:
    world.shared = SharedViews(world.shared.link, Filters(customers=("other",)), world.registry.clock, GRACE_S)
    world.kept = KeptCatalogs(world.history, world.registry, world.shared)
    world.pin(lease_s=1e6, latest_s=1e6)
    for _ in range(3):
        assert world.find() is None
        world.move_on(1000)
    assert world.store.asked["load"] == 1
    assert list(world.kept.held()) == [LIVE.fingerprint]


@pytest.mark.parametrize(
    ("filters", "is_within"),
    [
        (Filters(), True),
        (Filters(sources=("s",), customers=("c*",), queries=("q",)), True),
        (Filters(customers=("d",)), False),
        (Filters(sources=("other",)), False),
        (Filters(queries=("other",)), False),
        (Filters(since=JUNE_1, until=JUNE_1 + 2), True),
        (Filters(since=JUNE_1 + 1), False),
        (Filters(until=JUNE_1 + 1), False),
    ],
)
def test_catalog_is_shown_if_each_series_and_date_passes_the_filters(filters: Filters, *, is_within: bool) -> None:
    """Dates that two rows claim count, too: the last one here is one of these."""
    claimed = [Row(date=JUNE_1 + 2, run=run) for run in (b"r1", b"r2")]
    assert lies_within(build([Row(), Row(date=JUNE_1 + 1), *claimed]), filters) == is_within


def test_catalog_that_takes_longer_than_the_deadline_is_there_at_a_later_lookup(world: World) -> None:
    world.pin()
    goes_on = threading.Event()

    def wait(call: str) -> None:
        if call == "load":
            goes_on.wait(20)

    world.store.before = wait
    world.shared.link.timeout_s = 0.05
    with pytest.raises(UnreadablePinStoreError):
        world.find()
    assert world.shared.link.problem is not None
    goes_on.set()
    world.shared.link.timeout_s = 20.0
    assert world.find() is not None
    assert world.store.asked["load"] == 1


def test_catalogs_that_take_too_much_memory_are_read_again_and_their_end_is_loud(world: World) -> None:
    world.pin(latest_s=100.0)
    world.elsewhere.publish(OTHER, SharedPin("b", OTHER.fingerprint, 1, 0, "", 100.0, 100.0), None)
    memory = PinnedMemory(world.history, world.shared.in_memory)
    for fingerprint in (NAME, OTHER.fingerprint):
        assert world.find(fingerprint) is not None
        world.move_on(1)
    memory.measure(())
    assert memory.beyond(1 << 30, 64) == []
    assert memory.beyond(1, 64) == memory.beyond(1 << 30, 1) == [NAME]  # the one that was used last stays
    world.shared.let_go(NAME)
    world.kept.let_go(NAME)
    with pytest.raises(WouldBlockError):
        world.find(may_block=False)
    assert world.find() is not None
    assert world.store.asked["load"] == 3
    world.shared.let_go(NAME)
    world.kept.let_go(NAME)
    world.move_on(100)
    world.round()
    assert NAME in world.kept.advance()
    with pytest.raises(BrokenRunError):
        world.find(may_block=False)
