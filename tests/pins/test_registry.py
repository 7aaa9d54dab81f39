"""Leases: made, renewed, removed and ended, by whom and when; nothing here has a mount (V18, V20)."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from readyfs.errors import HistoryError, LimitError, NoPinError, NotPermittedError, UsageError
from readyfs.pins import table as table_module
from readyfs.pins import tombstones as tombstones_module
from readyfs.pins.asker import Asker
from readyfs.pins.limits import MAX_TOMBSTONES, RECENT_S, TOMBSTONE_S
from readyfs.pins.pin import Pin, Reason
from readyfs.pins.registry import Registry
from readyfs.text import escape_text
from tests.pins.conftest import ALICE, BOB, DAY_S, HOUR_S, LIMITS, ROOT, World

ONE, TWO = "11" * 16, "22" * 16
TAKEN_NS = 1_699_999_000_000_000_000


def make(
    registry: Registry, name: str | None = "job", lease_s: float | None = None, asker: Asker = ALICE, of: str = ONE
) -> Pin:
    return registry.pin(name, lease_s, "", asker, of, TAKEN_NS)


def test_a_pin_holds_its_catalog_until_its_lease_ends(world: World, registry: Registry) -> None:
    pin = make(registry, lease_s=HOUR_S)
    assert (pin.fingerprint, pin.taken_at_ns, pin.owner) == (ONE, TAKEN_NS, 1001)
    assert set(registry.held()) == {ONE}
    world.clocks.passes(HOUR_S - 1)
    assert registry.advance() == []
    assert set(registry.held()) == {ONE}
    world.clocks.passes(1)
    assert [one.name for one in registry.advance()] == ["job"]
    assert not registry.held()
    [left] = registry.tombstones()
    assert (left.name, left.owner, left.reason) == ("job", 1001, Reason.LEASE_ENDED)


def test_a_lease_lasts_as_long_as_the_settings_say_unless_asked_for_otherwise(world: World, registry: Registry) -> None:
    assert make(registry).ends_s == world.clocks.age_s + DAY_S
    assert make(registry, "short", 60.0).ends_s == world.clocks.age_s + 60


@pytest.mark.parametrize("lease_s", [0.0, -5.0, 0.5, 31 * DAY_S, 1e11])
def test_a_lease_beyond_the_bounds_is_refused_and_nothing_is_made(registry: Registry, lease_s: float) -> None:
    with pytest.raises(UsageError, match="a lease cannot last"):
        make(registry, lease_s=lease_s)
    assert registry.pins() == []


def test_two_pins_of_one_catalog_hold_it_until_the_last_ends(world: World, registry: Registry) -> None:
    make(registry, "short", HOUR_S)
    make(registry, "long", 2 * HOUR_S, BOB)
    world.clocks.passes(HOUR_S)
    assert [pin.name for pin in registry.advance()] == ["short"]
    assert set(registry.held()) == {ONE}
    ends_s = registry.ends_s(ONE)
    assert ends_s is not None
    assert ends_s == pytest.approx(world.clocks.age_s + HOUR_S)
    unpinned = registry.unpin("long", BOB)
    assert set(registry.held()) == {ONE}  # up to when the disk has it
    registry.confirm(unpinned)
    assert not registry.held()


def test_a_name_that_is_taken_is_refused(registry: Registry) -> None:
    make(registry)
    for asker in (ALICE, BOB):
        with pytest.raises(UsageError, match="there is a pin named job"):
            make(registry, asker=asker, of=TWO)
    assert [pin.fingerprint for pin in registry.pins()] == [ONE]


def test_a_name_is_not_given_to_another_user_while_it_has_a_tombstone(world: World, registry: Registry) -> None:
    make(registry, lease_s=HOUR_S)
    world.clocks.passes(HOUR_S)
    registry.advance()
    with pytest.raises(UsageError, match="somebody else's"):
        make(registry, asker=BOB)
    make(registry, asker=ALICE)  # one's own name may be used again
    registry.confirm(registry.unpin("job", ALICE))
    world.clocks.passes(TOMBSTONE_S)
    registry.advance()
    assert registry.tombstones() == []
    make(registry, asker=BOB)


def test_a_name_leads_to_its_view_through_the_grace_time_and_no_longer(world: World, registry: Registry) -> None:
    make(registry, lease_s=HOUR_S)
    assert registry.find("job") == ONE
    world.clocks.passes(HOUR_S)
    registry.advance()
    assert registry.find("job") == ONE
    assert registry.has_grace(ONE)
    world.clocks.passes(HOUR_S)
    assert registry.find("job") is None
    assert not registry.has_grace(ONE)


def test_one_user_may_have_so_many_pins_and_another_has_its_own(registry: Registry) -> None:
    for number in range(LIMITS.per_user):
        make(registry, f"job{number}")
    with pytest.raises(LimitError, match="you have 3 pins"):
        make(registry, "more")
    make(registry, "bobs", asker=BOB)
    registry.unpin("job0", ALICE)
    make(registry, "more")


def test_all_users_together_have_a_limit(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "MAX_PINS", 2)
    make(registry, "a", asker=Asker(1))
    make(registry, "b", asker=Asker(2))
    with pytest.raises(LimitError, match="there are 2 pins"):
        make(registry, "c", asker=Asker(3))


def test_renewing_only_extends(world: World, registry: Registry) -> None:
    pin = make(registry, lease_s=2 * HOUR_S)
    _, renewed = registry.renew("job", HOUR_S, ALICE)
    assert renewed.ends_s == pin.ends_s
    _, renewed = registry.renew("job", 3 * HOUR_S, ALICE)
    assert renewed.ends_s == world.clocks.age_s + 3 * HOUR_S


def test_a_pin_cannot_be_renewed_beyond_its_maximum(world: World, registry: Registry) -> None:
    make(registry, lease_s=30 * DAY_S)
    world.clocks.passes(29 * DAY_S)
    with pytest.raises(UsageError, match="cannot be held for 2d more") as caught:
        registry.renew("job", 2 * DAY_S, ALICE)
    assert "1d" in caught.value.remedy
    _, renewed = registry.renew("job", None, ALICE)
    assert renewed.ends_s == pytest.approx(world.clocks.age_s + DAY_S)


@pytest.mark.parametrize("name", ["none", "\x1b[2J", ""])
def test_a_pin_that_is_not_there_is_neither_renewed_nor_removed(registry: Registry, name: str) -> None:
    with pytest.raises(NoPinError) as caught:
        registry.renew(name, None, ROOT)
    assert caught.value.message == f"there is no pin named '{escape_text(name)}'"
    with pytest.raises(NoPinError):
        registry.unpin(name, ROOT)


def test_only_pinner_and_operator_may_renew_or_remove(registry: Registry) -> None:
    make(registry)
    for refused in (lambda: registry.renew("job", None, BOB), lambda: registry.unpin("job", BOB)):
        with pytest.raises(NotPermittedError, match="somebody else's"):
            refused()
    registry.renew("job", None, ROOT)
    registry.confirm(registry.unpin("job", ALICE))
    make(registry)
    registry.confirm(registry.unpin("job", ROOT))
    found = [(one.reason, one.owner, one.ended_by) for one in registry.tombstones()]
    assert found == [(Reason.UNPINNED, ALICE.uid, ALICE.uid), (Reason.REMOVED, ALICE.uid, ROOT.uid)]


def test_a_name_is_not_free_for_others_as_soon_as_it_is_unpinned(registry: Registry) -> None:
    """Its view may be in its grace time, and its readers must not be led to another one."""
    make(registry)
    registry.confirm(registry.unpin("job", ALICE))
    with pytest.raises(UsageError, match="somebody else's"):
        make(registry, asker=BOB)
    assert registry.find("job") == ONE
    make(registry, asker=ALICE, of=TWO)
    assert registry.find("job") == TWO


def test_what_was_unpinned_is_forgotten_before_what_ended_by_itself(
    world: World, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tombstones_module, "MAX_TOMBSTONES", 3)
    make(registry, "late", 1.0)
    world.clocks.passes(1)
    registry.advance()
    for number in range(5):
        make(registry, f"done{number}")
        registry.confirm(registry.unpin(f"done{number}", ALICE))
    assert [one.name for one in registry.tombstones()] == ["late", "done3", "done4"]


def test_a_pin_that_is_put_back_does_not_take_the_place_of_a_new_one(registry: Registry) -> None:
    old = make(registry)
    assert registry.unpin("job", ALICE) == old
    make(registry, of=TWO)
    assert set(registry.held()) == {ONE, TWO}
    registry.put_back(old)
    assert set(registry.held()) == {TWO}
    assert registry.find("job") == TWO


def test_a_pin_that_ended_is_said_to_have(world: World, registry: Registry) -> None:
    make(registry, lease_s=HOUR_S)
    world.clocks.passes(HOUR_S)
    registry.advance()
    world.clocks.passes(120)
    for ask in (lambda: registry.renew("job", None, ALICE), lambda: registry.unpin("job", ALICE)):
        with pytest.raises(NoPinError, match="the pin job ended 2m ago: lease ended"):
            ask()


def test_where_nobody_can_pin_it_is_said(world: World) -> None:
    world.limits = replace(LIMITS, per_user=0)
    with pytest.raises(LimitError, match="nobody can pin at this mount"):
        make(world.open())


def test_a_view_in_use_goes_on_after_its_lease_up_to_its_maximum(world: World) -> None:
    world.limits = replace(LIMITS, max_s=HOUR_S + RECENT_S + 100)
    registry = world.open()
    make(registry, lease_s=HOUR_S)
    world.clocks.passes(HOUR_S - 10)
    registry.used(ONE)
    world.clocks.passes(10)
    assert registry.advance() == []
    assert registry.ends_s(ONE) == pytest.approx(world.clocks.age_s + RECENT_S - 10)
    world.clocks.passes(RECENT_S - 20)
    registry.used(ONE)
    world.clocks.passes(10)
    assert registry.advance() == []
    ends_s = registry.ends_s(ONE)
    assert ends_s is not None
    world.clocks.passes(ends_s - world.clocks.age_s)
    registry.used(ONE)
    assert [pin.name for pin in registry.advance()] == ["job"]


def test_a_view_that_nobody_uses_ends_with_its_lease(world: World, registry: Registry) -> None:
    make(registry, lease_s=HOUR_S)
    registry.used(ONE)
    world.clocks.passes(HOUR_S)
    assert [pin.name for pin in registry.advance()] == ["job"]


def test_tombstones_of_one_user_do_not_push_out_those_of_others(
    world: World, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tombstones_module, "MAX_TOMBSTONES", 3)
    make(registry, "alices", 1.0)
    world.clocks.passes(1)
    registry.advance()
    for number in range(5):
        make(registry, f"bobs{number}", 1.0, BOB)
        world.clocks.passes(1)
        registry.advance()
    assert [one.name for one in registry.tombstones()] == ["alices", "bobs2", "bobs3", "bobs4"]
    assert MAX_TOMBSTONES >= 100


# ---- the clocks ---------------------------------------------------------------------------------------------------


def test_a_wall_clock_that_is_set_neither_ends_a_lease_nor_lengthens_it(world: World, registry: Registry) -> None:
    make(registry, lease_s=HOUR_S)
    for jump_ns in (10**15, -2 * 10**15):
        world.clocks.wall_ns += jump_ns
        assert registry.clock.adjust()
        assert registry.advance() == []
    world.clocks.passes(HOUR_S)
    assert len(registry.advance()) == 1


def test_the_end_is_shown_by_the_wall_clock_as_it_was_set(world: World, registry: Registry) -> None:
    pin = make(registry, lease_s=HOUR_S)
    before_ns = registry.clock.wall_ns(pin.ends_s)
    world.clocks.passes(0.5)
    assert not registry.clock.adjust()
    assert registry.clock.wall_ns(pin.ends_s) == before_ns
    world.clocks.wall_ns += 7_000_000_000
    assert registry.clock.adjust()
    assert registry.clock.wall_ns(pin.ends_s) == before_ns + 7_000_000_000


# ---- on disk ------------------------------------------------------------------------------------------------------


def test_pins_and_tombstones_survive_the_process_and_the_boot(world: World, registry: Registry) -> None:
    make(registry, "ended", 1.0)
    world.clocks.passes(1)
    registry.advance()
    pin = make(registry, lease_s=10 * HOUR_S)
    registry.save()
    expires_ns = registry.clock.wall_ns(pin.ends_s)
    world.clocks.boots(2 * HOUR_S)
    again = world.open()
    [found] = again.pins()
    assert replace(found, ends_s=0, latest_s=0) == replace(pin, ends_s=0, latest_s=0)
    assert found.ends_s == pytest.approx(5.0 + 8 * HOUR_S, abs=0.01)
    assert again.clock.wall_ns(found.ends_s) == pytest.approx(expires_ns, abs=10**7)
    assert [one.name for one in again.tombstones()] == ["ended"]


def test_a_lease_that_ended_while_nobody_ran_ends_at_the_start_with_its_grace_time(
    world: World, registry: Registry
) -> None:
    make(registry, lease_s=HOUR_S)
    registry.save()
    world.clocks.boots(DAY_S)
    again = world.open()
    assert [pin.name for pin in again.advance()] == ["job"]
    assert again.find("job") == ONE


def test_nothing_is_on_disk_before_it_is_saved_and_everything_afterwards(world: World, registry: Registry) -> None:
    make(registry)
    assert world.open().pins() == []
    registry.save()
    assert [pin.name for pin in world.open().pins()] == ["job"]


def test_a_save_that_fails_leaves_what_was_there(
    world: World, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(registry, "old")
    registry.save()
    pin = make(registry, "new")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space"):
            registry.save()
    registry.withdraw(pin)
    assert [one.name for one in world.open().pins()] == ["old"]
    assert [one.name for one in registry.pins()] == ["old"]


def test_threads_that_pin_at_once_are_all_on_disk_when_each_has_saved(world: World) -> None:
    world.limits = replace(LIMITS, per_user=1000)
    registry = world.open()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            pin = make(registry, f"job{number}")
            registry.save()
            assert pin.name in {one.name for one in world.open().pins()}
        except (AssertionError, OSError, RuntimeError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(world.open().pins()) == 20


def pin_file(world: World) -> Path:
    """Return the file with one pin in it and one that ended."""
    registry = world.open()
    make(registry, "ended", 1.0)
    world.clocks.passes(1)
    registry.advance()
    make(registry)
    registry.save()
    [path] = [path for path in Path(world.state_dir, "pins").iterdir() if path.is_file()]
    return path


def sealed(body: object) -> bytes:
    """Return a file whose checksum is right, whatever it holds."""
    line = json.dumps(body).encode() + b"\n"
    digest = hashlib.blake2b(line, digest_size=16).hexdigest()
    return json.dumps({"version": 1, "checksum": digest}).encode() + b"\n" + line


def assert_begins_anew(world: World, path: Path) -> None:
    content = path.read_bytes()
    with capture_logs() as logged:
        again = world.open()
    assert [entry["event"] for entry in logged] == ["pins are damaged and lost, their file is set aside"]
    aside = Path(logged[0]["path"])
    assert aside.parent == path.parent / "set-aside"
    assert aside.read_bytes() == content
    assert again.pins() == []
    make(again)
    again.save()
    assert [pin.name for pin in world.open().pins()] == ["job"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"version":0}\n',
        b'{"version":"2"}\n',
        sealed({"pins": [{}], "tombstones": []}),
        b'{"version":1}\n{"pins":[],"tombstones":[]}\n',
    ],
)
def test_a_damaged_file_is_set_aside_and_said_and_the_mount_goes_on(world: World, content: bytes) -> None:
    path = pin_file(world)
    for _ in range(2):  # the second does not take the place of the first
        path.write_bytes(content)
        assert_begins_anew(world, path)
    assert len(list((path.parent / "set-aside").iterdir())) == 2


@pytest.mark.parametrize("kind", ["pins", "tombstones"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, 10**30) for key in ("taken_at_ns", "pinned_at_ns", "ends_ns", "forget_ns", "owner")),
        *(("taken_at_ns", 10**400), ("ends_ns", 10**400), ("grace_ns", -(10**30)), ("owner", -1), ("owner", True)),
        *(("name", "a/b"), ("name", "~1"), ("fingerprint", "../x"), ("fingerprint", "AB" * 16), ("note", "a\nb")),
    ],
)
def test_what_no_pin_could_have_is_damage(world: World, kind: str, key: str, value: object) -> None:
    path = pin_file(world)
    body = json.loads(path.read_bytes().splitlines()[1])
    if key not in body[kind][0]:
        kind = "tombstones" if kind == "pins" else "pins"
    body[kind][0][key] = value
    path.write_bytes(sealed(body))
    assert_begins_anew(world, path)


def test_a_digit_that_flipped_is_damage(world: World) -> None:
    path = pin_file(world)
    content = bytearray(path.read_bytes())
    at = content.index(b'"ends_ns":') + 14
    content[at] = ord("9") if content[at] != ord("9") else ord("8")
    path.write_bytes(content)
    assert_begins_anew(world, path)


def test_a_file_of_a_later_version_is_left_alone_and_refused(world: World) -> None:
    path = pin_file(world)
    content = b'{"version":2,"something":"else"}\nwhatever'
    path.write_bytes(content)
    with pytest.raises(HistoryError, match="later version") as caught:
        world.open()
    assert caught.value.remedy
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_file_that_cannot_be_read_now_is_left_alone_and_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = pin_file(world)
    content = path.read_bytes()
    real = os.open

    def fail(name: str | Path, *rest: int) -> int:
        if Path(name) == path:
            raise OSError(number, os.strerror(number))
        return real(name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with pytest.raises(HistoryError, match=os.strerror(number)):
            world.open()
    assert path.read_bytes() == content
    assert [pin.name for pin in world.open().pins()] == ["job"]


def test_what_could_not_be_read_again_is_not_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pin_file(world)
    content = path.read_bytes()
    monkeypatch.setattr("readyfs.pins.file._MAX_BYTES", len(content))
    registry = world.open()
    make(registry, "more")
    with pytest.raises(OSError, match="too large"):
        registry.save()
    assert path.read_bytes() == content


def test_a_pin_whose_catalog_is_lost_ends_with_that_reason(registry: Registry) -> None:
    make(registry, "lost")
    make(registry, "kept", of=TWO)
    assert [pin.name for pin in registry.bury_unless(lambda fingerprint: fingerprint == TWO)] == ["lost"]
    assert [pin.name for pin in registry.pins()] == ["kept"]
    assert [one.reason for one in registry.tombstones()] == [Reason.NOT_KEPT]
