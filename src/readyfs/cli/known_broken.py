"""The runs that a mount knows to be broken, asked for over its public socket."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from readyfs.control.broken_request import parse_parts
from readyfs.control.public_client import PublicClient
from readyfs.partition import Partition, render_date
from readyfs.text import escape_text


def ask_for_broken(client: PublicClient) -> Callable[[Sequence[Partition]], list[str]]:
    """Return what tells of partitions why their runs are broken, as far as the mount knows; raise as `PublicClient`."""
    known = {
        (*parse_parts(str(one.get("key"))), *parse_parts(str(one.get("run_id")))): escape_text(str(one.get("detail")))
        for one in client.broken()
    }

    def find(partitions: Sequence[Partition]) -> list[str]:
        return [known.get((*one.key.series, render_date(one.key.date), one.run_id), "") for one in partitions]

    return find
