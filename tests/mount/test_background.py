"""How many requests the kernel may send that nobody waits for: many readers close many files."""

from __future__ import annotations

from pathlib import Path

from readyfs.fuse.kernel_background import MAX_BACKGROUND, raise_background
from readyfs.fuse.mount_table import read_mount_table, stack_at
from tests.mount.daemon import Place, partition, start, take_down

WITH_FUSECTL = ("unshare", "--mount", "sh", str(Path(__file__).with_name("with_fusectl.sh")))


def test_pyfuse3_raises_the_limit_where_fusectl_is_mounted(place: Place) -> None:
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    daemon = start(place, engine="pyfuse3", wrapper=WITH_FUSECTL)
    try:
        (mount,) = stack_at(read_mount_table(Path(f"/proc/{daemon.pid}/mountinfo")), daemon.path)
        connection = Path(f"/proc/{daemon.pid}/root/sys/fs/fuse/connections", str(mount.device[1]))
        assert int((connection / "max_background").read_text()) == MAX_BACKGROUND
        assert int((connection / "congestion_threshold").read_text()) == MAX_BACKGROUND * 3 // 4
        assert daemon.stop() == 0
    finally:
        take_down(daemon)


def test_limit_stays_where_fusectl_is_not_mounted(tmp_path: Path) -> None:
    raise_background((0, 47), tmp_path)
    assert not list(tmp_path.iterdir())
