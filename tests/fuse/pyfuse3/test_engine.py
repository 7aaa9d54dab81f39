"""What the portable engine does beside answering."""

from __future__ import annotations

from typing import cast

import pytest
import trio
import trio.testing

from readyfs.fuse.engine import EXPIRE_S
from readyfs.fuse.pyfuse3.engine import Pyfuse3Engine
from readyfs.fuse.pyfuse3.raw_calls import RawCalls
from readyfs.vfs.filesystem import Filesystem


class Idle:
    """A filesystem that counts how often it is to let go of what nobody uses."""

    def __init__(self) -> None:
        self.calls = 0

    def expire_idle(self) -> None:
        self.calls += 1


@pytest.mark.usefixtures("inline")
async def test_what_nobody_uses_is_let_go_time_and_again(autojump_clock: trio.testing.MockClock) -> None:
    """V25: also where nothing is ever refreshed, a manifest keeps no catalog for long."""
    idle = Idle()
    engine = Pyfuse3Engine(cast(Filesystem, idle), RawCalls(1, 1.0))
    with trio.move_on_after(3.5 * EXPIRE_S):
        await engine._expire_idle()
    assert idle.calls == 3
