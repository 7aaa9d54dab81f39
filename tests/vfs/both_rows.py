"""Both tables of rows: the one in Python, and the compiled one where there is a compiled module."""

from __future__ import annotations

import pytest

from readyfs.vfs.packed_rows import PackedRows, compiled_rows

needs_compiled = pytest.mark.skipif(compiled_rows is None, reason="readyfs was installed without its compiled part")
IMPLEMENTATIONS = [
    pytest.param(PackedRows, id="python"),
    pytest.param(compiled_rows, id="compiled", marks=needs_compiled),
]
