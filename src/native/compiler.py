"""Compiles the sources beside it into the module `readyfs._native`; needs nothing but Python's own library.

    python src/native/compiler.py           compile into src/readyfs, for a checkout that runs in place
    python src/native/compiler.py --check   compile into nothing, with every warning an error

READYFS_NATIVE=no compiles nothing. READYFS_NATIVE_CFLAGS adds flags of the compiler, after all others.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

WISH: Final = "READYFS_NATIVE"
MORE_FLAGS: Final = "READYFS_NATIVE_CFLAGS"
"""What the environment may say."""
MODULE: Final = "_native.abi3.so"
OBSTACLE: Final = "_native_obstacle.txt"
"""Stands in the module's place where it could not be compiled, and says why."""
NOT_WANTED: Final = f"{WISH}=no was set"
SOURCES: Final = Path(__file__).parent
PACKAGE: Final = SOURCES.parent / "readyfs"
COMPILE_S: Final = 300

_STABLE_ABI: Final = "0x030B0000"
"""Of Python 3.11, which later versions load too."""
_FLAGS: Final = (
    *("-std=c11", "-O2", "-g", "-fPIC", "-shared", "-pthread", "-fvisibility=hidden", "-D_FILE_OFFSET_BITS=64"),
    *("-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wvla"),
    # Some distributions' compilers define it themselves, and warn of a second definition.
    *("-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong", "-fstack-clash-protection"),
    *("-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"),
)
_STRICT: Final = ("-Werror", "-fanalyzer", "-Wno-analyzer-malloc-leak")
"""GCC's analyser loses sight of what hangs in a chain, and calls it leaked."""
_OTHER_COMPILERS: Final = ("cc", "gcc", "clang")


def compile_module(target: Path, *flags: str) -> str | None:
    """Compile all sources into `target` in one step; return in one line why that failed, None if it did not."""
    if os.environ.get(WISH) == "no":
        return NOT_WANTED
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} is not CPython"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this Python is free-threaded, which has no stable ABI"
    compiler = find_compiler()
    if compiler is None:
        return "there is no C compiler (gcc or clang)"
    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").exists():
        return f"the headers of this Python are missing ({headers}/Python.h)"
    with tempfile.TemporaryDirectory(prefix="readyfs-native-") as directory:
        built = Path(directory, MODULE)
        obstacle = _run(
            [
                *compiler,
                *_FLAGS,
                f"-DPy_LIMITED_API={_STABLE_ABI}",
                f"-I{headers}",
                # The same sources make the same module, wherever they lie.
                *(f"-ffile-prefix-map={path}={name}" for path, name in ((SOURCES, "native"), (headers, "python"))),
                *flags,
                *shlex.split(os.environ.get(MORE_FLAGS, "")),
                *sorted(path.name for path in SOURCES.glob("*.c")),
                *("-o", os.fspath(built)),
            ]
        )
        if obstacle is None:
            # In two steps: one that runs keeps the file that it has mapped, and nobody ever loads half of one.
            new = target.with_name(f"{target.name}.{os.getpid()}.new")
            shutil.copyfile(built, new)
            new.replace(target)
    return obstacle


def compile_in_place() -> str | None:
    """Compile into the checkout's own package; leave there the module, or why there is none, and nothing older."""
    obstacle = compile_module(PACKAGE / MODULE)
    if obstacle is None:
        (PACKAGE / OBSTACLE).unlink(missing_ok=True)
    else:
        (PACKAGE / MODULE).unlink(missing_ok=True)
        (PACKAGE / OBSTACLE).write_text(f"{obstacle}\n", encoding="utf-8")
    return obstacle


def find_compiler() -> list[str] | None:
    """Return the compiler that the environment names, else the one of this Python, else any."""
    named = os.environ.get("CC")
    if named:
        return shlex.split(named)
    words = shlex.split(sysconfig.get_config_var("CC") or "")
    if words and shutil.which(words[0]):
        return words
    return next(([name] for name in _OTHER_COMPILERS if shutil.which(name)), None)


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, cwd=SOURCES, capture_output=True, text=True, errors="replace", timeout=COMPILE_S, check=False
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end within {COMPILE_S} seconds"
    if done.returncode == 0:
        return None
    lines = done.stderr.splitlines() or ["without a word"]
    return f"{command[0]} failed: {next((line for line in lines if 'error' in line), lines[-1])}"


def main(arguments: list[str]) -> str | None:
    """Do what the command line says; return what went wrong."""
    match arguments:
        case []:
            obstacle = compile_in_place()
            return None if obstacle == NOT_WANTED else obstacle
        case ["--check"]:
            with tempfile.TemporaryDirectory(prefix="readyfs-native-") as directory:
                return compile_module(Path(directory, MODULE), *_STRICT)
        case _:
            return __doc__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
