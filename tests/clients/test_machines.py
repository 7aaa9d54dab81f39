"""A job on several machines in its plainest form: one lists files over its mount, the others read them on theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

import readyfs
from readyfs.fuse.mount_table import mounts_at
from tests.clients.fleet import Fleet, fleet_of_three
from tests.clients.machines import Machine, machine
from tests.mount.daemon import start

READER: Final = """
import json, sys

for line in sys.stdin:
    records = [json.loads(record) for name in json.loads(line) for record in open(name)]
    print(json.dumps([len(records), sum(record["clicks"] for record in records)]), flush=True)
"""
ROUNDS: Final = 3


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet_of_three(tmp_path_factory.mktemp("fleet")) as found:
        yield found


class Reader:
    """A program on a machine that is given files, and adds up what is in them."""

    def __init__(self, machine: Machine, stack: ExitStack) -> None:
        command = (*machine.wrapper, sys.executable, "-c", READER)
        self._process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(self._process.kill)

    def add_up(self, files: Sequence[Path]) -> tuple[int, int]:
        """Return how many records there are, and the sum of their clicks."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps([str(file) for file in files]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, "the reader has ended, and said why"
        count, clicks = json.loads(answer)
        return count, clicks


def test_what_one_machine_pinned_and_listed_the_others_read_exactly(fleet: Fleet) -> None:
    """V16, V24: at the first lookup, while everything flips and no live tree is like another."""
    with fleet.flips.going_on(), ExitStack() as stack:
        readers = [Reader(machine, stack) for machine in fleet.machines]
        for _ in range(ROUNDS):
            with ExitStack() as job:
                with fleet.flips.held() as rows:
                    view = job.enter_context(readyfs.pin(fleet.mount))
                files = sorted(view.glob("*/*/*/payload.jsonl"))
                fleet.flips.wait_for(1)
                found = [reader.add_up(files) for reader in readers]
            assert found == [(len(rows), sum(row.clicks for row in rows))] * len(readers)


def test_machine_that_joins_later_reads_what_was_pinned(fleet: Fleet) -> None:
    """V24: with nothing but the pin store, and a live tree that never was what was pinned."""
    with ExitStack() as stack:
        with fleet.flips.held() as rows:
            view = stack.enter_context(readyfs.pin(fleet.mount))
        files = sorted(view.glob("*/*/*/payload.jsonl"))
        fleet.flips.flip()
        newcomer = stack.enter_context(machine("newcomer", fleet.place))
        # Neither `mounted` nor `running`: these look at the mount point here, where the driver's mount stays.
        daemon = start(newcomer.place, *fleet.sharing, engine="opened", wrapper=newcomer.wrapper)
        try:
            with ExitStack() as job:
                assert Reader(newcomer, job).add_up(files) == (len(rows), sum(row.clicks for row in rows))
        finally:
            assert daemon.stop() == 0


def test_machines_have_mounts_of_their_own_at_one_path(fleet: Fleet) -> None:
    """What the test above rests on."""
    command = ("stat", "--format", "%d", str(fleet.mount))
    devices = {
        subprocess.run((*one.wrapper, *command), stdout=subprocess.PIPE, timeout=10, check=True).stdout
        for one in fleet.machines
    }
    here = subprocess.run(command, stdout=subprocess.PIPE, timeout=10, check=True).stdout
    assert len(devices | {here}) == len(fleet.machines) + 1
    assert len(mounts_at(fleet.mount)) == 1
