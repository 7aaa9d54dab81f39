"""Cost against size as SVG: panels side by side, both scales logarithmic, so that what is linear is a straight rise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from benchmarks.plot import STYLE, WIDTH, decades, show_number

COLUMNS: Final = 3
_TOP: Final = 66
_LEFT: Final = 58
_RIGHT: Final = 14
_PLOT_HEIGHT: Final = 150
_HEAD: Final = 26
_FOOT: Final = 38
_RADIUS: Final = 3

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One thing that was measured: points of size and cost by series; `mark` is a cost that has a line of its own."""

    title: str
    unit: str
    curves: Mapping[str, Points]
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class Curves:
    """Panels under one title; `series` are the names in their order, with their colours."""

    title: str
    series: Mapping[str, str]
    panels: Sequence[Panel]

    def as_svg(self) -> str:
        """Return the picture; values that are not above zero have no place in it."""
        rows = -(-len(self.panels) // COLUMNS)
        panel_height = _HEAD + _PLOT_HEIGHT + _FOOT
        height = _TOP + rows * panel_height
        step = WIDTH / COLUMNS
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img"><title>{escape(self.title)}</title><style>{STYLE}</style>',
            f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
            f'<text class="text title" x="14" y="24">{escape(self.title)}</text>',
        ]
        for number, (name, colour) in enumerate(self.series.items()):
            x = 14 + number * (WIDTH - 28) // max(len(self.series), 4)
            parts.append(f'<rect x="{x}" y="36" width="12" height="12" rx="2" fill="{colour}"/>')
            parts.append(f'<text class="text" x="{x + 17}" y="46">{escape(name)}</text>')
        for number, panel in enumerate(self.panels):
            row, column = divmod(number, COLUMNS)
            parts += self._panel(panel, column * step + _LEFT, _TOP + row * panel_height + _HEAD, step - _LEFT - _RIGHT)
        return "\n".join([*parts, "</svg>", ""])

    def _panel(self, panel: Panel, left: float, top: float, width: float) -> list[str]:
        points = [point for curve in panel.curves.values() for point in curve if point[0] > 0 and point[1] > 0]
        marks = [panel.mark] if panel.mark else []
        low_x, high_x = decades([x for x, _ in points] or [1.0])
        low_y, high_y = decades([y for _, y in points] + marks or [1.0])
        bottom = top + _PLOT_HEIGHT

        def at(x: float, y: float) -> tuple[float, float]:
            return left + width * _share(x, low_x, high_x), bottom - _PLOT_HEIGHT * _share(y, low_y, high_y)

        parts = [f'<text class="text" x="{left - 44}" y="{top - 10}">{escape(panel.title)}</text>']
        for decade in _powers(low_x, high_x):
            x, _ = at(decade, low_y)
            parts.append(f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
            parts.append(
                f'<text class="faint small" x="{x:.1f}" y="{bottom + 13}" text-anchor="middle">{_size(decade)}</text>'
            )
        for decade in _powers(low_y, high_y):
            _, y = at(low_x, decade)
            label = f"{show_number(decade)} {escape(panel.unit)}".rstrip()
            parts.append(f'<line class="line" x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="faint small" x="{left - 4}" y="{y + 3:.1f}" text-anchor="end">{label}</text>')
        if panel.mark:
            _, y = at(low_x, panel.mark)
            parts.append(f'<line class="one" x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        for name, colour in self.series.items():
            shown = [(x, y) for x, y in panel.curves.get(name, ()) if x > 0 and y > 0]
            places = [at(x, y) for x, y in shown]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
            for (size, cost), (x, y) in zip(shown, places, strict=True):
                said = f"{name}, {size:,.0f}: {show_number(cost)} {panel.unit}".rstrip()
                parts.append(
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}" fill="{colour}">'
                    f"<title>{escape(said)}</title></circle>"
                )
        return parts


def _share(value: float, low: float, high: float) -> float:
    return math.log(value / low) / math.log(high / low)


def _powers(low: float, high: float) -> list[float]:
    return [low * 10**number for number in range(round(math.log10(high / low)) + 1)]


def _size(value: float) -> str:
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.0f}{name}"
    return show_number(value)
