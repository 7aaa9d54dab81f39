"""What was measured, as JSON and as the Markdown section of `docs/performance.md`."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.measure import Results, can_drop_caches

BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the benchmark."""

    command: str
    partitions: int
    large_mb: int
    rounds: int
    results: Results

    def as_json(self) -> bytes:
        """Return everything that was measured."""
        document: dict[str, Any] = {
            "command": self.command,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": _machine(),
            "caches_dropped": can_drop_caches(),
            "partitions": self.partitions,
            "large_mb": self.large_mb,
            "rounds": self.rounds,
            "work": {
                title: {
                    name: {"median_s": result.median, "seconds": result.seconds, "requests": result.requests}
                    for name, result in row.items()
                }
                for title, row in self.results.items()
            },
        }
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def as_markdown(self) -> str:
        """Return the section: how it was measured, the table, and the two comparisons that matter most."""
        names = list(next(iter(self.results.values())))
        lines = [
            f"Measured on {datetime.now(UTC).date().isoformat()} by `{self.command}`, median of {self.rounds} rounds, "
            f"in seconds. Machine: {_machine()}. {self.partitions:,} partitions of two small files; one file of "
            f'{self.large_mb} MB. Before each "first" everything was mounted anew'
            + (" and the kernel's caches were dropped." if can_drop_caches() else "; caches could not be dropped."),
            "",
            f"| work | {' | '.join(names)} | requests to readyfs |",
            f"|---|{'---:|' * len(names)}---|",
        ]
        for title, row in self.results.items():
            cells = " | ".join(f"{row[name].median:.3f}" if name in row else "-" for name in names)
            requests = ", ".join(
                f"{count:,} {operation}" for operation, count in sorted(row["readyfs"].requests.items())
            )
            lines.append(f"| {title} | {cells} | {requests or 'none'} |")
        walk, again = self.results["walk and stat, first"], self.results["read the large file, again"]
        lines += [
            "",
            f"First walk and stat: {walk['bindfs -r'].median / walk['readyfs'].median:.1f} times as fast as through "
            "`bindfs -r`. Reading the large file again: "
            f"{again['raw tree'].median / again['readyfs'].median:.2f} of the raw tree's speed.",
        ]
        return "\n".join(lines)


def record(report: Report, path: Path) -> None:
    """Put the section between its marks in a Markdown file, and the figures beside it as JSON."""
    text = path.read_text("utf-8")
    before, found_begin, rest = text.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found_begin or not found_end:
        raise ValueError(f"{path} has no section between {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{report.as_markdown()}\n{END}{after}", "utf-8")
    path.with_suffix(".json").write_bytes(report.as_json())


def _machine() -> str:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory_gb:.0f} GB of memory, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )
