"""The pictures of the page that the README shows, and the world that is in them.

`python -m tests.page.picture` makes them anew. The world is the same each time, and so is the moment.
"""

from __future__ import annotations

import datetime
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Final

from readyfs.demo.producer import Producer
from tests.page.browser import running_browser
from tests.page.program import NOW, ask
from tests.page.tab import Tab, open_coverage, open_tab

PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
SIZE: Final = (1280, 820)
AGREEMENT: Final = ("--warn", "24h", "--crit", "36h")

_TODAY: Final = NOW.date()
_FIRST: Final = datetime.date(2023, 1, 1)
_CUSTOMERS: Final = ("0135802465", "0258147369", "0379482615", "0481516234", "0592837465")
_QUERIES: Final = (
    ("google_ads", "campaign_daily"),
    ("google_ads", "keyword_daily"),
    ("google_ads", "search_terms"),
    ("meta_ads", "adset_insights"),
    ("bing_ads", "audience_daily"),
)


def fill_world(directory: Path) -> None:
    """Write the state of a pipeline of a year and a half, and its gaps that are known."""
    state = directory / "state.db"
    Producer(state, directory / "raw").close()
    with closing(sqlite3.connect(state)) as connection, connection:
        connection.executemany(f"INSERT INTO partition_state VALUES ({', '.join('?' * 11)})", _rows())
    (directory / "known.csv").write_text(
        "source,customer_id,query_name,first_date,last_date,reason\n"
        "*,0258147369,*,2024-02-05,2024-02-18,the account was moved\n"
    )


def _rows() -> Iterator[tuple[object, ...]]:
    for customer in _CUSTOMERS:
        for source, query in _QUERIES:
            first = datetime.date(2023, 9, 4) if customer == "0481516234" else _FIRST
            for number in range((_TODAY - first).days):
                date = first + datetime.timedelta(number)
                chance = blake2b(f"{customer}{query}{date}".encode(), digest_size=4).digest()
                status, message = _fate(customer, source, query, date, int.from_bytes(chance) / 2**32)
                if status == "missing":
                    continue
                updated = datetime.datetime.combine(date + datetime.timedelta(1), datetime.time(4, chance[0] % 60))
                run = None if status in ("failed", "pending") else f"{updated:%Y-%m-%dT%H:%M:%S}.{chance[1]:03}Z"
                # A path is no name of a run, so such a row is ready and cannot be shown.
                run = "../escape" if status == "withheld" else run
                word = {"ready": "success", "withheld": "success", "reprocessing": "pending"}.get(status, status)
                at = f"{updated:%Y-%m-%d %H:%M:%S}+00:00"
                records = 4000 + chance[2] * 40
                attempts = 4 if status == "failed" else 1
                yield source, customer, query, str(date), word, run, "v3", records, at, message, attempts


def _fate(customer: str, source: str, query: str, date: datetime.date, chance: float) -> tuple[str, str | None]:
    """Return the status of a date, and what went wrong."""
    ago = (_TODAY - date).days
    if source == "meta_ads" and datetime.date(2023, 11, 20) <= date <= datetime.date(2023, 11, 24):
        return "failed", "HTTP 503 from the reporting service"
    if customer == "0258147369" and datetime.date(2024, 2, 5) <= date <= datetime.date(2024, 2, 18):
        return "missing", None
    if customer == "0135802465" and query == "search_terms" and ago <= 23:
        return "missing", None
    if customer == "0592837465" and source == "google_ads" and 2 <= ago <= 6:
        return "failed", "quota exceeded: 15000 operations a day"
    if customer == "0379482615" and query == "keyword_daily" and 40 <= ago <= 61:
        return "reprocessing", None
    if query == "audience_daily" and ago == 1:
        return "pending", None
    if chance < 0.004:
        return "failed", "the report was empty"
    if chance < 0.006:
        return "withheld", None
    if chance < 0.010:
        return "missing", None
    return "ready", None


def make_page(directory: Path) -> Path:
    """Make the page of a world that is there, with the program itself at one moment."""
    page = directory / "coverage.html"
    known = directory / "known.csv"
    ask("coverage", "--state", directory / "state.db", "--known", known, *AGREEMENT, "--html", page)
    return page


def take_pictures(tab: Tab, page: Path, directory: Path) -> None:
    """Write the picture in both palettes."""
    for palette in ("light", "dark"):
        tab.emulate(prefers_color_scheme=palette)
        open_coverage(tab, page)
        # Where the world lies differs each time.
        tab.ask("document.querySelector('#label').textContent = 'sqlite:////data/state.db'")
        tab.screenshot(directory / f"coverage-{palette}.png")


def main() -> None:
    """Make the pictures anew."""
    with tempfile.TemporaryDirectory(prefix="readyfs-picture-") as made, running_browser() as browser:
        fill_world(Path(made))
        with open_tab(browser, SIZE) as tab:
            take_pictures(tab, make_page(Path(made)), PICTURES)


if __name__ == "__main__":
    main()
