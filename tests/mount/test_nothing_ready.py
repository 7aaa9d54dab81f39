"""V1: a mount that is empty although its state table is not says why: in the log, the status and the metrics."""

from __future__ import annotations

import os
import subprocess
import sys

from readyfs.fuse.mount_table import mounts_at
from tests.mount.daemon import Place, mount_arguments, mounted, partition, wait_until

EVENT = "nothing is shown, although the state table has rows"


def test_mount_serves_and_says_why_it_is_empty_until_it_is_not(place: Place) -> None:
    one = partition()
    place.producer.write_and_publish(one, "r1", b"x\n")
    place.change("UPDATE partition_state SET status = 'Success'")
    metrics = place.base / "metrics.prom"
    with mounted(place, "--interval", "100ms", "--metrics-file", str(metrics)) as daemon:
        cause = "0 of 1 rows are ready: column status (TEXT) holds 'Success' (1), and --ready-status is 'success'"
        assert daemon.status()["nothing_shown"] == cause
        assert [line["cause"] for line in daemon.events(EVENT)] == [cause]
        assert os.listdir(daemon.path) == []
        shown = subprocess.run(
            [sys.executable, "-m", "readyfs", "status", str(daemon.path), "--runtime-dir", str(place.runtime_dir)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert cause in shown.stdout
        wait_until(
            lambda: (
                metrics.exists() and f'readyfs_nothing_shown{{mountpoint="{daemon.path}"}} 1' in metrics.read_text()
            ),
            "the metric says it",
        )
        place.change("UPDATE partition_state SET status = 'success'")
        wait_until(daemon.of(one).exists, "the partition appears")
        assert daemon.status()["nothing_shown"] is None
        place.change("UPDATE partition_state SET current_run_id = NULL")
        wait_until(lambda: len(daemon.events(EVENT)) == 2, "what is withheld is another reason")
        again = str(daemon.status()["nothing_shown"])
        assert again.startswith("0 of 1 ready rows are shown, all are withheld: no_run_id 1; the first is ")


def test_table_that_is_empty_at_start_and_fills_with_other_words_is_noticed(place: Place) -> None:
    with mounted(place) as daemon:
        daemon.refresh()
        assert daemon.status()["nothing_shown"] is None
        place.producer.write_and_publish(partition(), "r1", b"x\n")
        place.change("UPDATE partition_state SET status = 'done'")
        daemon.refresh()
        assert "holds 'done' (1)" in str(daemon.status()["nothing_shown"])
        place.change("UPDATE partition_state SET status = 'finished'")
        daemon.refresh()
        assert len(daemon.events(EVENT)) == 1, "the table is not asked at each refresh"


def test_terminal_is_told_whatever_takes_the_log(place: Place) -> None:
    """As a daemon the mount goes on after the command has ended."""
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    arguments = mount_arguments(place, "--ready-status", "done", "--log-file", str(place.base / "log"), "--daemon")
    command = [sys.executable, "-m", "readyfs"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)
    try:
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr.startswith(
            "readyfs: warning: 0 of 1 rows are ready: column status (TEXT) holds 'success' (1)"
        )
        assert done.stderr.count("\n") == 1
        assert EVENT in (place.base / "log").read_text()
    finally:
        umount = [*command, "umount", str(place.mountpoint), "--runtime-dir", str(place.runtime_dir)]
        subprocess.run(umount, timeout=60, check=True)
    assert not mounts_at(place.mountpoint)
