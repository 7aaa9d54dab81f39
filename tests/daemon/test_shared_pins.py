"""V24: the pin store has the pins of a mount as the registry has them, sooner or later, whatever becomes of either."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from readyfs.catalog.tree import Catalog
from readyfs.daemon.pin_store_link import PinStoreLink
from readyfs.daemon.shared_pins import VERIFY_S, SharedPins
from readyfs.errors import PinStoreAwayError, PinStoreError
from readyfs.pin_store.words import DamagedStoreError
from readyfs.pins.asker import Asker
from readyfs.pins.file import PinFile
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import RECENT_S, Limits
from readyfs.pins.pin import Pin
from readyfs.pins.registry import Registry
from tests.catalog.rows import Row, build
from tests.daemon.store_in_memory import Clock, Content, StoreInMemory

CATALOG = build([Row()])
OTHER = build([Row(run=b"r2")])
NAME = CATALOG.fingerprint
ME = Asker(1001)
KEY = (NAME, "here", "job")


class Catalogs:
    """What the history keeps."""

    def __init__(self) -> None:
        self.kept = {one.fingerprint: one for one in (CATALOG, OTHER)}

    def catalog(self, fingerprint: str, *, may_block: bool) -> Catalog | None:
        return self.kept.get(fingerprint)


class World:
    """A registry with its end of a store; `restart` is another daemon, which the pins have outlived."""

    def __init__(self, state_dir: Path) -> None:
        self.clock = Clock()
        self.content = Content(self.clock)
        self.file = state_dir
        self.restart()

    def restart(self) -> None:
        self.store = StoreInMemory(self.content, "here")
        clock = LeaseClock(lambda: self.clock.now_s, lambda: int(self.clock.now_s * 1e9))
        limits = Limits(100.0, 1000.0, 60.0, 10, 1 << 30)
        self.registry = Registry(PinFile(self.file, Path("/mnt/ready"), clock), limits, clock)
        self.link = PinStoreLink(self.store, 20.0)
        self.pins = SharedPins(self.link, self.registry, Catalogs())

    def make(self, name: str = "job", catalog: Catalog = CATALOG) -> Pin:
        """Make a pin, of which the store is not told yet."""
        pin = self.registry.pin(name, None, "", ME, catalog.fingerprint, 1)
        self.registry.save()
        return pin

    def unpin(self, name: str = "job") -> Pin:
        pin = self.registry.unpin(name, ME)
        self.registry.confirm(pin)
        self.registry.save()
        return pin

    def ends_s(self, key: tuple[str, str, str] = KEY) -> float:
        return self.content.leases[key][0]

    def go_away(self) -> None:
        def refuse(call: str) -> None:
            raise PinStoreAwayError("the pin store is away", "mount it")

        self.store.before = refuse

    def come_back(self) -> None:
        self.store.before = lambda call: None


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_new_pin_is_in_the_store_with_its_lease_and_maximum(world: World) -> None:
    pin = world.make()
    assert not world.pins.has(pin)
    world.pins.publish(pin)
    assert (world.pins.has(pin), world.pins.count()) == (True, 1)
    assert world.content.leases == {KEY: (1100.0, 2000.0)}
    world.pins.keep()
    assert (world.store.asked["publish"], world.store.asked["renew"]) == (1, 0)


def test_consumer_of_changes_is_not_in_the_store(world: World) -> None:
    _, pin = world.registry.batches.offer("consumer", "beginning", None, ME, NAME, 1)
    world.pins.publish(pin)
    world.pins.keep()
    assert world.content.leases == {}


def test_renewal_and_end_are_told_at_once_and_later_if_the_store_is_away(world: World) -> None:
    world.pins.publish(world.make())
    _, pin = world.registry.renew("job", 500.0, ME)
    world.pins.renewed(pin)
    assert world.ends_s() == 1500
    world.go_away()
    _, pin = world.registry.renew("job", 900.0, ME)
    world.pins.renewed(pin)
    assert world.ends_s() == 1500
    world.come_back()
    world.pins.keep()
    assert world.ends_s() == 1900
    world.go_away()
    world.pins.ended(world.unpin())
    assert (world.ends_s(), world.pins.count()) == (1900, 1)
    world.come_back()
    world.pins.keep()
    assert (world.ends_s(), world.pins.count()) == (1000, 0)


def test_lease_that_goes_on_by_use_is_told_before_it_ends(world: World) -> None:
    world.pins.publish(world.make())
    for _ in range(20):
        world.registry.used(NAME)
        world.pins.keep()
        world.clock.now_s += 10
        assert world.ends_s() > world.clock.now_s
    assert world.ends_s() == 1190 + RECENT_S
    world.registry.advance()
    assert world.registry.get("job") is not None


def test_after_a_restart_the_store_is_told_of_all_pins_and_lost_ones_are_published(world: World) -> None:
    world.pins.publish(world.make())
    world.make("unpublished", OTHER)
    world.restart()
    world.pins.keep()
    assert world.pins.count() == 2
    assert {key[2] for key in world.content.leases} == {"job", "unpublished"}
    world.content.catalogs.clear()
    world.content.leases.clear()
    world.clock.now_s += VERIFY_S
    world.pins.keep()
    assert {key[2] for key in world.content.leases} == {"job", "unpublished"}
    assert world.content.catalogs.keys() == {NAME, OTHER.fingerprint}


def test_renewal_of_what_the_store_has_lost_publishes_it_anew(world: World) -> None:
    world.pins.publish(world.make())
    world.content.catalogs.clear()
    _, pin = world.registry.renew("job", 500.0, ME)
    world.pins.renewed(pin)
    assert not world.pins.has(pin)
    world.pins.keep()
    assert (world.pins.has(pin), world.ends_s()) == (True, 1500)


def test_name_that_another_mount_has_by_now_is_tried_once(world: World) -> None:
    world.content.names["job"] = ("elsewhere", NAME)
    pin = world.make()
    with pytest.raises(PinStoreError, match="a pin named job"):
        world.pins.publish(pin)
    world.pins.keep()
    world.pins.keep()
    assert (world.store.asked["publish"], world.pins.has(pin), world.link.problem) == (2, False, None)
    world.unpin()
    world.clock.now_s += 1
    del world.content.names["job"]
    world.make()
    world.pins.keep()
    assert world.pins.count() == 1


def test_pin_whose_name_another_mount_took_holds_up_no_other_pin(world: World) -> None:
    """Whoever was cut off from the store for long enough finds its name taken over; its view goes on."""
    world.pins.publish(world.make())
    world.pins.publish(world.make("other", OTHER))
    world.content.names["job"] = ("elsewhere", NAME)
    for name in ("job", "other"):
        world.registry.renew(name, 500.0, ME)
    world.pins.keep()
    assert (world.ends_s(), world.ends_s((OTHER.fingerprint, "here", "other"))) == (1500, 1500)
    asked = world.store.asked["renew"]
    world.pins.keep()
    assert world.store.asked["renew"] == asked, "it is not asked again and again"
    world.registry.renew("job", 700.0, ME)
    world.pins.keep()
    assert world.ends_s() == 1700


def test_lost_pin_that_cannot_be_put_back_is_not_said_to_be_in_the_store(world: World) -> None:
    pin = world.make()
    world.pins.publish(pin)
    world.content.catalogs.clear()
    world.content.names["job"] = ("elsewhere", NAME)
    world.clock.now_s += VERIFY_S
    world.pins.keep()
    assert (world.pins.has(pin), world.pins.count()) == (False, 0)


def test_name_that_cannot_be_read_is_for_the_writing_to_judge(world: World) -> None:
    def refuse(call: str) -> None:
        if call == "resolve":
            raise DamagedStoreError("its files are closed to this user")

    world.store.before = refuse
    world.pins.publish(world.make())
    assert world.pins.count() == 1


def test_what_was_given_up_is_undone_when_it_comes_late(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    began, goes_on, ended = threading.Event(), threading.Event(), threading.Event()
    end = StoreInMemory.end

    def wait(call: str) -> None:
        if call == "publish":
            began.set()
            goes_on.wait(20)

    def note(self: StoreInMemory, pin: object) -> None:
        end(self, pin)  # type: ignore[arg-type]
        ended.set()

    monkeypatch.setattr(StoreInMemory, "end", note)
    world.link.write_s = 0.05
    world.store.before = wait
    pin = world.make()
    while not began.is_set():  # what had no turn in time is not begun
        with pytest.raises(PinStoreAwayError, match="did not answer"):
            world.pins.publish(pin)
    world.registry.withdraw(pin)
    goes_on.set()
    assert ended.wait(20)
    assert (world.ends_s(), world.pins.count()) == (1000, 0)


def test_pin_of_the_same_name_that_was_made_meanwhile_is_not_ended(world: World) -> None:
    world.pins.publish(world.make())
    world.go_away()
    world.pins.ended(world.unpin())
    before = world.pins._told["job"]
    world.clock.now_s += 1
    world.come_back()
    pin = world.make()
    world.pins.publish(pin)
    world.pins._end(before)  # by a round that began before
    world.pins.keep()
    assert (world.pins.has(pin), world.ends_s()) == (True, 1101)


@pytest.mark.parametrize("lost", ["lease", "name"])
def test_store_that_is_as_it_was_before_is_told_once_more(world: World, lost: str) -> None:
    """Its clock was set, or somebody brought back a copy of it: then others find what this mount's users hold."""
    world.pins.publish(world.make())
    if lost == "lease":
        world.content.leases[KEY] = (world.clock.now_s - 1, 2000.0)
    else:
        world.content.names.clear()
    world.clock.now_s += VERIFY_S
    world.pins.keep()
    assert world.ends_s() == 1100
    assert world.content.names["job"] == ("here", NAME)
    for _ in range(3):
        world.clock.now_s += VERIFY_S / 10
        world.pins.keep()
    assert (world.store.asked["renew"], world.store.asked["publish"]) == (1, 1)


def test_name_that_another_mount_has_by_now_keeps_no_lease_from_going_on(world: World) -> None:
    for name, catalog in (("job", CATALOG), ("other", OTHER)):
        world.pins.publish(world.make(name, catalog))
    world.content.names["job"] = ("elsewhere", OTHER.fingerprint)
    with capture_logs() as logs:
        for _ in range(5):
            for fingerprint in (NAME, OTHER.fingerprint):
                world.registry.used(fingerprint)
            world.pins.keep()
            world.clock.now_s += 30
    assert world.ends_s() == world.ends_s((OTHER.fingerprint, "here", "other")) == 1120 + RECENT_S
    assert [line["event"] for line in logs] == ["a pin has lost its name in the pin store"]
    assert world.content.names["job"] == ("elsewhere", OTHER.fingerprint)
