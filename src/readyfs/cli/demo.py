"""`readyfs demo`: a sample world and a tour of it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.errors import ExitCode, UsageError


@click.command(cls=ReadyfsCommand)
@click.argument("directory", metavar="[DIR]", required=False)
@click.option("--mount/--no-mount", default=True, help="Only write the sample world with --no-mount.")
@click.option(
    "--wait/--no-wait",
    default=None,
    help="Stay mounted after the tour until Ctrl-C, or do not.  [default: wait on a terminal]",
)
@click.option("--customers", type=click.IntRange(1, 10_000), default=5, show_default=True, help="Customers to make up.")
@click.option("--queries", type=click.IntRange(1, 1000), default=4, show_default=True, help="Queries of each customer.")
@click.option("--days", type=click.IntRange(1, 10_000), default=90, show_default=True, help="Logical dates of each.")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed makes the same world.")
def demo(
    directory: str | None, mount: bool, wait: bool | None, customers: int, queries: int, days: int, seed: int
) -> ExitCode:
    """Make a believable world of customers, queries and dates in DIR, mount it, and take a tour of what readyfs does.

    Without DIR the world is temporary: it goes when the demo ends. The tour shows each command as you would type it,
    and its real output.
    """
    from readyfs.demo.tour import run_demo
    from readyfs.demo.world import WorldSpec

    spec = WorldSpec(customers=customers, queries=queries, days=days, seed=seed)
    if directory == "":
        raise UsageError("DIR is empty", "name a directory, or leave it out for a temporary one")
    if wait and not mount:
        raise UsageError("--no-mount leaves nothing to wait for", "leave out --wait or --no-mount")
    stay = sys.stdin.isatty() and sys.stdout.isatty() if wait is None else wait
    return run_demo(None if directory is None else Path(directory), spec, mount=mount, wait=stay)
