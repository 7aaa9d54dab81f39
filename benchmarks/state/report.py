"""What was measured of the state, as JSON, as plots, and as the Markdown section of `docs/performance-state.md`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import orjson

from benchmarks.curves import Curves, Panel
from benchmarks.machine import render_machine
from benchmarks.plot import COLOURS
from benchmarks.state.bars import limit_of, verdicts
from benchmarks.state.results import METRICS, THEMES, Metric, StateResults
from benchmarks.state.stores import TITLES
from benchmarks.tables import markdown_table

_BESIDE: Final = ("", "of", "size", "other", "this", "this / other", "of a round")
_LINEAR: Final = 0.8
_CONSTANT: Final = 0.2
_COLOURS: Final = dict(zip(TITLES, (COLOURS[5], COLOURS[3], COLOURS[6]), strict=True))


@dataclass(slots=True)
class StateReport:
    """One run of the benchmark, as far as it has come."""

    command: str
    made_on: date
    machine: dict[str, object]
    rounds: int
    is_quick: bool
    elapsed_s: float
    results: StateResults
    other: StateResults | None = None
    """What was measured of another build in the same rounds."""

    def as_json(self) -> bytes:
        """Return everything that was measured, in base units."""
        results = self.results
        document: dict[str, object] = {
            "command": self.command,
            "date": self.made_on.isoformat(),
            "machine": self.machine,
            "rounds": self.rounds,
            "quick": self.is_quick,
            "elapsed_s": round(self.elapsed_s),
            "missing": results.missing,
            "failures": results.failures,
            "figures": _figures(results),
            **({} if self.other is None else {"other": _figures(self.other)}),
            "bars": [
                {"wanted": bar.wanted, "store": store, "met": finding.is_met, "found": finding.figure}
                for bar, store, finding in verdicts(results)
            ],
        }
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def as_markdown(self, plots: Mapping[str, str]) -> str:
        """Return the section; `plots` maps themes to the paths of their pictures."""
        return "\n".join(self._lines(plots))

    def plots(self) -> dict[str, str]:
        """Return the pictures by theme."""
        series = {TITLES[store]: colour for store, colour in _COLOURS.items()}
        made = {}
        for theme, title in THEMES.items():
            panels = [panel for metric in self._metrics(theme) if (panel := self._panel(metric)) is not None]
            if panels:
                made[theme] = Curves(f"{title}, by size", series, panels).as_svg()
        return made

    def _lines(self, plots: Mapping[str, str]) -> Iterator[str]:
        stores = [f"{title} {self.machine[key]}" for key, title in _PROGRAMS.items() if key in self.machine]
        yield (
            f"Measured on {self.made_on.isoformat()} by `{self.command}` in {max(1, round(self.elapsed_s / 60))} min, "
            f"medians of {self.rounds} rounds. Machine: {render_machine(self.machine)}, {', '.join(stores)}."
        )
        if self.is_quick:
            yield from ("", "The quick form shows that everything runs. Its figures mean nothing.")
        judged = [
            (bar.wanted, TITLES[store], finding.figure, finding.verdict)
            for bar, store, finding in verdicts(self.results)
        ]
        if judged:
            yield from ("", "### What is asked, and what was found", "")
            yield from markdown_table(("asked", "of", "found", "verdict"), judged)
        if self.other is not None:
            yield from ("", "### Beside the other build", "")
            yield from markdown_table(
                ("", "of", "size", "other", "this", "this / other", "of a round"), list(self._beside())
            )
        for theme, title in THEMES.items():
            metrics = self._metrics(theme)
            if metrics:
                yield from ("", f"### {title}", "")
                if theme in plots:
                    yield from (f"![{title}]({plots[theme]})", "")
                yield from self._table(metrics)
        growth = list(self._growth())
        if growth:
            yield from ("", "### How each grows", "")
            yield from markdown_table(("", "of", "sizes", "grows", "shape", "each million more"), growth)
        missing = [f"- {name}: {reason}." for name, reason in self.results.missing.items()]
        missing += [f"- Failed: {failure}." for failure in self.results.failures]
        if missing:
            yield from ("", "### Not measured", "", *missing)

    def _metrics(self, theme: str) -> list[Metric]:
        return [metric for metric in METRICS if metric.theme == theme and self.results.sizes(metric.key)]

    def _table(self, metrics: list[Metric]) -> list[str]:
        stores = [store for store in TITLES if any(store in self.results.figures[metric.key] for metric in metrics)]
        rows = [
            (
                f"{metric.title}{f', {metric.unit}' if metric.unit else ''}",
                f"{size:,}",
                *(self._cell(metric, store, size) for store in stores),
            )
            for metric in metrics
            for size in self.results.sizes(metric.key)
        ]
        return markdown_table(("", "size", *(TITLES[store] for store in stores)), rows)

    def _cell(self, metric: Metric, store: str, size: int) -> str:
        """Return what counts of the rounds, and their spread where there is one."""
        value, rounds = self.results.value(metric.key, store, size), self.results.rounds(metric.key, store, size)
        if value is None:
            return "-"
        shown = _show(value / metric.scale)
        low, high = _show(min(rounds) / metric.scale), _show(max(rounds) / metric.scale)
        return shown if low == high else f"{shown} ({low} to {high})"

    def _beside(self) -> Iterator[tuple[str, ...]]:
        """Compare both builds: what counts of all rounds, and the lowest and highest ratio of one."""
        assert self.other is not None
        for metric in METRICS:
            for size in self.results.sizes(metric.key):
                for store in TITLES:
                    value = self.results.value(metric.key, store, size)
                    other = self.other.value(metric.key, store, size)
                    if value is None or not other:
                        continue
                    rounds = (one.rounds(metric.key, store, size) for one in (self.results, self.other))
                    ratios = [this / that for this, that in zip(*rounds, strict=False) if that]
                    yield (
                        f"{THEMES[metric.theme]}: {metric.title}{f', {metric.unit}' if metric.unit else ''}",
                        *(TITLES[store], f"{size:,}", _show(other / metric.scale), _show(value / metric.scale)),
                        *(f"{value / other:.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "-"),
                    )

    def _growth(self) -> Iterator[tuple[str, ...]]:
        """Compare the two largest sizes: the exponent of the growth between them, and its slope."""
        for metric in METRICS:
            if metric.is_worst or metric.theme == "lookups":
                continue
            for store, points in self.results.curves(metric.key):
                if len(points) < 2 or points[-2][1] <= 0 or points[-1][1] <= 0:
                    continue
                (size, cost), (larger, dearer) = points[-2:]
                exponent = math.log(dearer / cost) / math.log(larger / size)
                slope = (dearer - cost) / (larger - size) * 1e6 / metric.scale
                yield (
                    f"{THEMES[metric.theme]}: {metric.title}",
                    TITLES[store],
                    f"{size:,} to {larger:,}",
                    f"{dearer / cost:.2f} times",
                    _shape(exponent),
                    f"{_show(slope)} {metric.unit}".rstrip(),
                )

    def _panel(self, metric: Metric) -> Panel | None:
        curves = {
            TITLES[store]: [(size, value / metric.scale) for size, value in points]
            for store, points in self.results.curves(metric.key)
        }
        if not any(value > 0 for points in curves.values() for _, value in points):
            return None
        limit = limit_of(metric.key)
        return Panel(metric.title, metric.unit, curves, None if limit is None else limit / metric.scale)


def _figures(results: StateResults) -> dict[str, object]:
    return {
        metric: {
            store: {
                str(size): {"value": results.value(metric, store, size), "rounds": rounds}
                for size, rounds in by_size.items()
            }
            for store, by_size in by_store.items()
        }
        for metric, by_store in results.figures.items()
    }


_PROGRAMS: Final = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def _shape(exponent: float) -> str:
    if exponent < _CONSTANT:
        return "constant"
    return "linear" if exponent > _LINEAR else f"between (size to the power of {exponent:.1f})"


def _show(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
