from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from readyfs.daemon import shutdown as shutdown_module
from readyfs.daemon.shutdown import HOLDERS_S, LAST_REPLIES_S, STUCK_S, Shutdown
from readyfs.errors import ExitCode, MountPointError
from readyfs.fuse.engine import StuckCall
from readyfs.fuse.holders import Holder
from readyfs.fuse.unmount import MountBusyError
from readyfs.life import Life, Phase

MOUNT = Path("/mount")
DEVICE = (0, 77)
HOLDERS = [Holder(42, "cat", "open file"), Holder(43, "sh", "cwd")]
DRAIN_S = 30.0


@dataclass(slots=True)
class Call:
    """A request that waits for the raw store since a moment of the mock clock."""

    operation: str
    inode: int
    since: float


@dataclass(slots=True)
class Play:
    """A mount and an engine that a test plays; `did` is what was done to them, in order."""

    ended: trio.Event = field(default_factory=trio.Event)
    did: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    unmount_error: MountPointError | None = None
    detach_error: MountPointError | None = None
    on_unmount: Callable[[], None] = lambda: None
    on_stop: Callable[[], None] = lambda: None
    mounts: list[SimpleNamespace] = field(
        default_factory=lambda: [SimpleNamespace(device=(8, 1)), SimpleNamespace(device=DEVICE)]
    )
    life: Life = field(default_factory=Life)

    def stuck_calls(self, seconds: float) -> Sequence[StuckCall]:
        return [call for call in self.calls if call.since <= trio.current_time() - seconds]

    def stop_serving(self) -> None:
        self.did.append("stop serving")
        self.on_stop()

    def unmount(self, path: Path) -> None:
        self.did.append(f"unmount {path}")
        if self.unmount_error is not None:
            raise self.unmount_error
        self.on_unmount()

    def detach(self, path: Path) -> None:
        self.did.append(f"detach {path}")
        if self.detach_error is not None:
            raise self.detach_error

    async def shut_down(self) -> ExitCode:
        return await Shutdown(MOUNT, DEVICE, DRAIN_S, self, self.ended, self.life).run()


@pytest.fixture
async def play(inline: None, monkeypatch: pytest.MonkeyPatch) -> Play:
    play = Play()
    monkeypatch.setattr(shutdown_module, "unmount", play.unmount)
    monkeypatch.setattr(shutdown_module, "detach", play.detach)
    monkeypatch.setattr(shutdown_module, "mounts_at", lambda path: play.mounts)
    holders = {DEVICE: HOLDERS}
    monkeypatch.setattr(shutdown_module, "find_holders", lambda mount: holders[mount.device])
    return play


def busy(play: Play) -> None:
    play.unmount_error = MountBusyError("busy", "")


async def end_after(play: Play, seconds: float) -> None:
    await trio.sleep(seconds)
    play.ended.set()


async def test_free_mount_is_unmounted_and_the_daemon_ends_with_it(play: Play, autojump_clock: MockClock) -> None:
    play.on_unmount = play.ended.set
    with capture_logs() as logs:
        assert await play.shut_down() is ExitCode.OK
    assert play.did == [f"unmount {MOUNT}"]
    assert logs == []
    assert trio.current_time() == 0.0
    assert play.life.phase is Phase.STOPPING
    assert play.life.draining_seconds_left() is None


