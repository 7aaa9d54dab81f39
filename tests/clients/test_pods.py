"""One daemon for all pods of a node, as a DaemonSet has it: mounts reach pods by propagation, mount_namespaces(7).

The daemon mounts in a namespace of its own, into a directory that it shares with the node (`Bidirectional`). Pods are
namespaces that get what the node has (`HostToContainer`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.fuse.live_mount import clear
from tests.fuse.live_mount import daemon as helper
from tests.mount.daemon import Place, mounted, partition, running

IN_A_CONTAINER: Final = ("unshare", "--mount", "--propagation", "unchanged", "--")
PART: Final = partition()


class Node(Place):
    """A place whose mount point lies in a directory that containers share."""

    @property
    def mountpoint(self) -> Path:
        """Below the shared directory."""
        return self.base / "shared" / "ready"


@dataclass(frozen=True, slots=True)
class Pod:
    """A namespace that gets the node's mounts."""

    pid: int

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the pod."""
        words = ("nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "--", *command)
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)

    def reads(self, path: Path) -> str:
        """Return what the pod reads, and nothing where it cannot."""
        return self.run("cat", str(path)).stdout


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    shared = tmp_path / "shared"
    shared.mkdir()
    subprocess.run(["mount", "--bind", shared, shared], check=True, timeout=10)
    try:
        subprocess.run(["mount", "--make-shared", shared], check=True, timeout=10)
        place = Node(tmp_path)
        with closing(place.producer):
            place.producer.write_and_publish(PART, "r1", b"first\n")
            yield place
    finally:
        clear(shared)


@pytest.fixture
def pod(node: Node) -> Iterator[Pod]:
    """A pod that is there before the daemon is."""
    words = ("unshare", "--mount", "--propagation", "slave", "--", "sh", "-c", "echo ready; exec cat")
    with helper(words) as process:
        yield Pod(process.pid)


@pytest.mark.parametrize("engine", ["pyfuse3", "passthrough"])
def test_pod_follows_the_daemon_of_its_node(node: Node, pod: Pod, engine: str) -> None:
    """V14, V20: it sees a mount that is made later, pins through it, and finds its view after the daemon was killed."""
    command = (sys.executable, "-m", "readyfs", "pin", str(node.mountpoint), "--name", "job", "--json")
    with running(node, engine=engine, wrapper=IN_A_CONTAINER) as daemon:
        assert pod.reads(daemon.of(PART)) == "first\n"
        pinned = pod.run(*command)
        assert (pinned.returncode, pinned.stderr) == (0, "")
        view = Path(json.loads(pinned.stdout)["path"])
        in_view = view / daemon.of(PART).relative_to(daemon.path)
        assert pod.reads(in_view) == "first\n"
        daemon.kill()
        failed = pod.run("cat", str(in_view))
        assert (failed.returncode, failed.stdout) == (1, "")
        node.producer.write_and_publish(PART, "r2", b"second\n")
        with mounted(node, engine=engine, wrapper=IN_A_CONTAINER) as again:
            assert pod.reads(again.of(PART)) == "second\n"
            assert pod.reads(in_view) == "first\n"
            assert pod.run(sys.executable, "-m", "readyfs", "unpin", str(node.mountpoint), "job").returncode == 0
        # A stopped daemon leaves an empty directory in the pod, too, and no dead mount.
        assert pod.run("ls", "-A", str(node.mountpoint)).stdout == ""
