"""The catalogs of before: which moments are kept, on disk and in memory; enter at `history`.

`moments` says what stays, `times` reads the names of moments. On disk a history is a directory of segments: each begins
with a whole catalog and goes on with differences (`directory`, `segment`, `packing`, `changes`); `replay` turns them
back into catalogs, and `writer` appends what is new, off the refresh.
"""
