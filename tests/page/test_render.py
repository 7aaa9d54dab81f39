"""A page as a file: nothing of the state can become markup, and no secret is in it (V26)."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

from readyfs.page.render import SCRIPTS, STYLES
from tests.page.browser import Connection
from tests.page.program import ask
from tests.page.script import ASSETS
from tests.page.states import HOSTILE, hostile, write_state
from tests.page.told import read_page
from tests.postgres.database import READER_PASSWORD, StateDatabase


class Markup(HTMLParser):
    """All elements of a page with their attributes, and what is in scripts, styles and the rest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.comments: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self._within = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))
        self._within = tag

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._within, []).append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def page_of(directory: Path, texts: tuple[str, ...], *arguments: str) -> Path:
    directory.mkdir()
    state = write_state(directory / "state.db", hostile(texts))
    page = directory / "page.html"
    ask("coverage", "--state", str(state), "--html", str(page), *arguments)
    return page


def test_no_text_of_a_state_becomes_markup(tmp_path: Path) -> None:
    # Names in filters and of the state itself are on the page, too; a name of a file holds no slash.
    name = "</pre><script>alert(1)<!--".replace("/", "\u2215")
    harmless = page_of(tmp_path / "harmless", ("c1", "c2"))
    hostile = page_of(tmp_path / name, HOSTILE)
    nothing = tmp_path / "nothing.html"
    ask("coverage", "--state", str(hostile.parent / "state.db"), "--html", str(nothing), "--customer", "</pre><script>")
    markup = Markup(harmless.read_text("utf-8"))
    assert "script" in dict(markup.elements)
    for page in (hostile, nothing):
        other = Markup(page.read_text("utf-8"))
        assert other.elements == markup.elements
        assert other.comments == markup.comments == []
        assert other.texts["script"][1:] == markup.texts["script"][1:]
        assert re.fullmatch(r"[A-Za-z0-9+/=]+", other.texts["script"][0])
    assert "</pre><script>" in "".join(Markup(nothing.read_text("utf-8")).texts["pre"])


def test_the_policy_admits_the_one_script_and_the_one_style_and_no_network(tmp_path: Path) -> None:
    page = page_of(tmp_path / "state", ("c1",)).read_text("utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    for text in (script, style):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    sources = {part.split()[0]: part.split()[1:] for part in policy.split(";")}
    assert sources["default-src"] == sources["base-uri"] == sources["form-action"] == ["'none'"]
    assert set(sources) == {"default-src", "base-uri", "form-action", "script-src", "style-src"}
    assert [len(sources[name]) for name in ("script-src", "style-src")] == [1, 1]
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)


def test_a_page_does_not_hold_the_password_of_its_state(
    browser: Connection, tmp_path: Path, postgres: StateDatabase
) -> None:
    url = postgres.url()
    page = tmp_path / "page.html"
    ask("coverage", f"--state={url}", "--warn", "1h", "--html", page)
    head, _ = read_page(browser, page)
    packed = re.findall(r'id="coverage">([^<]*)<', page.read_text("utf-8"))
    data = zlib.decompress(base64.b64decode(packed[0]), -zlib.MAX_WBITS)
    encoded = quote(READER_PASSWORD, safe="")
    assert encoded in url
    for spelling in (READER_PASSWORD, encoded):
        assert spelling.encode() not in data
        assert spelling not in page.read_text("utf-8")
    assert head["head"]["command"] == ["--state", url.replace(encoded, "***")]
    assert head["head"]["judged"] == ["--warn", "1h"]


def test_every_asset_is_part_of_the_page_once() -> None:
    assert sorted((*SCRIPTS, *STYLES, "page.html")) == sorted(path.name for path in ASSETS.iterdir())
