"""A tree as a client sees it: where it begins and how its paths are made."""

from __future__ import annotations

import glob
import os
from dataclasses import asdict, dataclass

import orjson

PAYLOAD = "payload.jsonl"


@dataclass(frozen=True, slots=True)
class View:
    """One way to the world's files.

    `raw_layout`: paths are those of the raw store, with a directory for the run, else customer, query and date.
    `has_links`: partitions are symbolic links, which tools have to be told to follow.
    """

    top: str
    raw_layout: bool = True
    has_links: bool = False

    def payloads(self, query: str = "*", dates: str = "*") -> str:
        """Return the glob of the payloads of some queries and dates."""
        if self.raw_layout:
            return f"{self.top}/*/customer_id=*/query_name={query}/logical_date={dates}/run_id=*/{PAYLOAD}"
        return f"{self.top}/*/{query}/{dates}/{PAYLOAD}"

    def queries(self) -> list[str]:
        """Return the directories that hold one query's dates each."""
        return sorted(glob.glob(f"{self.top}/*/*/*" if self.raw_layout else f"{self.top}/*/*"))

    def files_by_size(self) -> list[str]:
        """Return all payloads, the largest first; their names are looked up by that."""
        return sorted(glob.glob(self.payloads()), key=lambda path: (-os.path.getsize(path), path))

    def as_argument(self) -> str:
        """Return the view as one word of a command line."""
        return orjson.dumps(asdict(self)).decode()


def parse_view(argument: str) -> View:
    """Return what `View.as_argument` wrote."""
    return View(**orjson.loads(argument))
