"""V22: consumers of changes as pins: what they hold, what moves them on, and what a disk that fails leaves."""

from __future__ import annotations

import pytest

from readyfs.errors import LimitError, NotPermittedError, ResyncError, UsageError
from readyfs.pins.asker import Asker
from readyfs.pins.pin import BEGINNING, Pin, Reason
from readyfs.pins.registry import Registry
from tests.pins.conftest import ALICE, BOB, DAY_S, HOUR_S, ROOT, World

ONE, TWO, THREE = "11" * 16, "22" * 16, "33" * 16
TAKEN_NS = 1_699_999_000_000_000_000


def offer(
    registry: Registry,
    fingerprint: str,
    since: str | None = None,
    asker: Asker = ALICE,
    name: str = "job",
    lease_s: float | None = None,
) -> Pin:
    """Give a consumer its next batch, and have the disk know it."""
    before, pin = registry.batches.offer(name, since, lease_s, asker, fingerprint, TAKEN_NS)
    registry.save()
    if before is not None:
        registry.confirm(before)
    return pin


def acknowledge(registry: Registry, cursor: str, asker: Asker = ALICE) -> Pin:
    before, pin = registry.batches.acknowledge("job", cursor, None, asker)
    registry.save()
    registry.confirm(before)
    return pin


def batch(pin: Pin) -> tuple[str | None, str]:
    return pin.acknowledged, pin.fingerprint


def test_batch_stays_until_it_is_acknowledged(registry: Registry) -> None:
    assert batch(offer(registry, ONE, BEGINNING)) == (BEGINNING, ONE)
    assert batch(offer(registry, TWO)) == (BEGINNING, ONE)
    assert batch(offer(registry, TWO, BEGINNING)) == (BEGINNING, ONE)
    assert batch(acknowledge(registry, ONE)) == (ONE, ONE)
    assert batch(offer(registry, TWO)) == (ONE, TWO)
    assert set(registry.held()) == {ONE, TWO}
    assert batch(acknowledge(registry, TWO)) == (TWO, TWO)
    assert set(registry.held()) == {TWO}


def test_cursor_of_the_batch_as_since_acknowledges_it(registry: Registry) -> None:
    offer(registry, ONE, BEGINNING)
    assert batch(offer(registry, TWO, ONE)) == (ONE, TWO)


def test_another_cursor_has_the_consumer_begin_there(registry: Registry) -> None:
    offer(registry, ONE, BEGINNING)
    acknowledge(registry, ONE)
    assert batch(offer(registry, TWO)) == (ONE, TWO)
    assert batch(offer(registry, THREE, BEGINNING)) == (BEGINNING, THREE)


def test_acknowledging_again_does_nothing_and_anything_else_is_refused(registry: Registry) -> None:
    offer(registry, ONE, BEGINNING)
    acknowledge(registry, ONE)
    assert batch(acknowledge(registry, ONE)) == (ONE, ONE)
    offer(registry, TWO)
    assert batch(acknowledge(registry, ONE)) == (ONE, TWO), "an older bookmark takes nothing away"
    with pytest.raises(UsageError, match="is not the cursor of the batch"):
        acknowledge(registry, THREE)
    assert batch(registry.pins()[0]) == (ONE, TWO)


def test_what_was_held_stays_held_until_the_disk_knows(registry: Registry) -> None:
    """A kill in between leaves the pin of before on the disk, whose catalogs must be there then."""
    offer(registry, ONE, BEGINNING)
    acknowledge(registry, ONE)
    offer(registry, TWO)
    before, _ = registry.batches.acknowledge("job", TWO, None, ALICE)
    assert set(registry.held()) == {ONE, TWO}
    registry.confirm(before)
    assert set(registry.held()) == {TWO}


def test_consumer_is_read_back(world: World, registry: Registry) -> None:
    offer(registry, ONE, BEGINNING)
    assert batch(world.open().pins()[0]) == (BEGINNING, ONE)
    acknowledge(registry, ONE)
    offer(registry, TWO)
    again = world.open()
    assert batch(again.pins()[0]) == (ONE, TWO)
    assert set(again.held()) == {ONE, TWO}


def test_consumer_of_which_a_catalog_is_lost_ends(registry: Registry) -> None:
    """Both are needed: a batch cannot be told from one of them."""
    offer(registry, ONE, BEGINNING)
    acknowledge(registry, ONE)
    offer(registry, TWO)
    [lost] = registry.bury_unless(lambda fingerprint: fingerprint == TWO)
    assert lost.name == "job"
    with pytest.raises(ResyncError, match=Reason.NOT_KEPT.value):
        offer(registry, THREE)


def test_nobody_goes_on_without_a_consumer(world: World, registry: Registry) -> None:
    with pytest.raises(ResyncError, match="there is no pin named 'job'"):
        offer(registry, ONE)
    offer(registry, ONE, BEGINNING, lease_s=HOUR_S)
    world.clocks.passes(HOUR_S)
    assert [one.name for one in registry.advance()] == ["job"]
    with pytest.raises(ResyncError, match="lease ended"):
        offer(registry, TWO)
    with pytest.raises(ResyncError, match="lease ended"):
        acknowledge(registry, ONE)
    assert batch(offer(registry, TWO, BEGINNING)) == (BEGINNING, TWO)


def test_whoever_goes_on_is_held_and_who_never_acknowledges_is_not_for_ever(world: World, registry: Registry) -> None:
    pin = offer(registry, ONE, BEGINNING)
    for _ in range(59):
        world.clocks.passes(DAY_S / 2)
        assert registry.advance() == []
        pin = offer(registry, TWO)
    assert pin.ends_s == pin.latest_s, "its maximum is that of the batch"
    world.clocks.passes(DAY_S)
    assert [one.name for one in registry.advance()] == ["job"]


def test_consumer_that_is_up_to_date_outlives_the_maximum(world: World, registry: Registry) -> None:
    offer(registry, ONE, BEGINNING)
    acknowledge(registry, ONE)
    for _ in range(100):
        world.clocks.passes(DAY_S / 2)
        assert registry.advance() == []
        offer(registry, ONE)


def test_asking_again_and_again_does_not_write_the_disk(world: World, registry: Registry) -> None:
    offer(registry, ONE, BEGINNING)
    world.clocks.passes(1.0)
    registry.batches.offer("job", None, None, ALICE, TWO, TAKEN_NS)
    assert registry.is_saved


def test_consumer_is_its_owners(registry: Registry) -> None:
    offer(registry, ONE, BEGINNING)
    with pytest.raises(NotPermittedError):
        offer(registry, TWO, asker=BOB)
    with pytest.raises(NotPermittedError):
        acknowledge(registry, ONE, BOB)
    acknowledge(registry, ONE, ROOT)


def test_view_and_consumer_are_not_taken_for_each_other(registry: Registry) -> None:
    registry.pin("view", None, "", ALICE, ONE, TAKEN_NS)
    with pytest.raises(UsageError, match="is a view and no consumer"):
        offer(registry, TWO, name="view")
    with pytest.raises(UsageError, match="is a view and no consumer"):
        registry.batches.acknowledge("view", ONE, None, ALICE)
    offer(registry, ONE, BEGINNING)
    with pytest.raises(UsageError, match="there is a pin named job"):
        registry.pin("job", None, "", ALICE, ONE, TAKEN_NS)


def test_consumers_count_as_pins(registry: Registry) -> None:
    for number in range(3):
        offer(registry, ONE, BEGINNING, name=f"job{number}")
    with pytest.raises(LimitError):
        offer(registry, ONE, BEGINNING)
