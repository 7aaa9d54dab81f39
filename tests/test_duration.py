from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.duration import parse_duration, render_duration
from readyfs.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("10s", 10.0), ("2m", 120.0), ("1h", 3600.0), ("1d", 86400.0), ("1.5s", 1.5), (" 10 s ", 10.0)],
)
def test_number_with_unit_is_parsed(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["10", "0.5"])
def test_bare_number_is_refused_with_the_unit_to_add(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration(text)
    assert f"{text}s" in caught.value.remedy


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 week", "1s2", "٣s", "1e3s", "infs", "nan", "10S", "1\n2s"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="10s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["49ms", "2d"])
def test_duration_outside_the_bounds_is_refused_naming_them(text: str) -> None:
    with pytest.raises(UsageError, match="from 50ms to 1d"):
        parse_duration(text, minimum_s=0.05, maximum_s=86400)


@pytest.mark.parametrize("text", ["50ms", "1d"])
def test_bounds_are_inclusive(text: str) -> None:
    assert parse_duration(text, minimum_s=0.05, maximum_s=86400) > 0


def test_zero_is_allowed_only_where_the_minimum_is_zero() -> None:
    assert parse_duration("0s", minimum_s=0.0) == 0.0
    with pytest.raises(UsageError):
        parse_duration("0s")


@given(st.integers(min_value=1, max_value=10**10))
def test_rendered_duration_parses_back(milliseconds: int) -> None:
    assert parse_duration(render_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0s"), (0.5, "500ms"), (60.0, "1m"), (90.0, "90s"), (3600.0, "1h"), (172800.0, "2d")]
)
def test_rendering_uses_the_largest_exact_unit(seconds: float, text: str) -> None:
    assert render_duration(seconds) == text
