"""The browser of the tests itself: what it reports, and that nothing of it stays."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.page.browser import Connection, running_browser
from tests.page.tab import Tab, open_tab


def write_page(directory: Path, markup: str, policy: str = "") -> Path:
    page = directory / "page.html"
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">' if policy else ""
    page.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8">{meta}<title>A page</title>{markup}')
    return page


def test_each_kind_of_complaint_is_noticed(browser: Connection, tmp_path: Path) -> None:
    policy = "default-src 'none'; script-src 'unsafe-inline'; img-src http:"
    markup = """
        <p style="color: red">Refused</p>
        <img alt="" src="http://127.0.0.1:9/picture.png">
        <script>console.error("an error of its own"); console.log("no complaint"); missing();</script>
    """
    with open_tab(browser) as tab:
        tab.open(write_page(tmp_path, markup, policy))
        complaints = "\n".join(tab.complaints())
        assert tab.complaints() == []
    for word in (
        "an error of its own",
        "missing is not defined",
        "a request: http://127.0.0.1:9/picture.png",
        "Applying inline style violates",
        "ContentSecurityPolicyIssue",
    ):
        assert word in complaints
    assert "no complaint" not in complaints


def test_keys_and_clicks_are_those_of_a_person(tab: Tab, tmp_path: Path) -> None:
    markup = """
        <input id="field" autofocus><button id="button">Go</button>
        <script>
            const seen = [];
            addEventListener("keydown", event => seen.push([event.key, event.ctrlKey, event.isTrusted]));
            addEventListener("click", event => seen.push([event.target.id, event.detail, event.isTrusted]));
        </script>
    """
    tab.open(write_page(tmp_path, markup), "#place")
    tab.press("a", "Shift+N", "+", "Control+Home", "Tab")
    tab.click("#button")
    assert tab.ask("[seen, document.querySelector('#field').value, location.hash, document.activeElement.id]") == [
        [
            ["a", False, True],
            ["N", False, True],
            ["+", False, True],
            ["Home", True, True],
            ["Tab", False, True],
            ["button", 1, True],
        ],
        "aN+",
        "#place",
        "button",
    ]


def test_a_tab_remembers_nothing_of_another(browser: Connection, tmp_path: Path) -> None:
    page = write_page(tmp_path, "<script>localStorage.count = Number(localStorage.count ?? 0) + 1</script>")
    for _ in range(2):
        with open_tab(browser) as tab:
            tab.open(page)
            assert tab.ask("localStorage.count") == "1"


def test_the_system_prefers_what_it_is_told(tab: Tab, tmp_path: Path) -> None:
    tab.open(write_page(tmp_path, ""))
    dark = "matchMedia('(prefers-color-scheme: dark)').matches"
    assert tab.ask(dark) is False
    tab.emulate(prefers_color_scheme="dark")
    assert tab.ask(dark) is True


def test_nothing_of_a_browser_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    # The browser makes a socket there, whose path has to be short.
    with tempfile.TemporaryDirectory(prefix="readyfs-") as made:
        monkeypatch.setattr(tempfile, "tempdir", made)
        with running_browser() as connection, open_tab(connection) as tab:
            assert tab.ask("1 + 1") == 2
            assert processes_of(Path(made)) != []
        assert processes_of(Path(made)) == []
        assert list(Path(made).iterdir()) == []


def processes_of(directory: Path) -> list[str]:
    """Return the processes whose arguments name a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if bytes(directory) in arguments:
            found.append(arguments.decode(errors="replace"))
    return found
