"""Rows, whatever database they are from: judged value by value, parsed, and compared with those remembered.

`values` judges one cell and `parser` one row. `columns` is the quick way for a whole chunk, `comparison` finds what
differs from the load before. `fetch`, `records` and `vocabulary` keep rows small on the way.
"""
