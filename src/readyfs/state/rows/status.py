"""What a status cell says, whatever its type: the words by which it is compared with the ready one.

The database judges first. Here its verdict is repeated exactly, because a collation may take other words for the same.
"""

from __future__ import annotations

from readyfs.state.rows.values import BadValueError, parse_id, parse_truth


def number_of_truth(word: str) -> str:
    """Return `1` or `0` for a word that says so of a boolean, in any case of letters; any other word as it is."""
    truth = parse_truth(word)
    return word if truth is None else str(int(truth))


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