async def test_busy_mount_is_detached_after_saying_who_holds_it(
    play: Play, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """V5: open files go on; the log names each process."""
    busy(play)
    nursery.start_soon(end_after, play, 3.0)
    with capture_logs() as logs:
        assert await play.shut_down() is ExitCode.OK
    assert play.did == [f"unmount {MOUNT}", f"detach {MOUNT}"]
    assert [(line["pid"], line["command"], line["how"]) for line in logs[:2]] == [
        (42, "cat", "open file"),
        (43, "sh", "cwd"),
    ]
    assert logs[2]["drain_seconds"] == DRAIN_S
    assert play.life.phase is Phase.DRAINING
    assert play.life.holders == ("pid 42 cat (open file)", "pid 43 sh (cwd)")
    left_s = play.life.draining_seconds_left()
    assert left_s is not None
    assert DRAIN_S - 10.0 < left_s <= DRAIN_S
    assert trio.current_time() == pytest.approx(3.0)


@pytest.mark.parametrize("mounts", [[], [SimpleNamespace(device=DEVICE), SimpleNamespace(device=(0, 78))]])
async def test_what_is_not_our_mount_is_left_alone(
    play: Play, autojump_clock: MockClock, mounts: list[SimpleNamespace]
) -> None:
    """Ours was taken away, or somebody mounted something on top."""
    play.mounts = mounts
    play.ended.set()
    assert await play.shut_down() is ExitCode.OK
    assert play.did == []


async def test_search_for_holders_that_hangs_is_given_up(
    play: Play, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads /proc, which can make us wait for a process that is busy."""

    async def hang_in_search(call: Callable[..., object], *arguments: object, **how: object) -> None:
        if call == play.unmount:
            play.unmount(MOUNT)
        elif call == play.detach:
            play.detach(MOUNT)
        else:
            assert how["abandon_on_cancel"]
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(trio.to_thread, "run_sync", hang_in_search)
    busy(play)
    play.ended.set()
    with capture_logs():
        assert await play.shut_down() is ExitCode.OK
    assert play.did[-1] == f"detach {MOUNT}"
    assert trio.current_time() == pytest.approx(HOLDERS_S)


async def test_open_files_are_served_until_the_drain_is_over(play: Play, autojump_clock: MockClock) -> None:
    """V5: for `--drain`, then they fail and the daemon ends."""
    busy(play)
    with capture_logs() as logs:
        assert await play.shut_down() is ExitCode.OK
    assert play.did[-1] == "stop serving"
    assert logs[-1]["event"] == "drain is over, files that are still open will fail"
    assert trio.current_time() == pytest.approx(DRAIN_S + LAST_REPLIES_S, abs=0.2)


async def test_mount_that_cannot_be_unmounted_is_detached(play: Play, autojump_clock: MockClock) -> None:
    play.unmount_error = MountPointError("the helper failed", "")
    play.ended.set()
    with capture_logs() as logs:
        assert await play.shut_down() is ExitCode.OK
    assert play.did == [f"unmount {MOUNT}", f"detach {MOUNT}"]
    assert logs[0]["error"] == "the helper failed"


async def test_mount_that_cannot_even_be_detached_ends_with_the_drain(play: Play, autojump_clock: MockClock) -> None:
    busy(play)
    play.detach_error = MountPointError("not permitted", "")
    with capture_logs() as logs:
        assert await play.shut_down() is ExitCode.OK
    assert ("error", "detach failed") in [(line["log_level"], line["event"]) for line in logs]
    assert play.did[-1] == "stop serving"


async def test_hanging_raw_store_is_given_up_with_an_exit_code_of_its_own(
    play: Play, autojump_clock: MockClock
) -> None:
    """V11: an unkillable read must not hold up the end of the daemon for the whole drain."""
    busy(play)
    play.calls = [Call("read", 7, -100.0), Call("open", 8, -50.0)]
    with capture_logs() as logs:
        assert await play.shut_down() is ExitCode.STUCK
    assert play.did[-1] == "stop serving"
    errors = [(line["operation"], line["inode"]) for line in logs if line["log_level"] == "error"]
    assert errors == [("read", 7), ("open", 8)]
    assert trio.current_time() == pytest.approx(STUCK_S + LAST_REPLIES_S, abs=0.2)


async def test_end_waits_no_longer_than_the_last_replies_need(play: Play, autojump_clock: MockClock) -> None:
    play.calls = [Call("read", 7, -100.0)]
    play.on_stop = play.ended.set
    with capture_logs():
        assert await play.shut_down() is ExitCode.STUCK
    assert trio.current_time() == pytest.approx(STUCK_S, abs=0.2)


async def test_raw_store_that_answers_in_time_is_waited_for(
    play: Play, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """V5: it is slow, not stuck."""

    async def answer() -> None:
        await trio.sleep(4.0)
        play.calls.clear()
        await trio.sleep(4.0)
        play.ended.set()

    busy(play)
    play.calls = [Call("read", 7, -100.0)]
    nursery.start_soon(answer)
    with capture_logs():
        assert await play.shut_down() is ExitCode.OK
    assert trio.current_time() == pytest.approx(8.0)


async def test_call_that_began_during_the_drain_has_its_own_time(play: Play, autojump_clock: MockClock) -> None:
    busy(play)
    play.calls = [Call("read", 7, 6.0)]
    with capture_logs():
        assert await play.shut_down() is ExitCode.STUCK
    assert trio.current_time() == pytest.approx(6.0 + STUCK_S + LAST_REPLIES_S, abs=0.2)


async def test_hanging_raw_store_under_a_free_mount_is_given_up_as_well(play: Play, autojump_clock: MockClock) -> None:
    play.calls = [Call("read", 7, 0.0)]
    with capture_logs():
        assert await play.shut_down() is ExitCode.STUCK
    assert play.did == [f"unmount {MOUNT}", "stop serving"]


async def test_mount_that_lives_on_elsewhere_is_reported_and_ends_with_the_drain(
    play: Play, autojump_clock: MockClock
) -> None:
    """The unmount went well, but another mount namespace holds a copy: nobody who waits should have to guess."""
    with capture_logs() as logs:
        assert await play.shut_down() is ExitCode.OK
    assert play.did == [f"unmount {MOUNT}", "stop serving"]
    assert logs[0]["event"] == "another mount namespace holds the mount, going on for it"
    assert trio.current_time() == pytest.approx(DRAIN_S + LAST_REPLIES_S, abs=0.2)
