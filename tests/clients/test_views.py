"""Plan, let everything flip, read: over a pinned view that is exact, every time; over the mount itself it is not."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.clients.flips import Flips, flipping
from tests.clients.manifest_planners import FROM_MANIFESTS
from tests.clients.planners import SMALL
from tests.clients.tool_planners import SMALL_TOOLS, records_below
from tests.clients.trees import pinned
from tests.clients.verdicts import EXACT, FLIPS_BETWEEN, judge, play
from tests.fuse.direct.raw_mounts import on_tmpfs
from tests.fuse.live_mount import foreign_mount
from tests.mount.daemon import fails_with

PLANNERS: Final = (*SMALL, *SMALL_TOOLS)


@pytest.fixture(scope="module")
def flips(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Flips]:
    with flipping(tmp_path_factory.mktemp("flips"), engine) as found:
        yield found


def test_plan_over_a_pinned_view_reads_exactly_what_was_pinned(flips: Flips) -> None:
    """V16: whatever the client keeps of its plan, because none of it ever changes."""
    planners = (*PLANNERS, *FROM_MANIFESTS)
    assert play(flips, planners, pinned) == {planner.name: EXACT for planner in planners}


@pytest.mark.parametrize("engine", ["passthrough"], indirect=True)
def test_plan_over_the_mount_itself_does_not_hold(flips: Flips) -> None:
    """V3: no client finds after a flip what it planned for, which is no engine's doing."""
    # Told a shorter file than its plan knows, Polars prints a panic for each Parquet file.
    planners = [planner for planner in PLANNERS if not planner.name.startswith("Polars, Parquet")]
    with flips.held() as rows:
        reads = [(planner, planner.plan(flips.mounts[planner.layout].path)) for planner in planners]
    flips.flip()
    assert EXACT not in {judge(planner, read, rows) for planner, read in reads}


@contextmanager
def overlaid(lower: Path, base: Path) -> Iterator[Path]:
    """Lay an overlayfs over a tree; what is written goes to memory."""
    with on_tmpfs(base / "written"):
        upper, work, over = base / "written" / "upper", base / "written" / "work", base / "over"
        for made in (upper, work, over):
            made.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        with foreign_mount(over, "-t", "overlay", "overlay", "-o", options):
            yield over


def test_overlay_over_a_pinned_view_stays_what_it_was(flips: Flips, tmp_path: Path) -> None:
    """V16: what it has looked up stays right, and it can be written to."""
    with flips.going_on(), ExitStack() as held:
        with flips.held() as rows:
            view = held.enter_context(pinned(flips.mounts["plain"]))
        over = held.enter_context(overlaid(view, tmp_path))
        assert sorted(records_below(over)) == rows
        flips.wait_for(FLIPS_BETWEEN)
        assert sorted(records_below(over)) == rows
        added = over / Path(*rows[0][:3]) / "note"
        added.write_bytes(b"mine")
        assert sorted(records_below(over)) == rows
        assert added.read_bytes() == b"mine"


def test_overlay_over_the_mount_itself_goes_stale(flips: Flips, tmp_path: Path) -> None:
    """What docs/clients.md says of it: a partition that switched cannot be read any more, and what is new can."""
    with overlaid(flips.mounts["plain"].path, tmp_path) as over:
        known = {row[:3] for row in records_below(over)}
        flips.flip()
        with flips.held() as rows:
            found = {row[:3] for row in rows}
        for names in found & known:
            with fails_with(errno.ESTALE):
                os.open(over.joinpath(*names, "payload.jsonl"), os.O_RDONLY)
        for names in found - known:
            assert over.joinpath(*names, "payload.jsonl").read_bytes()
