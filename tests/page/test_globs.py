"""The filters of the page let pass what those of a mount do, and its calendar is the one of Python."""

from __future__ import annotations

import datetime
from itertools import product
from typing import Final

from readyfs.partition import SeriesKey
from readyfs.state.filters import Filters
from tests.page.script import evaluate
from tests.page.tab import Tab

PATTERNS: Final = (
    *("a", "A", "*", "?", "**", "a*", "*a", "a?c", "[abc]", "[a-c]", "[!a-c]", "[^a]", "[]]", "[!]]", "[]", "[!]", "["),
    *("[a", "[a-]", "[-a]", "[c-a]", "[!c-a]", "[a-c-e]", "[a--b]", "[--a]", "[\\]", "\\*", "a.c", "(a|b)", "$", "^a"),
    *(
        "[[]a]",
        "[*]",
        "[?]",
        "[!*]",
        "é?",
        "?\U0001f600",
        "[\U0001f600-\U0001f603]",
        "\udc80*",
        "[\udc80-\udcff]",
        "a\n*",
    ),
    *("a&&b", "[a&&b]", "[a||b]", "[a~~b]", "*b*c*", "*b*c", "a*b*c", "?*b*[c]*", "*x*x*", "*a*b*c*d", "**b**"),
)
TEXTS: Final = (
    *("", "a", "A", "b", "c", "d", "e", "-", "]", "[", "[]", "[!]", "[a", "!", "^", "^a", "*", "?", "\\", "\\*", "abc"),
    *(
        "a.c",
        "a\nc",
        "abbc",
        "(a|b)",
        "$",
        "é",
        "éa",
        "a\U0001f600",
        "\U0001f601",
        "\udc80",
        "\udc80a",
        "\udcff",
        "&",
        "|",
    ),
    *("~", "a&&b", "xbxcx"),
)


def test_globs_pass_what_the_filters_of_a_mount_pass(tab: Tab) -> None:
    found = evaluate(
        tab,
        ("glob.js",),
        "return asked.patterns.map((pattern) => asked.texts.map(globMatcher(pattern)));",
        {"patterns": PATTERNS, "texts": TEXTS},
    )
    passed = dict(zip(product(PATTERNS, TEXTS), (one for row in found for one in row), strict=True))
    for (pattern, text), passes in passed.items():
        key = SeriesKey(b"", text.encode("utf-8", "surrogateescape"), b"")
        assert passes == Filters(customers=(pattern,)).admits(key), (pattern, text)


def test_no_pattern_takes_long(tab: Tab) -> None:
    # Each star could end at each letter: all choices of them are more than any browser could try.
    asked = {"pattern": "*a" * 40 + "*b", "text": "a" * 1000}
    assert evaluate(tab, ("glob.js",), "return globMatcher(asked.pattern)(asked.text);", asked) is False


def test_the_calendar_agrees_with_python(tab: Tab) -> None:
    epoch = datetime.date(1970, 1, 1).toordinal()
    dates = [
        datetime.date.fromisoformat(text)
        for text in ("0001-01-01", "0099-12-31", "1969-12-31", "1970-01-01", "2023-12-31", "2024-02-29", "9999-12-31")
    ]
    found = evaluate(
        tab,
        ("calendar.js",),
        """
        return asked.map((day) => ({
            iso: isoOf(day), back: parseDay(isoOf(day)), weekday: weekdayOf(day),
            starts: UNITS.map((unit) => startOfUnit(unit, day)),
        }));
        """,
        [date.toordinal() - epoch for date in dates],
    )
    for date, one in zip(dates, found, strict=True):
        day = date.toordinal() - epoch
        assert one == {
            "iso": date.isoformat(),
            "back": day,
            "weekday": date.weekday(),
            "starts": [
                day,
                day - date.weekday(),
                *(
                    start.toordinal() - epoch
                    for start in (date.replace(day=1), quarter(date), date.replace(month=1, day=1))
                ),
            ],
        }


def quarter(date: datetime.date) -> datetime.date:
    return date.replace(month=(date.month - 1) // 3 * 3 + 1, day=1)


def test_what_is_no_date_is_none(tab: Tab) -> None:
    wrong = ["2024-02-30", "2024-6-1", "0000-01-01", "x", "2024-06-01x", "20240601"]
    assert evaluate(tab, ("calendar.js",), "return asked.map(parseDay);", wrong) == [None] * len(wrong)
