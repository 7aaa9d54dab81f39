"""What a page of a small state is, as text that people can compare: what its data says of each date, and its markup.

`python -m tests.page.gold` writes both anew. Of the markup those lines are kept that are not in every page. Scripts,
styles and deflated bytes are left out: these change for reasons of their own.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Final

from tests.page.browser import Connection, running_browser
from tests.page.program import ask
from tests.page.script import ASSETS
from tests.page.states import AGREEMENT, KNOWN, Cells, write_state
from tests.page.told import read_page

GOLD: Final = Path(__file__).with_name("gold")
_LEFT_OUT: Final = (
    (r"(<script[^>]*>).*?(</script>)", r"\1\2"),
    (r"(<style>).*?(</style>)", r"\1\2"),
    (r"'sha256-[^']*'", "'sha256-'"),
)
_ROWS: Final[tuple[Cells, ...]] = (
    (
        "ads",
        "c1",
        "q1",
        "2024-06-09",
        "success",
        "2024-06-10T05:00:00.125Z",
        "v3",
        1234,
        "2024-06-10T05:02:00Z",
        None,
        1,
    ),
    ("ads", "c1", "q1", "2024-06-10", "success", "2024-06-11T05:00:00.250Z", "v3", 1, "2024-06-11T05:02:00Z", None, 1),
    ("ads", "c1", "q1", "2024-06-11", "failed", None, "v3", None, "2024-06-12T05:02:00Z", "no <quota>", 3),
    (
        "ads",
        "c1",
        "q1",
        "2024-06-12",
        "pending",
        "2024-06-13T05:00:00.000Z",
        "v3",
        None,
        "2024-06-13T05:02:00Z",
        None,
        2,
    ),
    ("ads", "c1", "q1", "2024-06-13", "pending", None, "v3", None, None, None, 0),
    ("ads", "c/2", "q1", "2024-06-05", "success", "r1", "v3", 5, "2024-06-06T05:02:00Z", None, 1),
    ("ads", "c/2", "q1", "2024-06-11", "success", None, "v3", 5, "2024-06-12T05:02:00Z", None, 1),
    (b"\xff", "c1", "q1", "2024-06-13", "success", "r1", "v3", 5, "2024-06-14T05:02:00Z", None, 1),
)


def make_gold(browser: Connection, directory: Path) -> dict[str, str]:
    """Return the texts by the names of their files."""
    state = write_state(directory / "state.db", _ROWS)
    (directory / "known.csv").write_text(KNOWN)
    page = directory / "page.html"
    ask("coverage", "--state", state, *AGREEMENT, "--known", directory / "known.csv", "--html", page)
    markup = page.read_text("utf-8")
    for pattern, left in _LEFT_OUT:
        markup = re.sub(pattern, left, markup, flags=re.DOTALL)
    own = set(markup.splitlines()) - set((ASSETS / "page.html").read_text("utf-8").splitlines())
    markup = "".join(f"{line}\n" for line in markup.splitlines() if line in own)
    head, series = read_page(browser, page)
    lines = [{"head": head["head"]}, *({"cell": cell} for cell in head["cells"])]
    for one in series:
        lines += [{"series": one["series"]}, *({**date, "cell": date["cell"]["words"]} for date in one["details"])]
    told = "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines)
    return {
        "page.html": markup.replace(str(directory), "/directory"),
        "dates.jsonl": told.replace(str(directory), "/directory"),
    }


def main() -> None:
    """Write the texts to their place."""
    GOLD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, running_browser() as browser:
        for name, text in make_gold(browser, Path(directory)).items():
            (GOLD / name).write_text(text)


if __name__ == "__main__":
    main()
