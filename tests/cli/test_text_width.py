"""How wide text is in a terminal: names of any script fill their columns, and what follows stands in its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.cli.text_width import fit, width_of

# As the C library of this system has it (wcwidth of glibc in a UTF-8 locale).
WIDTHS = (
    ("abc", 3),
    ("Zoë", 3),
    ("Zoe\N{COMBINING DIAERESIS}", 3),
    ("東京", 4),
    ("ｶﾅ", 2),
    ("ＡＢ", 4),
    ("한글", 4),
    ("\u1112\u1161\u11ab", 2),  # one syllable, written as its three letters
    ("\N{HIRAGANA LETTER KA}\N{COMBINING KATAKANA-HIRAGANA VOICED SOUND MARK}", 2),
    ("นี้", 1),
    ("\N{PILE OF POO}", 2),
    ("Привет", 6),
)


@pytest.mark.parametrize(("text", "width"), WIDTHS)
def test_width_is_that_of_a_terminal(text: str, width: int) -> None:
    assert width_of(text) == width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("abcd", "abcd"),
        ("abc", "abc "),
        ("abcde", "abc~"),
        ("東京都", "東~ "),  # half of a character cannot be shown
        ("東京", "東京"),
        ("e\N{COMBINING ACUTE ACCENT}" * 5, "e\N{COMBINING ACUTE ACCENT}" * 3 + "~"),
        ("", "    "),
    ],
)
def test_what_is_too_long_is_cut_with_a_sign(text: str, shown: str) -> None:
    assert fit(text, 4) == shown


@given(st.text(st.sampled_from("ab東ｶё\u0301\u1161한~"), max_size=12), st.integers(1, 9))
def test_a_text_takes_exactly_the_width_that_it_is_given(text: str, width: int) -> None:
    shown = fit(text, width)
    assert width_of(shown) == width
    kept = shown.rstrip(" ")
    assert text.startswith(kept) or (kept[-1] == "~" and text.startswith(kept[:-1]))
