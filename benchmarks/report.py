"""What was measured, as JSON, as plots, and as the Markdown section of `docs/performance.md`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from benchmarks.bars import BARS
from benchmarks.machine import render_machine
from benchmarks.plot import COLOURS, Chart
from benchmarks.results import RAW, Measured, Results
from benchmarks.tables import (
    choice_lines,
    cost_table,
    latency_table,
    memory_table,
    refresh_table,
    times_table,
    verdict_table,
)
from benchmarks.works import THEMES, WORKS, Work

BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the benchmark. `contenders` and `sites` are titles by key."""

    command: str
    made_on: date
    machine: dict[str, object]
    contenders: dict[str, str]
    sites: dict[str, str]
    rounds: int
    is_quick: bool
    elapsed_s: float
    results: Results

    def as_json(self) -> bytes:
        """Return everything that was measured."""
        results = self.results
        document: dict[str, Any] = {
            "command": self.command,
            "date": self.made_on.isoformat(),
            "machine": self.machine,
            "sites": self.sites,
            "contenders": self.contenders,
            "rounds": self.rounds,
            "quick": self.is_quick,
            "elapsed_s": round(self.elapsed_s),
            "missing": results.missing,
            "failures": results.failures,
            "times": {
                work: {
                    phase.value: {key: self._figures(measured, row) for key, measured in row.items()}
                    for phase, row in phases.items()
                }
                for work, phases in results.times.items()
            },
            "refreshes": {
                site: {key: asdict(found) for key, found in row.items()} for site, row in results.refreshes.items()
            },
            "auto": results.choices,
            "bars": [
                {"wanted": bar.wanted, "contender": key, "met": finding.is_met, "found": finding.figure}
                for bar in BARS
                for key in bar.contenders
                if (finding := bar.judge(results, key)) is not None
            ],
        }
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def as_markdown(self, plots: Mapping[str, str]) -> str:
        """Return the section; `plots` maps themes to the paths of their pictures."""
        return "\n".join(self._lines(plots))

    def plots(self) -> dict[str, str]:
        """Return the pictures by theme."""
        colours = dict(zip(self.contenders.values(), COLOURS, strict=False))
        made = {}
        for theme, title in THEMES.items():
            groups = self._ratios(theme)
            if groups:
                series = {name: colour for name, colour in colours.items() if name != self.contenders.get(RAW)}
                chart = Chart(f"{title}: time as a multiple of the raw tree's", "", series, groups, (1.0, "raw tree"))
                made[theme] = chart.as_svg()
        groups = self._latencies()
        if groups:
            made["refresh"] = Chart(
                "While 1 % of the names change: the slowest of 100 answers (p99)", "ms", colours, groups, (10.0, "bar")
            ).as_svg()
        return made

    def _lines(self, plots: Mapping[str, str]) -> Iterator[str]:
        results = self.results
        yield (
            f"Measured on {self.made_on.isoformat()} by `{self.command}` in {max(1, round(self.elapsed_s / 60))} min, "
            f"medians of at most {self.rounds} rounds. Machine: {render_machine(self.machine)}. "
            f"Worlds: {'; '.join(self.sites.values())}."
        )
        if self.is_quick:
            yield from ("", "The quick form shows that everything runs. Its figures and verdicts mean nothing.")
        verdicts = verdict_table(results, self.contenders)
        if verdicts:
            yield from ("", "### What is asked, and what was found", "", *verdicts)
        for theme, title in THEMES.items():
            works = [work for work in WORKS if work.theme == theme and results.times.get(work.key)]
            if works:
                yield from ("", f"### {title}", *_picture(title, plots.get(theme)), "")
                yield from times_table(results, works, self.contenders)
                yield from ("", *cost_table(results, works, self.contenders))
        if results.refreshes:
            yield from ("", "### While the state changes", *_picture("Latency", plots.get("refresh")), "")
            yield from latency_table(results, self.sites, self.contenders)
            yield from ("", *refresh_table(results, self.sites, self.contenders))
        yield from ("", "### Memory of the daemon", "", *memory_table(results, self.sites, self.contenders))
        choices = choice_lines(results, self.sites)
        if choices:
            yield from ("", "### What `auto` chooses", "", *choices)
        missing = [f"- {name}: {reason}." for name, reason in results.missing.items()]
        missing += [f"- Failed: {failure}." for failure in results.failures]
        if missing:
            yield from ("", "### Not measured", "", *missing)

    def _figures(self, measured: Measured, row: Mapping[str, Measured]) -> dict[str, object]:
        raw = row.get(RAW)
        ratio = measured.median_s / raw.median_s if raw and raw.seconds else None
        return {"median_s": measured.median_s, "ratio": ratio, "cpu_s": measured.cpu_s, **asdict(measured)}

    def _ratios(self, theme: str) -> list[tuple[str, dict[str, float]]]:
        groups = []
        for work, phase in _rows(self.results, [work for work in WORKS if work.theme == theme]):
            row = {
                title: ratio
                for key, title in self.contenders.items()
                if key != RAW and (ratio := self.results.ratio(work.key, phase, key))
            }
            if row:
                groups.append((f"{work.title}, {phase.value}", row))
        return groups

    def _latencies(self) -> list[tuple[str, dict[str, float]]]:
        groups: dict[str, dict[str, float]] = {}
        for site, row in self.results.refreshes.items():
            for key, found in row.items():
                for operation, latency in found.latency.get("refresh", {}).items():
                    label = f"{operation}, {self.sites[site].split(' in ')[0]}"
                    groups.setdefault(label, {})[self.contenders[key]] = latency.p99_s * 1e3
        return list(groups.items())


class Recordable(Protocol):
    """What can be recorded: figures, pictures by theme, and the section that shows them."""

    def as_json(self) -> bytes:
        """Return everything that was measured."""
        ...

    def as_markdown(self, plots: Mapping[str, str]) -> str:
        """Return the section; `plots` maps themes to the paths of their pictures."""
        ...

    def plots(self) -> dict[str, str]:
        """Return the pictures by theme."""
        ...


def record(report: Recordable, path: Path) -> None:
    """Put the section between its marks in a Markdown file, and figures and plots beside it.

    Raises `ValueError` if the file has no such section.
    """
    text = path.read_text("utf-8")
    before, found_begin, rest = text.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found_begin or not found_end:
        raise ValueError(f"{path} has no section between {BEGIN} and {END}")
    directory = path.with_suffix("")
    directory.mkdir(exist_ok=True)
    for old in directory.glob("*.svg"):
        old.unlink()
    links = {}
    for theme, picture in report.plots().items():
        (directory / f"{theme}.svg").write_text(picture, "utf-8")
        links[theme] = f"{directory.name}/{theme}.svg"
    path.write_text(f"{before}{BEGIN}\n{report.as_markdown(links)}\n{END}{after}", "utf-8")
    path.with_suffix(".json").write_bytes(report.as_json())


def _picture(title: str, path: str | None) -> Sequence[str]:
    return ("", f"![{title}]({path})") if path else ()


def _rows(results: Results, works: Sequence[Work]) -> Iterator[tuple[Work, Any]]:
    for work in works:
        for phase in results.times.get(work.key, {}):
            yield work, phase
