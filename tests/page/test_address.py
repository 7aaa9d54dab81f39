"""The address of the page: what it says is read back as it was, and what it cannot mean is left out and named."""

from __future__ import annotations

import os
import random
from typing import Any, Final
from urllib.parse import quote

from tests.page.script import evaluate
from tests.page.tab import Tab

SCRIPTS: Final = ("calendar.js", "view.js", "names.js", "address.js")
WRITE: Final = """
const name = (parts) => parts && Object.fromEntries(
  ["source", "customer", "query"].map((part, at) => [part, nameOfBytes(parts[at])]));
const spots = asked.map((told) => ({
  ...told,
  top: name(told.top),
  cursor: told.cursor && { name: name(told.cursor.name), day: told.cursor.day },
  filter: { ...noFilter(), ...told.filter, customer: nameOfBytes(told.filter.customer ?? []),
    statuses: new Set(told.filter.statuses) },
}));
const plain = ({ filter, ...rest }) =>
  JSON.stringify({ ...rest, filter: { ...filter, statuses: [...filter.statuses].sort() } });
return spots.map((spot) => {
  const text = writeAddress(spot);
  const { spot: again, problems } = readAddress(text);
  return { text, problems, isSame: plain(again) === plain(spot), again: writeAddress(again) };
});
"""
WRONG: Final = (
    *("days=2024-06-31..2024-07-01", "days=2024-06-02..2024-06-01", "days=2024-06-01", "days=a..b..c"),
    *("cursor=a/b/2024-06-01", "cursor=a/b/c/2024-6-1", "cursor=a/b/c/d/2024-06-01", "cursor=2024-06-01"),
    *("top=a", "top=a/b/<b>", "height=-1", "height=1e999", "height=NaN", "height=", "show=X", "sort=nothing"),
    *("problems=yes", "customer=", "customer=%", "customer=%zz", "customer=<img>", "since=0000-01-01"),
    *("until=10000-01-01", "nothing=1", "constructor=1", "__proto__=1", "toString", "<script>", "=", "%"),
)
READ: Final = """
return asked.map((text) => {
  const { spot, problems } = readAddress(text);
  return [problems, writeAddress(spot)];
});
"""
STATUSES: Final = ("ready", "F", "M", "W", "P", "R")


def some_name(chance: random.Random) -> list[int]:
    pieces = (
        b"c1",
        b"/",
        b"&",
        b"=",
        b"#",
        b"%",
        b"..",
        b" ",
        b"\xff",
        b"\xed\xa0\x80",
        "ü".encode(),
        b"\0",
        b"<i>",
        b"",
    )
    return list(b"".join(chance.choices(pieces, k=3)))


def some_spot(chance: random.Random) -> dict[str, Any]:
    def maybe(value: object) -> object:
        return value if chance.random() < 0.6 else None

    day = chance.randint(-719162, 2932800)
    key = [some_name(chance) for _ in range(3)]
    return {
        "days": maybe({"first": day, "last": day + chance.randint(0, 90)}),
        "height": maybe(chance.choice([0.0125, 1, 18.5, 44])),
        "top": maybe(key),
        "cursor": maybe({"name": key, "day": day}),
        "filter": {
            "customer": some_name(chance),
            "since": maybe(day),
            "until": maybe(day + 1),
            "problemsOnly": chance.random() < 0.5,
            "statuses": chance.sample(STATUSES, chance.randint(0, 6)),
        },
        "sort": chance.choice(["key", "worst", "longest"]),
    }


def test_an_address_is_read_back_as_it_was_written(blank: Tab) -> None:
    chance = random.Random(16)
    for told in evaluate(blank, SCRIPTS, WRITE, [some_spot(chance) for _ in range(300)]):
        assert told["problems"] == [], told
        assert told["isSame"], told
        assert told["again"] == told["text"]
        # Mail and chat programs end an address at anything else.
        assert quote(told["text"], safe="=&%/.~*_-") == told["text"]


def test_the_first_place_has_no_address(blank: Tab) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("days", "height", "top", "cursor"))
    [told] = evaluate(blank, SCRIPTS, WRITE, [nothing | {"filter": {"statuses": STATUSES}, "sort": "key"}])
    assert (told["text"], told["isSame"]) == ("", True)


def test_what_cannot_be_meant_is_left_out_and_named(blank: Tab) -> None:
    answers = evaluate(blank, SCRIPTS, READ, [f"since=2024-06-01&{part}&sort=worst" for part in WRONG])
    assert answers == [[[part], "since=2024-06-01&sort=worst"] for part in WRONG]


def test_text_of_any_kind_is_read_without_an_error(blank: Tab) -> None:
    chance = random.Random(17)
    texts = [os.fsdecode(bytes(chance.choices(b"daysctop=&./%-0123456789<>\xff\xc3\x28", k=40))) for _ in range(200)]
    for problems, _ in evaluate(blank, SCRIPTS, READ, texts):
        assert isinstance(problems, list)
