"""The commands that the page offers: as bash reads them, they select just what is selected on the page."""

from __future__ import annotations

import datetime
import json
import os
import random
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pytest

from readyfs.cli.main import main
from readyfs.consumer.address import Address
from readyfs.consumer.address_text import parse_address
from readyfs.errors import ExitCode
from readyfs.layout import MountLayout
from readyfs.partition import SeriesKey, parse_date
from readyfs.state.filters import Filters
from readyfs.text import decode_text
from tests.page.script import evaluate
from tests.page.tab import Tab

SCRIPTS: Final = ("calendar.js", "names.js", "words.js", "command.js")
PARTS: Final = ("source", "customer", "query")
ODD: Final = (
    *(b"a*b", b"a[*]b", b"a[**]b", b"axb", b"[x]", b"x", b"q?", b"qq", b"[!x]", b"it's", b'say "hi" $HOME `id` \\'),
    *(b"-rf", b"--help", b"..", b"~", b"a/b", b"50%", b"%41", b"A", b"line\nbreak", b"tab\there", b"bad\xff\xfe"),
    *("ü日本".encode(), "x\u202ey".encode(), b"nul\0x", b"nulAx", b"\\n", b"{a,b}", b"!1", b"#c", b"</script>", b" "),
    *("\ufeffmark".encode(), b"NUL\0*", b"NUL\0[*]", "\ue000".encode(), b"\xed\xb3\xbf", b"=x", b"a\\x41\x01B"),
)
KEYS: Final = tuple(
    sorted(
        {key for name in ODD for key in ((b"ads", name, b"q1"), (b"ads", b"c1", name), (name, b"c2", b"q1"))}
        | {(b"ads", b"c%d" % customer, b"q%d" % query) for customer in range(3, 7) for query in range(1, 5)}
    )
)
FIRST: Final = datetime.date(2024, 6, 1)
DAYS: Final = 5


class Chosen(NamedTuple):
    """A selection: which of `KEYS`, and which days, counted from `FIRST`."""

    keys: Sequence[int]
    first: int
    last: int

    @property
    def cells(self) -> list[tuple[str, ...]]:
        return sorted(
            (*map(decode_text, KEYS[key]), show(day)) for key in self.keys for day in range(self.first, self.last + 1)
        )


def show(day: int) -> str:
    return (FIRST + datetime.timedelta(day)).isoformat()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("state") / "odd 'state'.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE partition_state(source TEXT, customer_id TEXT, query_name TEXT, logical_date TEXT, status"
            " TEXT, current_run_id TEXT, schema_version TEXT, record_count INTEGER, updated_at TEXT, error_message"
            " TEXT, attempt_count INTEGER)"
        )
        connection.executemany(
            "INSERT INTO partition_state VALUES (CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), ?, 'success', 'r',"
            " '1', 1, '2024-07-01T00:00:00Z', NULL, 1)",
            [(*key, show(day)) for key in KEYS for day in range(DAYS)],
        )
        connection.commit()
    return path


def command_lines(
    blank: Tab,
    state: Path,
    chosen: Sequence[Chosen],
    later: Sequence[int] = (),
    selected: Mapping[str, Sequence[str]] = MappingProxyType({}),
    pattern: Mapping[str, str] | None = None,
) -> list[dict[str, list[list[str]]]]:
    """Return what the page offers for selections, by what it is about, as bash splits it into arguments.

    Keys that are `later` begin on the third day, `selected` are options of the page, and `pattern` its filter.
    """
    script = """
    const series = asked.keys.map((key, at) => {
      const [source, customer, query] = key.map((bytes) => nameOfBytes(bytes));
      return { source, customer, query, first: parseDay(asked.days[asked.later.includes(at) ? 2 : 0]) };
    });
    const coverage = {
      count: series.length, first: parseDay(asked.days[0]), last: parseDay(asked.days.at(-1)),
      head: { command: ["--state", asked.state], judged: ["--cadence", "daily"], selected: asked.selected },
      series: (index) => series[index],
    };
    return asked.chosen.map(([keys, first, last]) => {
      const [begin, end] = [first, last].map((day) => parseDay(asked.days[day]));
      return commandsOf(coverage, { series: keys, first: begin, last: end, filter: asked.filter }).commands;
    });
    """
    asked = {
        "keys": [[list(part) for part in key] for key in KEYS],
        "days": [show(day) for day in range(DAYS)],
        "later": later,
        "state": str(state),
        "filter": pattern,
        "selected": {name: selected.get(name, ()) for name in (*PARTS, "since", "until")},
        "chosen": chosen,
    }
    offered = evaluate(blank, SCRIPTS, script, asked)
    lines = iter(split([line for commands in offered for command in commands for line in command["lines"]]))
    return [{command["about"]: [next(lines) for _ in command["lines"]] for command in commands} for commands in offered]


