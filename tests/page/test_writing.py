"""`readyfs coverage --html`: what is written, what it tells of the command, and what is refused."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from readyfs.cli.main import main
from tests.page.browser import Connection
from tests.page.program import ask
from tests.page.states import every_kind, write_state
from tests.page.told import read_page


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return write_state(tmp_path / "state.db", every_kind())


def test_a_page_tells_how_it_was_asked_for_so_that_others_can_ask_the_same(
    browser: Connection, tmp_path: Path, state: Path
) -> None:
    config, page = tmp_path / "sales.toml", tmp_path / "page.html"
    config.write_text(f'state = "{state}"\n')
    expect = tmp_path / "expect.csv"
    expect.write_text("source,customer_id,query_name,first_date\nads,c9,q9,2024-06-01\n")
    place = ["--config", str(config), "--state", str(state), "--ready-status", "success"]
    judged = ["--expect", str(expect), "--cadence", "weekdays", "--day-tz", "Europe/Berlin", "--sla", "30h"]
    filters = ["--source", "ads", "--query", "odd", "--query", "q*", "--since", "2024-06-08", "--until", "2024-06-12"]
    told = ask("coverage", f"--html={page}", *place, *filters, *judged)
    head = read_page(browser, page)[0]["head"]
    assert pairs(head["command"]) == pairs(place)
    assert pairs(head["judged"]) == pairs(judged)
    assert head["filters"] == "source ads, query odd, query q*, since 2024-06-08, until 2024-06-12"
    assert (head["cadence"], head["criteria"], head["dayZone"]) == ("weekdays", "an alarm after 30h", "Europe/Berlin")
    [totals] = re.findall(r'<pre id="totals">(.*)</pre>', page.read_text("utf-8"))
    assert totals == f"{head['label']}: {told}".rstrip("\n")
    # What was not typed is not told, though it has an effect: who asks again has the same file and environment.
    ask("coverage", "--config", config, "--html", page)
    head = read_page(browser, page)[0]["head"]
    assert (head["command"], head["judged"]) == (["--config", str(config)], [])


def test_a_name_that_looks_like_a_secret_of_a_url_is_told_as_it_is(
    browser: Connection, tmp_path: Path, state: Path
) -> None:
    name = "ads://eu:north@shop/q1"
    ask("coverage", "--state", state, "--customer", name, "--html", tmp_path / "page.html")
    head = read_page(browser, tmp_path / "page.html")[0]["head"]
    assert head["selected"]["customer"] == ["--customer", name]


def pairs(arguments: list[str]) -> set[tuple[str, str]]:
    return set(zip(arguments[::2], arguments[1::2], strict=True))


def test_a_page_on_standard_output_is_alone_there(tmp_path: Path, state: Path) -> None:
    page = tmp_path / "page.html"
    ask("coverage", "--state", state, "--html", page)
    assert ask("coverage", "--state", state, "--html", "-") == page.read_text("utf-8")


def test_a_terminal_is_no_place_for_a_page(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["coverage", "--state", str(state), "--html", "-"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "readyfs: --html - would fill the terminal with data; name a file, or send it on by | or >\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json"], "--json and --html exclude each other; leave out one of them"),
        (
            ["--by", "week"],
            "--by would do nothing: the page has each date of each series; leave it out, and choose there",
        ),
        (
            ["--html", "/nowhere/page.html"],
            "/nowhere/page.html cannot be written: No such file or directory; make its directory",
        ),
        (["--html", "/dev/null"], "/dev/null is no regular file; name another file"),
    ],
)
def test_what_cannot_be_done_is_refused(
    tmp_path: Path, state: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert main(["coverage", "--state", str(state), "--html", str(page), *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"readyfs: {words}")
    assert not page.exists()


def test_a_state_that_cannot_be_read_leaves_the_page_of_before(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("the page of yesterday")
    assert main(["coverage", "--state", str(tmp_path / "gone.db"), "--html", str(page)]) == 3
    assert page.read_text() == "the page of yesterday"
    assert list(tmp_path.iterdir()) == [page]
