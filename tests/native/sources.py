"""Copies of the sources of the compiled module, with a package of their own, that a test may change and compile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[2]
MODULE: Final = "_native.abi3.so"
OBSTACLE: Final = "_native_obstacle.txt"

_SMALL_MODULE: Final = """\
#include <Python.h>
static int execute(PyObject *module) { return PyModule_AddIntConstant(module, "INTERFACE", %d); }
static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_native", .m_slots = slots};
PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
"""


def copy_sources(directory: Path) -> Path:
    """Copy what compiling needs below a directory; return the folder of the sources."""
    sources = directory / "src/native"
    shutil.copytree(PROJECT / "src/native", sources, ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "src/readyfs").mkdir()
    return sources


def small_sources(directory: Path, interface: int = 1) -> Path:
    """Do the same with a small module in place of ours, which compiles in no time."""
    sources = copy_sources(directory)
    for path in sources.glob("*.[ch]"):
        path.unlink()
    (sources / "module.c").write_text(_SMALL_MODULE % interface, encoding="utf-8")
    return sources


def copy_package(directory: Path) -> Path:
    """Copy the program without its compiled part below a directory that may be put on PYTHONPATH; return its folder."""
    left_out = shutil.ignore_patterns(MODULE, OBSTACLE)
    return shutil.copytree(PROJECT / "src/readyfs", directory / "readyfs", ignore=left_out)


def compile_in_place(sources: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the compiler's script as a developer does."""
    environment = {name: value for name, value in os.environ.items() if name not in ("CC", "READYFS_NATIVE")}
    return subprocess.run(
        [sys.executable, sources / "compiler.py"],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
