"""How deep a mount may be stacked over raw files, from a mount table."""

from __future__ import annotations

from pathlib import Path

import pytest

from readyfs.fuse.direct.stacking import stack_depth
from readyfs.fuse.mount_table import parse_mount_table

TABLE = b"""20 1 8:1 / / rw - ext4 /dev/vda rw
21 20 0:30 / /stacked rw - overlay overlay rw
22 20 0:31 / /secret rw - ecryptfs /x rw
"""


@pytest.mark.parametrize(
    ("raw", "depth"), [("/data/raw", 1), ("/stacked", 2), ("/stacked/raw", 2), ("/secret/raw", 2), ("/stackedup", 1)]
)
def test_second_level_is_asked_for_where_the_raw_root_takes_one(raw: str, depth: int) -> None:
    assert stack_depth(Path(raw), parse_mount_table(TABLE)) == depth