def split(lines: Sequence[str]) -> list[list[str]]:
    """Return the arguments of command lines, as bash reads them where history is on."""
    script = "set +H; readyfs() { printf '%s\\0' \"$@\"; printf '\\0'; }\n" + "\n".join(lines)
    done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=60, check=True)
    assert done.stderr == b""
    return [[os.fsdecode(word) for word in line.split(b"\0")] for line in done.stdout.split(b"\0\0")[:-1]]


def admitted(lines: Sequence[Sequence[str]]) -> list[int]:
    """Return which of `KEYS` commands select by their filters, each as often as they do."""
    found: list[int] = []
    for line in lines:
        given: dict[str, list[str]] = {name: [] for name in PARTS}
        for option, value in pairwise(line):
            if option.removeprefix("--") in given and option.startswith("--"):
                given[option[2:]].append(value)
        filters = Filters(tuple(given["source"]), tuple(given["customer"]), tuple(given["query"]))
        found += [at for at, key in enumerate(KEYS) if filters.admits(SeriesKey(*key))]
    return sorted(found)


def run(capfd: pytest.CaptureFixture[str], arguments: Sequence[str]) -> list[dict[str, Any]]:
    capfd.readouterr()
    code = main([*arguments, "--json"])
    captured = capfd.readouterr()
    assert code in (ExitCode.OK, ExitCode.FOUND), captured.err
    return [json.loads(line) for line in captured.out.splitlines()]


