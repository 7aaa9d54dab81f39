"""`readyfs ls PATH`: paths of a real mount, also of one whose daemon hangs or is dead."""

from __future__ import annotations

import json
import os
import signal

import pytest

from readyfs.cli.main import main
from readyfs.cli.mount_paths import find_in_mount
from readyfs.errors import ExitCode
from tests.mount.daemon import Place, partition, running


def test_paths_in_a_mount_are_understood_without_touching_it(
    place: Place, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = partition("a/b"), partition("c2")
    for each in (one, other):
        place.producer.write_and_publish(each, "r1", b"{}\n")
    link = place.base / "link"
    link.symlink_to(place.mountpoint)
    with running(place) as daemon:
        (place.base / "inside").symlink_to(daemon.directory(one))
        monkeypatch.chdir(daemon.path)
        os.kill(daemon.pid, signal.SIGSTOP)  # whoever asked the mount would hang now
        try:
            for path in (str(daemon.of(one)), "./a%2Fb", f"{link}/a%2Fb/../a%2Fb/.", str(place.base / "inside")):
                code = main(["ls", path, "--state", str(place.state), "--json"])
                [row] = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
                assert (code, row["customer_id"]) == (0, "a/b"), path
            assert find_in_mount(f"{link}/../mnt/x") == (place.mountpoint, f"{place.mountpoint}/x")
            assert find_in_mount(f"{link}/..") is find_in_mount(str(place.base)) is None
            assert main(["ls", f"{daemon.path}/a:b", "--state", str(place.state)]) == ExitCode.IMPOSSIBLE
            assert f"did you mean {daemon.path}/a%3Ab?" in capfd.readouterr().err
            assert main(["ls", f"{daemon.path}/.readyfs/at/~1", "--state", str(place.state)]) == ExitCode.USAGE
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
            monkeypatch.chdir("/")


def test_mount_tells_which_runs_its_readers_found_broken(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    whole, broken, unread = partition("c1"), partition("c2"), partition("\xe9:3")
    for each in (whole, broken, unread):
        run = place.producer.write_and_publish(each, "r1", b"{}\n")
        if each != whole:
            place.producer.delete_run(run)
    words = ["ls", "--state", str(place.state), "--status", "broken", "--json"]

    def listed(*more: str) -> list[str]:
        assert main([*words, *more]) == 0
        return [json.loads(line)["customer_id"] for line in capfd.readouterr().out.splitlines()]

    with running(place) as daemon:
        assert listed("--mount", str(daemon.path)) == []
        for each in (whole, broken):
            list(daemon.directory(each).iterdir())
        assert listed("--mount", str(daemon.path)) == listed(str(daemon.path)) == ["c2"]
        list(daemon.directory(unread).iterdir())
        assert listed("--mount", str(daemon.path)) == ["c2", "\xe9:3"]
        assert listed("--check", "--raw", str(place.raw)) == ["c2", "\xe9:3"]
    assert main([*words, "--mount", str(place.mountpoint)]) == ExitCode.NOT_RUNNING
    assert capfd.readouterr().out == ""
