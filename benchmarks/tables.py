"""The Markdown tables of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from benchmarks.bars import BARS
from benchmarks.results import RAW, Results
from benchmarks.works import WORKS, Work

Titles = Mapping[str, str]
_MB = 1 << 20
_CLEARLY_FASTER = 1.05


def verdict_table(results: Results, contenders: Titles) -> list[str]:
    """Return a line for each bar and contender that it is asked of."""
    rows = []
    for bar in BARS:
        for key in bar.contenders:
            finding = bar.judge(results, key)
            if finding is not None:
                rows.append((bar.wanted, contenders[key], finding.figure, finding.verdict))
    return markdown_table(("asked", "of", "found", "verdict"), rows) if rows else []


def times_table(results: Results, works: Sequence[Work], contenders: Titles) -> list[str]:
    """Return medians in seconds, each with its multiple of the raw tree's."""
    shown = [key for key in contenders if any(_has(results, work, key) for work in works)]
    rows = []
    for work in works:
        for phase in results.times[work.key]:
            cells = []
            for key in shown:
                seconds, ratio = results.median_s(work.key, phase, key), results.ratio(work.key, phase, key)
                if seconds is None:
                    cells.append("-")
                else:
                    cells.append(show_seconds(seconds) + (f" ({ratio:.2f})" if ratio and key != RAW else ""))
            rows.append((f"{work.title}, {phase.value}", *cells))
    return markdown_table(("seconds (times raw)", *(contenders[key] for key in shown)), rows)


def cost_table(results: Results, works: Sequence[Work], contenders: Titles) -> list[str]:
    """Return what each row cost besides time: requests, processor time, growth of the page cache."""
    rows = []
    for work in works:
        for phase, row in results.times[work.key].items():
            for key in contenders:
                measured = row.get(key)
                if measured is None or (measured.cpu_s is None and key != RAW):
                    continue
                requests = ", ".join(f"{n:,} {name}" for name, n in sorted(measured.requests.items()))
                if not requests:
                    requests = {"bindfs": "not counted", RAW: ""}.get(key, "none")
                cached = f"{measured.cached_bytes / _MB:+.0f} MB" if work.site == "large" else ""
                cpu = [
                    "" if seconds is None else f"{seconds:.2f}" for seconds in (measured.cpu_s, measured.client_cpu_s)
                ]
                rows.append((f"{work.title}, {phase.value}", contenders[key], requests, *cpu, cached))
    header = ("work", "by", "requests to the daemon", "its CPU seconds", "the client's", "page cache")
    return markdown_table(header, rows)


def latency_table(results: Results, sites: Titles, contenders: Titles) -> list[str]:
    """Return median, p99 and maximum of each operation, during refreshes and between them."""
    rows = [
        (
            sites[site],
            contenders[key],
            f"{operation}, {'refreshing' if when == 'refresh' else 'idle'}",
            f"{latency.operations:,}",
            *(f"{seconds * 1e3:.3f}" for seconds in (latency.median_s, latency.p99_s, latency.max_s)),
        )
        for site, row in results.refreshes.items()
        for key, found in row.items()
        for when, by_operation in sorted(found.latency.items())
        for operation, latency in by_operation.items()
    ]
    return markdown_table(("world", "by", "operation", "asked", "median, ms", "p99, ms", "longest, ms"), rows)


def refresh_table(results: Results, sites: Titles, contenders: Titles) -> list[str]:
    """Return how long refreshes took and how soon a single change was seen."""
    rows = [
        (
            sites[site],
            contenders[key],
            f"{found.changes:,}",
            f"{median(found.refresh_s):.3f} s",
            f"{median(found.visible_s) * 1e3:.0f} ms",
            "" if found.cpu_s is None else f"{found.cpu_s:.2f}",
            ", ".join(f"{n:,} {name}" for name, n in sorted(found.requests.items())),
        )
        for site, row in results.refreshes.items()
        for key, found in row.items()
        if found.refresh_s and found.visible_s
    ]
    header = ("world", "by", "changes", "refresh", "one change seen after", "CPU seconds a turn", "requests meanwhile")
    return markdown_table(header, rows)


def memory_table(results: Results, sites: Titles, contenders: Titles) -> list[str]:
    """Return resident and proportional size of each daemon on each site."""
    last: dict[tuple[str, str], tuple[str, dict[str, int]]] = {}
    for site in sites:
        for key in contenders:
            largest = results.largest(site, key)
            if largest is not None:
                last[site, key] = (largest[0].title, largest[1])
    for site, refreshes in results.refreshes.items():
        for key, found in refreshes.items():
            if found.memory:
                last[site, key] = ("after the refreshes", found.memory)
    rows = [
        (sites[site], contenders[key], work, *(f"{memory[name] / _MB:.0f} MB" for name in ("rss", "pss")))
        for (site, key), (work, memory) in last.items()
    ]
    return markdown_table(("world", "by", "most, at", "resident", "proportional"), rows)


def choice_lines(results: Results, sites: Titles) -> list[str]:
    """Say how readyfs reads by itself on each site, and where the other way would have been faster."""
    lines = []
    for site, status in results.choices.items():
        reads = status["reads"]
        way = f"{status['engine']}, {reads}, {status['engine_loop']} loop"
        lines.append(f"- {sites[site]}: {way} ({status['reads_reason'].rstrip('.')}).")
        other = {"cached": "passthrough", "passthrough": "cached"}.get(reads)
        if other:
            better = list(_faster(results, site, other, reads))
            if better:
                lines.append(f"  The other way, {other}, is faster at: {'; '.join(better)}.")
            elif _compared(results, site, other, reads):
                lines.append(f"  The other way, {other}, is faster at nothing measured by more than 5 %.")
    return lines


def _faster(results: Results, site: str, one: str, other: str) -> Iterator[str]:
    for work in WORKS:
        if work.site == site:
            for phase in results.times.get(work.key, {}):
                ours, theirs = (results.median_s(work.key, phase, key) for key in (one, other))
                if ours and theirs and theirs / ours > _CLEARLY_FASTER:
                    yield f"{work.title}, {phase.value} ({theirs / ours:.1f} times)"


def _compared(results: Results, site: str, *keys: str) -> bool:
    return any(work.site == site and all(_has(results, work, key) for key in keys) for work in WORKS)


def _has(results: Results, work: Work, key: str) -> bool:
    return any(key in row for row in results.times.get(work.key, {}).values())


def show_seconds(seconds: float) -> str:
    """Return seconds with the digits that mean something."""
    return f"{seconds:.2f}" if seconds >= 10 else f"{seconds:.3f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table."""
    return [
        f"| {' | '.join(header)} |",
        f"|{'---|' * len(header)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
