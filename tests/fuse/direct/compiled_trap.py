"""A daemon that ends with TRAPPED as soon as it uses anything of the compiled module.

python tests/fuse/direct/compiled_trap.py PYTHON -m readyfs ... is that command with the trap in it.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[3])

from readyfs import native

TRAPPED = 99


def main() -> None:
    def trap(*arguments: Any, **others: Any) -> None:
        os._exit(TRAPPED)

    found = vars(native.module)
    native.module = SimpleNamespace(**{name: trap if callable(one) else one for name, one in found.items()})  # type: ignore[assignment]
    _, _, _, module, *sys.argv[1:] = sys.argv
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
