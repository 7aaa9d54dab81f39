from __future__ import annotations

from fractions import Fraction

import pytest

from readyfs.errors import UsageError
from readyfs.percentage import parse_percentage, render_percentage


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("50%", Fraction(1, 2)),
        (" 2.5 % ", Fraction(25, 1000)),
        ("0.000001%", Fraction(1, 100_000_000)),
        ("99.9%", Fraction(999, 1000)),
        ("33.3%", Fraction(333, 1000)),
    ],
)
def test_percentage_is_kept_exactly_and_rendered_back(text: str, share: Fraction) -> None:
    assert parse_percentage(text) == share
    assert parse_percentage(render_percentage(share)) == share
    assert render_percentage(share) == text.replace(" ", "")


@pytest.mark.parametrize("text", ["50", "0.5", "1"])
def test_bare_number_is_refused_naming_the_sign(text: str) -> None:
    with pytest.raises(UsageError, match="has no percent sign; write a percentage such as 50%"):
        parse_percentage(text)


@pytest.mark.parametrize("text", ["0%", "0.0%", "100%", "250%"])
def test_percentage_that_would_hold_back_everything_or_nothing_is_refused_naming_the_bounds(text: str) -> None:
    with pytest.raises(UsageError, match="above 0% and below 100%, or none"):
        parse_percentage(text)


@pytest.mark.parametrize(
    "text", ["", "%", "-5%", "half", "5e1%", "5 0%", "50%%", "٥٠%", "nan%", "1.%", "9" * 400 + "%"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="such as 50%"):
        parse_percentage(text)
