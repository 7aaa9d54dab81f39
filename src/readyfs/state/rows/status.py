"""What a status cell says, whatever its type: the words by which it is compared with the ready one.

The database judges first. Here its verdict is repeated exactly, because a collation may take other words for the same.
"""

from __future__ import annotations

from typing import Final

from readyfs.state.rows.values import BadValueError, parse_id

TRUTHS: Final = {"true": "1", "false": "0"}
"""Words for what a column without a type of its own for it holds as a number."""
_TRUTHS: Final = {word.encode(): number.encode() for word, number in TRUTHS.items()}


def says_ready(status: object, ready: bytes) -> bool:
    """Tell whether a status cell is the ready word: text letter by letter, numbers and truths by their usual words."""
    match status:
        case bool():
            return _TRUTHS.get(ready, ready) == (b"1" if status else b"0")
        case int():
            return _TRUTHS.get(ready, ready) == b"%d" % status
        case float():
            # Without digits that are rounding; a whole number is also written with `.0`.
            wanted = _TRUTHS.get(ready, ready)
            return b"%.15g" % status in (wanted, wanted.removesuffix(b".0"), wanted.replace(b".0e", b"e"))
    try:
        word = parse_id(status)
    except BadValueError:
        return False
    # Servers give CHAR(n) with the blanks that fill it up; SQLite, whose text comes as bytes, has no such type.
    return word == ready or (isinstance(status, str) and word.rstrip(b" ") == ready)
