"""A daemon whose compiled loop answers each request otherwise than it should.

python tests/fuse/direct/lying_loop.py PYTHON -m readyfs ... is that command with the fault in it.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[3])

from readyfs.fuse.direct.native_loop import NativeLoop


def main() -> None:
    honest = NativeLoop.__init__

    def lie(loop: Any, *arguments: Any, **others: Any) -> None:
        honest(loop, *arguments, **others)
        answer = loop.answer

        def lying(request: bytes) -> bytes | None:
            found: bytes | None = answer(request)
            return None if found is None else found[:-1] + bytes([found[-1] ^ 1])

        loop.answer = lying

    NativeLoop.__init__ = lie  # type: ignore[method-assign,assignment]
    _, _, _, module, *sys.argv[1:] = sys.argv
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
