"""Horizontal bar charts as SVG, on a logarithmic scale, legible on light and dark pages.

The picture brings its own background and takes the colours of the reader's scheme, so that text is never dark on dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 900
_LABEL: Final = 250
_RIGHT: Final = 70
_BAR: Final = 11
_GAP: Final = 12
_TOP: Final = 66
_LEGEND_STEP: Final = 20

# After Okabe and Ito, told apart by colour-blind readers too; the last is a lighter relative of the one before.
COLOURS: Final = ("#999999", "#56b4e9", "#b0a04a", "#e69f00", "#cc79a7", "#d55e00", "#0072b2", "#009e73", "#66c2a5")

STYLE: Final = """
  .page { fill: #ffffff } .text { fill: #24292f } .faint { fill: #57606a } .line { stroke: #d0d7de }
  .one { stroke: #24292f; stroke-dasharray: 3 3 }
  text { font: 12px system-ui, sans-serif } .title { font-size: 15px; font-weight: 600 } .small { font-size: 10px }
  @media (prefers-color-scheme: dark) {
    .page { fill: #161b22 } .text { fill: #e6edf3 } .faint { fill: #9da7b3 } .line { stroke: #30363d }
    .one { stroke: #e6edf3 }
  }
"""


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars in groups: `groups` has a label and the values by series; `series` says which, in order, and their colours.

    `mark` is a value that has a line of its own, and its name.
    """

    title: str
    unit: str
    series: dict[str, str]
    groups: Sequence[tuple[str, dict[str, float]]]
    mark: tuple[float, str] | None = None

    def as_svg(self) -> str:
        """Return the picture."""
        values = [value for _, row in self.groups for value in row.values() if value > 0]
        if self.mark:
            values.append(self.mark[0])
        low, high = decades(values or [1.0])
        legend_columns = 4
        top = _TOP + _LEGEND_STEP * (-(-len(self.series) // legend_columns) - 1)
        heights = [len([name for name in self.series if name in row]) * _BAR + _GAP for _, row in self.groups]
        height = top + sum(heights) + 34

        def x_of(value: float) -> float:
            share = (math.log10(max(value, low)) - math.log10(low)) / (math.log10(high) - math.log10(low))
            return _LABEL + share * (WIDTH - _LABEL - _RIGHT)

        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img"><title>{escape(self.title)}</title><style>{STYLE}</style>',
            f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
            f'<text class="text title" x="14" y="24">{escape(self.title)}</text>',
            *self._legend(legend_columns),
            *_axis(low, high, top, height, x_of, self.unit),
        ]
        if self.mark:
            x = x_of(self.mark[0])
            parts.append(f'<line class="one" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{height - 28}"/>')
            parts.append(f'<text class="text small" x="{x + 3:.1f}" y="{height - 20}">{escape(self.mark[1])}</text>')
        y = top
        for (label, row), group_height in zip(self.groups, heights, strict=True):
            middle = y + (group_height - _GAP) / 2 + 4
            parts.append(
                f'<text class="text" x="{_LABEL - 8}" y="{middle:.1f}" text-anchor="end">{escape(label)}</text>'
            )
            bar = y
            for name, colour in self.series.items():
                if name not in row:
                    continue
                x = x_of(row[name])
                parts.append(
                    f'<rect x="{_LABEL}" y="{bar}" width="{max(x - _LABEL, 1):.1f}" height="{_BAR - 1}" '
                    f'fill="{colour}">'
                    f"<title>{escape(name)}: {show_number(row[name])} {escape(self.unit)}</title></rect>"
                    f'<text class="faint small" x="{x + 4:.1f}" y="{bar + 9}">{show_number(row[name])}</text>'
                )
                bar += _BAR
            y += group_height
        return "\n".join([*parts, "</svg>", ""])

    def _legend(self, columns: int) -> list[str]:
        step = (WIDTH - 28) // columns
        parts = []
        for number, (name, colour) in enumerate(self.series.items()):
            x, y = 14 + number % columns * step, 36 + number // columns * _LEGEND_STEP
            parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" rx="2" fill="{colour}"/>')
            parts.append(f'<text class="text" x="{x + 17}" y="{y + 10}">{escape(name)}</text>')
        return parts


def _axis(low: float, high: float, top: float, height: float, x_of: Callable[[float], float], unit: str) -> list[str]:
    parts = []
    decade = low
    while decade <= high * 1.001:
        x = x_of(decade)
        parts.append(f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{height - 28}"/>')
        parts.append(
            f'<text class="faint small" x="{x:.1f}" y="{height - 8}" text-anchor="middle">'
            f"{show_number(decade)} {escape(unit)}</text>"
        )
        decade *= 10
    return parts


def decades(values: Sequence[float]) -> tuple[float, float]:
    """Return the powers of ten around some values, which are above zero."""
    low = 10.0 ** math.floor(math.log10(min(values)))
    high = 10.0 ** math.ceil(math.log10(max(values)))
    return low, max(high, low * 10)


def show_number(value: float) -> str:
    """Return a number with the digits that mean something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
