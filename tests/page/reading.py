"""What a page says of each of its dates, told by its own reader of the data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from tests.page.script import evaluate
from tests.page.tab import Tab

Told = tuple[dict[str, Any], list[dict[str, Any]]]
"""The head of a page, and all that it says of each series."""

_DATA: Final = re.compile(r'id="coverage">([^<]*)<')
_TELL: Final = """
const show = (value) => JSON.stringify(value, (_, one) => {
  if (typeof one === "bigint") return `bigint ${one}`;
  return one instanceof Uint8Array ? Array.from(one) : one;
});
return readCoverage({ textContent: asked }).then((coverage) => {
  const { head, cells, first, last, count } = coverage;
  const all = Array.from({ length: count }, (_, index) => {
    const series = coverage.series(index);
    const details = [];
    for (let day = series.first - 1; day <= series.first + series.codes.length; day++) {
      details.push({ day, ...coverage.detail(index, day) });
    }
    return { series, details };
  });
  return show([{ head, cells, first, last, count }, all]);
});
"""


def packed_data(page: Path) -> str:
    """Return the data of a page as it stands there."""
    [packed] = _DATA.findall(page.read_text("utf-8"))
    assert isinstance(packed, str)
    return packed


def read_page(tab: Tab, page: Path) -> Told:
    """Return what a page says, told in a tab that need not show it."""
    head, series = json.loads(evaluate(tab, ("block.js",), _TELL, packed_data(page)))
    return head, series
