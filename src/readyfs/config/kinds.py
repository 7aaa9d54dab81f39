"""The kinds of value that settings have: how each is parsed, bounded and shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from readyfs.config.fingerprint import parse_fingerprint
from readyfs.config.setting import Group, Setting, Shape
from readyfs.duration import parse_duration, render_duration
from readyfs.errors import UsageError
from readyfs.partition import parse_date, render_date
from readyfs.size import parse_size, render_size
from readyfs.text import escape_text

if TYPE_CHECKING:
    from fractions import Fraction  # slow to import, and used by the guard alone

E = TypeVar("E", bound=StrEnum)


def text(name: str, group: Group, metavar: str, help: str, default: str) -> Setting[str]:
    """Return a setting whose value is any text but the empty one."""
    return Setting(name, group, Shape.TEXT, _parse_text, lambda _environ: default, default, metavar, help)


def optional_text(
    name: str, group: Group, metavar: str, help: str, *, is_path: bool = False, default_text: str = "none"
) -> Setting[str | None]:
    """Return a setting that may be left out; `default_text` is what stands for it then, of itself it has no default."""
    return Setting(
        name, group, Shape.TEXT, _parse_text, _nothing, default_text, metavar, help, _render_optional, is_path
    )


def path(
    name: str, group: Group, help: str, default: Callable[[Mapping[str, str]], Path], default_text: str
) -> Setting[Path]:
    """Return a setting that is a directory of ours; the path is absolute by the time it is parsed."""
    return Setting(name, group, Shape.TEXT, _parse_path, default, default_text, "DIR", help, is_path=True)


def optional_path(name: str, group: Group, help: str, metavar: str = "FILE") -> Setting[Path | None]:
    """Return a setting that is a file and may be left out; the path is absolute by the time it is parsed."""
    return Setting(
        name, group, Shape.TEXT, _parse_path, _nothing, "none", metavar, help, _render_optional, is_path=True
    )


def choice(name: str, group: Group, help: str, default: E) -> Setting[E]:
    """Return a setting that is one word out of an enumeration."""
    kind = type(default)
    words = [str(word) for word in kind]

    def parse(given: tuple[str, ...]) -> E:
        word = _parse_text(given)
        if word not in words:
            raise UsageError(f"{escape_text(word)!r} is none of the choices", f"choose one of {', '.join(words)}")
        return kind(word)

    return Setting(name, group, Shape.TEXT, parse, lambda _environ: default, str(default), "|".join(words), help)


def duration(
    name: str, group: Group, help: str, default_s: float, *, minimum_s: float, maximum_s: float = 86400.0
) -> Setting[float]:
    """Return a setting in seconds, written with a unit."""

    def parse(given: tuple[str, ...]) -> float:
        return parse_duration(_parse_text(given), minimum_s=minimum_s, maximum_s=maximum_s)

    return Setting(
        name,
        group,
        Shape.TEXT,
        parse,
        lambda _environ: default_s,
        render_duration(default_s),
        "DURATION",
        help,
        _render_duration,
    )


def optional_duration(name: str, group: Group, help: str, *, minimum_s: float) -> Setting[float | None]:
    """Return a setting in seconds that the word `none` switches off, as it is by default."""

    def parse(given: tuple[str, ...]) -> float | None:
        word = _parse_text(given)
        return None if word == "none" else parse_duration(word, minimum_s=minimum_s)

    return Setting(name, group, Shape.TEXT, parse, _nothing, "none", "DURATION|none", help, _render_duration)


def optional_percentage(name: str, group: Group, help: str) -> Setting[Fraction | None]:
    """Return a setting that is a share, written as a percentage, and that the word `none` switches off."""

    def parse(given: tuple[str, ...]) -> Fraction | None:
        word = _parse_text(given)
        if word == "none":
            return None
        from readyfs.percentage import parse_percentage

        return parse_percentage(word)

    return Setting(name, group, Shape.TEXT, parse, _nothing, "none", "PERCENT|none", help, _render_percentage)


def optional_fingerprint(name: str, group: Group, help: str) -> Setting[str | None]:
    """Return a setting that is a catalog's fingerprint, or the word `none`, as it is by default."""

    def parse(given: tuple[str, ...]) -> str | None:
        word = _parse_text(given)
        return None if word == "none" else parse_fingerprint(word)

    return Setting(name, group, Shape.TEXT, parse, _nothing, "none", "FINGERPRINT|none", help, _render_optional)


def number(name: str, group: Group, help: str, default: int, *, minimum: int, maximum: int) -> Setting[int]:
    """Return a whole-number setting with inclusive bounds."""

    def parse(given: tuple[str, ...]) -> int:
        word = _parse_text(given)
        if not (word.isascii() and word.isdigit() and len(word) < 20 and minimum <= int(word) <= maximum):
            raise UsageError(
                f"{escape_text(word)!r} is not a number from {minimum} to {maximum}", "choose one of those"
            )
        return int(word)

    return Setting(name, group, Shape.NUMBER, parse, lambda _environ: default, str(default), "N", help)


def size(name: str, group: Group, help: str, default: int, *, minimum: int) -> Setting[int]:
    """Return a setting in bytes, written with a unit."""

    def parse(given: tuple[str, ...]) -> int:
        return parse_size(_parse_text(given), minimum=minimum)

    return Setting(
        name, group, Shape.TEXT, parse, lambda _environ: default, render_size(default), "SIZE", help, _render_size
    )


