"""The condition of a status in SQLite, where a comparison depends on how the column was declared.

A value keeps its storage class whatever column it is in, and a view or an expression shows it without the affinity that
the table's column has (sqlite.org/datatype3.html, sections 3 and 4.2). So `status = '1'` finds the number 1 in a table
and not in a view of it. Here the storage class decides: text letter by letter, a blob by its bytes, numbers as they are
written, 1 and 0 also by the words for booleans, as which SQLite has them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, TypeAlias

from readyfs.state.rows.status import number_of_truth
from readyfs.state.sqlite.names import quote

Condition: TypeAlias = tuple[str, tuple[object, ...]]
"""SQL with the parameters for its question marks."""

_SAYS: Final = (
    # What is usual comes first, since every row of a table is judged. As text a number with a fraction always has a
    # decimal point, be it `1.0`. The text of a blob says otherwise only in a database of another encoding than UTF-8.
    "(CAST({0} AS TEXT) COLLATE BINARY = ?"
    " OR typeof({0}) IN ('integer', 'real')"
    " AND (CAST({0} AS TEXT) COLLATE BINARY = ? OR printf('%.15g', {0}) = ?)"
    " OR typeof({0}) = 'blob' AND {0} = ?)"
)


def is_word(column: str, word: str) -> Condition:
    """Return the condition that a status says a word, for which an index of the status serves."""
    # Whatever affinity the column has, it turns one of these into what it holds; what is found too much is judged next.
    candidates = [one for one in (word, _encode(word), _parse_number(number_of_truth(word))) if one is not None]
    likely = " OR ".join(f"{quote(column)} = ?" for _ in candidates)
    sql, parameters = says_word(column, word)
    return f"(({likely}) AND {sql})", (*candidates, *parameters)


def says_word(column: str, word: str) -> Condition:
    """Return the same condition for a scan, which no index shall tempt away."""
    number = number_of_truth(word)
    return _SAYS.format(quote(column)), (word, number, number, _encode(word))


def _encode(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")


def _parse_number(word: str) -> int | float | None:
    """Return the number that a word writes, None if it writes none that SQLite can hold."""
    with suppress(ValueError, OverflowError):
        number = int(word)
        return number if -(2**63) <= number < 2**63 else float(number)
    with suppress(ValueError):
        return float(word)
    return None
