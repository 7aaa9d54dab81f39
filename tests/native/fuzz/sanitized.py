"""The compiled module with checks of addresses and of undefined behaviour, and the environment that it runs in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from native import compiler

PROJECT: Final = Path(__file__).parents[3]

_FLAGS: Final = (
    *("-O1", "-fno-omit-frame-pointer", "-U_FORTIFY_SOURCE", "-fno-sanitize-recover=all"),
    "-fsanitize=address,undefined",
)

_ASAN_OPTIONS: Final = (
    *("abort_on_error=1", "detect_leaks=0", "quarantine_size_mb=16"),
    # Whoever asks for too much gets an answer, and no end of the process.
    *("allocator_may_return_null=1", "max_allocation_size_mb=64"),
)


def build(directory: Path) -> Path:
    """Compile the module with its checks into a directory; return its path."""
    module = directory / compiler.MODULE
    obstacle = compiler.compile_module(module, *_FLAGS)
    if obstacle is not None:
        raise RuntimeError(obstacle)
    return module


def paths() -> dict[str, str]:
    """Return the variables under which this checkout's own program and tests are imported."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT / "src"), str(PROJECT)])}


def environment() -> dict[str, str]:
    """Return the variables under which such a module works in an ordinary Python.

    Each object of Python is a block of its own, so that a stale reference is found as well. What is freed waits only
    for a little while before it is used again, which keeps memory small.
    """
    compiler_words = compiler.find_compiler()
    assert compiler_words is not None
    found = subprocess.run(
        [*compiler_words, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True, timeout=30
    )
    return {
        **paths(),
        "PYTHONMALLOC": "malloc",
        "LD_PRELOAD": found.stdout.strip(),
        "ASAN_OPTIONS": ":".join(_ASAN_OPTIONS),
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }


def command(module: Path, *arguments: str) -> list[str]:
    """Return the command line that fuzzes such a module; see `tests.native.fuzz.__main__`."""
    return [sys.executable, "-m", "tests.native.fuzz", "--module", str(module), *arguments]
