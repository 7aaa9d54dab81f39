"""What happens in a Dagster deployment, and what the views of docs/schedulers/dagster.md must say of it each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, Protocol

import pytest

from readyfs.cli.main import main

RUN: Final = "2024-06-02T04:05:06.789Z"
States = dict[str, tuple[str, str | None]]
"""Status and run of each partition."""


class Deployment(Protocol):
    """What is done with an asset of two dimensions; each run has an id of its own."""

    def materialize(self, partition: str, version: str) -> str:
        """Run the asset for a partition; return the id of the run."""

    def materialize_range(self, partitions: list[str], version: str) -> str:
        """Run the asset once for all dates of a customer from the first to the last; return the id of the run."""

    def fail(self, partition: str) -> str:
        """Run the asset for a partition, in vain; return the id of the run."""

    def report(self, partition: str, version: str | None) -> None:
        """Report a materialization that no run of Dagster made."""

    def wipe(self) -> None:
        """Wipe the asset."""

    def delete(self, run: str) -> None:
        """Delete a run."""


def tell(deployment: Deployment, look: Callable[[], States]) -> None:
    """Have all of it happen, and compare what is there after each step."""
    first = deployment.materialize("0012|2024-06-01", RUN)
    deployment.report("a|b|2024-06-01", "r1")
    there: States = {"0012|2024-06-01": ("ready", RUN), "a|b|2024-06-01": ("ready", "r1")}
    assert look() == there

    second = deployment.materialize("0012|2024-06-01", "r2")
    assert look() == {**there, "0012|2024-06-01": ("ready", "r2")}
    deployment.fail("0012|2024-06-01")
    assert look() == {**there, "0012|2024-06-01": ("ready", "r2")}  # the one of before
    deployment.delete(second)
    assert look() == there  # back in time

    deployment.fail("0012|2024-06-02")
    deployment.materialize_range(["0012|2024-06-03", "0012|2024-06-04", "0012|2024-06-05"], "r3")
    there = {
        **there,
        "0012|2024-06-02": ("failed", None),
        **{f"0012|2024-06-0{day}": ("ready", "r3") for day in (3, 4, 5)},
    }
    assert look() == there
    deployment.delete(first)
    del there["0012|2024-06-01"]
    # That a later attempt failed is what is left of it.
    assert look() == {**there, "0012|2024-06-01": ("failed", None)}

    deployment.report("0012|2024-06-02", "r4")
    deployment.report("0012|2024-06-03", None)
    assert look() == {
        **there,
        "0012|2024-06-01": ("failed", None),
        "0012|2024-06-02": ("ready", "r4"),
        "0012|2024-06-03": ("withheld", None),
    }
    deployment.report("0012|2024-06-03", "r5")
    deployment.wipe()
    assert look() == {}
    # On SQLite the first event after a wipe may have the number, and the tags, of a wiped one.
    deployment.report("0012|2024-06-06", None)
    assert look() == {"0012|2024-06-06": ("withheld", None)}
    deployment.materialize("0012|2024-06-01", "r6")
    assert look() == {"0012|2024-06-06": ("withheld", None), "0012|2024-06-01": ("ready", "r6")}


def list_partitions(capture: pytest.CaptureFixture[str], *state: str) -> States:
    """Return what `readyfs ls` says of the view."""
    capture.readouterr()
    code = main(["ls", "--json", "--state-table", "readyfs_partitions", *state])
    output, errors = capture.readouterr()
    assert code == 0, errors
    rows = [json.loads(line) for line in output.splitlines()]
    assert {(row["source"], row["query_name"]) for row in rows} <= {("google_ads", "campaign_daily")}
    found = {f"{row['customer_id']}|{row['logical_date']}": (row["status"], row["run_id"]) for row in rows}
    assert len(found) == len(rows)
    return found