def listed(capfd: pytest.CaptureFixture[str], lines: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    fields = ("source", "customer_id", "query_name", "logical_date")
    return sorted(tuple(row[field] for field in fields) for line in lines for row in run(capfd, line))


def test_each_series_is_selected_alone_whatever_its_name(blank: Tab, state: Path) -> None:
    every = [Chosen([key], 1, 2) for key in range(len(KEYS))]
    for one, offered in zip(every, command_lines(blank, state, every), strict=True):
        assert admitted(offered["Its rows"]) == one.keys


def test_the_key_of_a_date_names_it_whatever_its_name(
    blank: Tab, state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    every = [Chosen([key], 3, 3) for key in range(len(KEYS))]
    offers = command_lines(blank, state, every)
    unnamed = [KEYS[one.keys[0]] for one, offered in zip(every, offers, strict=True) if "Why it is so" not in offered]
    # No argument holds a NUL, and the source of a key is no pattern.
    assert unnamed == [key for key in KEYS if b"\0" in key[0]]
    date = parse_date(show(3).encode())
    for one, offered in zip(every, offers, strict=True):
        if "Why it is so" in offered:
            [[_, text, *_]] = offered["Why it is so"]
            _, customer, query = KEYS[one.keys[0]]
            assert parse_address(text, MountLayout.parse("plain")) == Address(
                None, customer, query, first=date, last=date
            )
    # What begins with a dot could be a path, and with a dash an option.
    for customer in (b"c3", b"-rf", b"--help", b".."):
        [line] = offers[KEYS.index((b"ads", customer, b"q1"))]["Why it is so"]
        [answer] = run(capfd, line)
        assert (answer["source"], answer["customer_id"], answer["logical_date"]) == ("ads", customer.decode(), show(3))


def test_several_series_are_selected_and_no_others(blank: Tab, state: Path, capfd: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(4)
    grid = [at for at, key in enumerate(KEYS) if key[1] in (b"c3", b"c4") and key[2] in (b"q2", b"q3")]
    some = [Chosen(sorted(chance.sample(range(len(KEYS)), size)), 0, 3) for size in (60, 12, 6)]
    dashes = [at for at, key in enumerate(KEYS) if key[1] in (b"-rf", b"--help")]
    some += [Chosen(dashes, 2, 2), Chosen(grid, 1, 1), Chosen(grid[:3], 1, 1), Chosen(list(range(len(KEYS))), 0, 4)]
    offers = command_lines(blank, state, some)
    for one, offered in zip(some, offers, strict=True):
        assert admitted(offered["Its rows"]) == one.keys
    assert [len(offered["Its rows"]) for offered in offers[4:]] == [1, 2, 1], "as few commands as can be"
    for one, offered in zip(some[2:], offers[2:], strict=True):
        assert listed(capfd, offered["Its rows"]) == one.cells


def test_gaps_expect_no_day_before_a_series_begins(blank: Tab, state: Path, capfd: pytest.CaptureFixture[str]) -> None:
    chosen = Chosen([0, 1], 1, 3)
    for later, since in (((), [True]), ((1,), [True, False]), ((0, 1), [False])):
        [offered] = command_lines(blank, state, [chosen], later=later)
        lines = offered["Its gaps"]
        assert ["--since" in line for line in lines] == since
        series = [one for line in lines for one in run(capfd, line)]
        assert sorted((one["source"], one["customer_id"], one["query_name"]) for one in series) == sorted(
            tuple(map(decode_text, KEYS[key])) for key in chosen.keys
        )


def test_the_filters_of_the_page_hold_where_the_selection_names_nothing(blank: Tab, state: Path) -> None:
    filters = {"customer": ("--customer", "c*"), "since": ("--since", show(0)), "until": ("--until", show(4))}
    whole, some = Chosen(list(range(len(KEYS))), 0, 4), Chosen([0], 1, 2)
    [offered, chosen] = command_lines(blank, state, [whole, some], selected=filters)
    place = ["--state", str(state)]
    own = [word for words in filters.values() for word in words]
    assert offered["Its rows"] == [["ls", *place, *own]]
    assert offered["Its gaps"] == [["gaps", *place, "--cadence", "daily", *own]]
    assert "c*" not in chosen["Its rows"][0]
    assert chosen["Its rows"][0][-4:] == ["--since", show(1), "--until", show(2)]


def test_all_that_a_filter_shows_is_selected_by_that_filter(
    blank: Tab, state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    passed = [at for at, key in enumerate(KEYS) if key[1] in (b"c3", b"c4", b"c5") and key[0] == b"ads"]
    shown = Chosen(passed, 1, 2)
    pattern = {"source": "ads", "customer": "c[3-5]", "query": ""}
    [offered] = command_lines(blank, state, [shown], pattern=pattern)
    assert [line[3:] for line in offered["Its rows"]] == [
        ["--source", "ads", "--customer", "c[3-5]", "--since", show(1), "--until", show(2)]
    ]
    assert listed(capfd, offered["Its rows"]) == shown.cells
    # The page has c3 and c4 alone; two patterns would select what either lets pass.
    shown = Chosen([at for at in passed if KEYS[at][1] != b"c5"], 1, 2)
    own = {"customer": ("--customer", "c[34]")}
    [offered] = command_lines(blank, state, [shown], pattern=pattern, selected=own)
    assert listed(capfd, offered["Its rows"]) == shown.cells


def test_nothing_hidden_stands_in_a_command(blank: Tab) -> None:
    names = ["$(id)", "a b", "\u202e", "\udcff", "\x1b[31m", "\n", "\u2028", "\u00a0", "`'\"\\"]
    words = [list(os.fsencode(name)) for name in names]
    quoted = evaluate(blank, SCRIPTS, "return asked.map((bytes) => quoteWord(nameOfBytes(bytes)));", words)
    assert [word for word in quoted if not word.isprintable()] == []
    assert split([f"readyfs {' '.join(quoted)}"]) == [names]
