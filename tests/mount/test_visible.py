"""V1, V2: what can be seen is ready, and is the current run."""

from __future__ import annotations

import os

from tests.mount.daemon import Place, mounted, partition


def test_only_ready_partitions_exist(place: Place, engine: str) -> None:
    """V1: no row, pending and failed are ENOENT, and no listing shows them."""
    ready, failed, pending = partition(), partition(date="2024-06-02"), partition(query="q2")
    place.producer.write_and_publish(ready, "r1", b"ready\n")
    place.producer.write_run(failed, "r1", b"rejected\n")
    place.producer.fail(failed)
    place.producer.write_run(pending, "r1", b"unseen\n")
    place.producer.expect(pending)
    with mounted(place, engine=engine) as daemon:
        found = sorted(
            os.path.relpath(os.path.join(top, name), daemon.path)
            for top, _, names in os.walk(daemon.path)
            for name in names
        )
        assert found == [f"{ready.path}/metadata.json", f"{ready.path}/payload.jsonl"]
        assert not (daemon.path / failed.path).exists()
        assert not (daemon.path / "c1/q2").exists()
        assert daemon.of(ready).read_bytes() == b"ready\n"
