"""What a status cell says, whatever its type: the words by which it is compared with the ready one.

The database judges first. Here its verdict is repeated exactly, because a collation may take other words for the same.
"""

from __future__ import annotations

from typing import Final

from readyfs.state.rows.values import BadValueError, parse_id

_TRUTHS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), "1"),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), "0"),
}


def number_of_truth(word: str) -> str:
    """Return `1` or `0` for a word that says so of a boolean, in any case of letters; any other word as it is."""
    return _TRUTHS.get(word.casefold(), word)


def says_ready(status: object, ready: bytes) -> bool:
    """Tell whether a status cell is the ready word: text letter by letter, numbers and truths by their usual words."""
    match status:
        case bool() | int() | float():
            wanted = number_of_truth(ready.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            if isinstance(status, int):
                return wanted == b"%d" % status
            # Without digits that are rounding; a whole number is also written with `.0`.
            return b"%.15g" % status in (wanted, wanted.removesuffix(b".0"), wanted.replace(b".0e", b"e"))
    try:
        word = parse_id(status)
    except BadValueError:
        return False
    # Servers give CHAR(n) with the blanks that fill it up; SQLite, whose text comes as bytes, has no such type.
    return word == ready or (isinstance(status, str) and word.rstrip(b" ") == ready)
