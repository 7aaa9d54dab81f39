"""Pins, through a real mount: a view is held while a lease lasts, and its end is loud (V19, V20)."""

from __future__ import annotations

from pathlib import Path

from tests.mount.daemon import Place, mounted, partition


def test_a_pinned_view_shows_what_was_in_force_whatever_is_refreshed(place: Place, engine: str) -> None:
    """V19."""
    part = partition()
    place.producer.write_and_publish(part, "r1", b"first\n")
    with mounted(place, "--history-count", "0", engine=engine) as daemon:
        from readyfs.control.public_protocol import PinRequest

        answer = daemon.public.pin(PinRequest("job"))
        view = daemon.public.view(str(answer["fingerprint"]))
        for number in range(3):
            place.producer.write_and_publish(part, f"s{number}", b"other\n")
            daemon.refresh()
        assert daemon.of(part).read_bytes() == b"other\n"
        assert (view / part.path / "payload.jsonl").read_bytes() == b"first\n"
        at = daemon.path / ".readyfs" / "at" / "job"
        assert (at / part.path / "payload.jsonl").read_bytes() == b"first\n"
        assert Path(daemon.path, ".readyfs", "socket").readlink().exists()
        print(daemon.public.pins())
