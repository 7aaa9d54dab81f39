"""All that a page says of the dates of its series, told by its own script in a browser."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any, Final

from tests.page.browser import Connection
from tests.page.script import evaluate
from tests.page.tab import open_tab

Told = tuple[dict[str, Any], list[dict[str, Any]]]
"""The head of a page, and all that it says of each series."""

_ASK: Final = """
    const show = (value) => JSON.stringify(value, (_, one) => (
      typeof one === "bigint" ? `bigint ${one}` : one instanceof Uint8Array ? Array.from(one) : one
    ));
    return readCoverage({ textContent: asked }).then((coverage) => {
      const { head, cells, first, last, count } = coverage;
      const lines = [show({ head, cells, first, last, count })];
      for (let i = 0; i < count; i++) {
        const series = coverage.series(i);
        const details = [];
        for (let day = series.first - 1; day <= series.first + series.codes.length; day++) {
          details.push({ day, ...coverage.detail(i, day) });
        }
        lines.push(show({ series, details }));
      }
      return lines;
    });
"""


def read_page(browser: Connection, page: Path) -> Told:
    """Return what a page says."""
    packed = re.search(r'id="coverage">([^<]*)<', page.read_text("utf-8"))
    assert packed is not None
    with open_tab(browser) as tab:
        head, *series = map(json.loads, evaluate(tab, ("calendar.js", "columns.js", "block.js"), _ASK, packed[1]))
    return head, series


def iso(day: int) -> str:
    """Return a day as YYYY-MM-DD."""
    return (datetime.date(1970, 1, 1) + datetime.timedelta(day)).isoformat()