def account(
    name: str, group: Group, help: str, default: Callable[[Mapping[str, str]], int], find: Callable[[str], int]
) -> Setting[int]:
    """Return a setting that is a user or group, by number or by name; `find` raises KeyError."""

    def parse(given: tuple[str, ...]) -> int:
        word = _parse_text(given)
        # (uid_t)-1 means "leave as it is" to chown(2) and is nobody's number.
        if word.isascii() and word.isdigit() and len(word) < 11 and int(word) < 0xFFFFFFFF:
            return int(word)
        try:
            return find(word)
        except (KeyError, ValueError):
            raise UsageError(
                f"{escape_text(word)!r} is no {name} here", "give a number or a name that exists"
            ) from None

    return Setting(name, group, Shape.ACCOUNT, parse, default, "the daemon's own", name.upper(), help)


def switch(
    name: str, group: Group, help: str, default: Callable[[Mapping[str, str]], bool], default_text: str
) -> Setting[bool]:
    """Return an on/off setting: `--name` and `--no-name`, `true` and `false`."""

    def parse(given: tuple[str, ...]) -> bool:
        word = _parse_text(given).lower()
        if word not in _SWITCH_WORDS:
            raise UsageError(f"{escape_text(word)!r} is neither on nor off", "write true or false")
        return _SWITCH_WORDS[word]

    return Setting(name, group, Shape.SWITCH, parse, default, default_text, "", help, _render_switch)


def mode(name: str, group: Group, help: str, default: int) -> Setting[int]:
    """Return a setting that is a file mode in octal: of write bits the owner's alone, no set-id or sticky bit."""

    def parse(given: tuple[str, ...]) -> int:
        word = _parse_text(given)
        digits = word.removeprefix("0o")
        if not digits or len(digits) > 5 or digits.strip("01234567"):
            raise UsageError(f"{escape_text(word)!r} is not an octal mode", f"write four digits such as {default:04o}")
        bits = int(digits, 8)
        if bits & ~0o755:
            raise UsageError(
                f"the mode {word} lets group or others write, or has a set-id or sticky bit",
                f"use read and execute bits and the owner's write bit only, such as {default:04o}",
            )
        return bits

    return Setting(
        name, group, Shape.TEXT, parse, lambda _environ: default, f"{default:04o}", "MODE", help, _render_mode
    )


def date(name: str, group: Group, help: str) -> Setting[int | None]:
    """Return a setting that is a day, as a proleptic Gregorian ordinal."""

    def parse(given: tuple[str, ...]) -> int:
        word = _parse_text(given)
        ordinal = parse_date(word.encode("utf-8", "surrogateescape"))
        if ordinal is None:
            raise UsageError(f"{escape_text(word)!r} is not a date", "write it as YYYY-MM-DD")
        return ordinal

    return Setting(name, group, Shape.DATE, parse, _nothing, "none", "YYYY-MM-DD", help, _render_date)


def patterns(name: str, group: Group, metavar: str, help: str, default_text: str) -> Setting[tuple[str, ...]]:
    """Return a repeatable setting of exact words or glob patterns; none means all."""

    def parse(given: tuple[str, ...]) -> tuple[str, ...]:
        if "" in given:
            raise UsageError("an empty pattern matches nothing", "leave it out to select everything")
        if not given:
            raise UsageError("the list is empty", "leave it out to select everything")
        return tuple(dict.fromkeys(given))

    return Setting(name, group, Shape.LIST, parse, lambda _environ: (), default_text, metavar, help, _render_words)


def file_names(name: str, group: Group, metavar: str, help: str, default: tuple[str, ...]) -> Setting[tuple[str, ...]]:
    """Return a setting of plain file names, separated by commas."""

    def parse(given: tuple[str, ...]) -> tuple[str, ...]:
        for word in given:
            if word in ("", ".", "..") or "/" in word or "\0" in word or len(os.fsencode(word)) > 255:
                raise UsageError(f"{escape_text(word)!r} is not a file name", "list plain names separated by commas")
        if not given:
            raise UsageError("the list is empty", "name at least one file")
        return tuple(dict.fromkeys(given))

    return Setting(
        name, group, Shape.COMMA_LIST, parse, lambda _environ: default, ",".join(default), metavar, help, _render_words
    )


_SWITCH_WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def _nothing(_environ: Mapping[str, str]) -> None:
    return None


def _parse_text(given: tuple[str, ...]) -> str:
    word = given[-1]
    if not word:
        raise UsageError("the value is empty", "give one, or leave it out for the default")
    if "\0" in word:
        raise UsageError("the value holds a NUL", "leave it out")
    return word


def _parse_path(given: tuple[str, ...]) -> Path:
    return Path(_parse_text(given))


def _render_optional(value: object) -> str:
    return "none" if value is None else str(value)


def _render_duration(value: object) -> str:
    return render_duration(value) if isinstance(value, float) else "none"


def _render_size(value: object) -> str:
    return render_size(value) if isinstance(value, int) else "none"


def _render_percentage(value: object) -> str:
    from fractions import Fraction

    from readyfs.percentage import render_percentage

    return render_percentage(value) if isinstance(value, Fraction) else "none"


def _render_switch(value: object) -> str:
    return "true" if value else "false"


def _render_mode(value: object) -> str:
    return f"{value:04o}" if isinstance(value, int) else "none"


def _render_date(value: object) -> str:
    return render_date(value).decode() if isinstance(value, int) else "none"


def _render_words(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) and value else "all"
