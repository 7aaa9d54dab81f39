"""Compiles `readyfs._native` while a wheel is built or an editable installation is made (a hook of hatchling).

Without a C compiler the package is built without it, and says so: readyfs then does everything in Python. The variable
READYFS_NATIVE chooses otherwise: `no` does not try, `require` fails where it cannot be compiled.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE: Final = "_native.abi3.so"
STABLE_ABI: Final = "0x030B0000"
"""Of Python 3.11, which later versions load too."""
FLAGS: Final = ("-std=c11", "-O2", "-g", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra")


class CustomBuildHook(BuildHookInterface[Any]):  # type: ignore[misc]  # hatchling is not there to be checked
    """Adds the compiled module to what is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, in place for an editable installation, else for the wheel alone; called by hatchling."""
        if self.target_name != "wheel":
            return
        wish = os.environ.get("READYFS_NATIVE", "")
        in_place = Path(self.root, "src/readyfs", MODULE)
        built = in_place if version == "editable" else Path(tempfile.mkdtemp(), MODULE)
        obstacle = "READYFS_NATIVE=no" if wish == "no" else compile_module(Path(self.root, "src/native"), built)
        if obstacle is not None:
            if wish == "require":
                raise RuntimeError(f"readyfs._native cannot be compiled: {obstacle}")
            self.app.display_warning(f"readyfs is built without its compiled part: {obstacle}")
            if version == "editable":
                in_place.unlink(missing_ok=True)
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        if version != "editable":
            build_data["force_include"][str(built)] = f"readyfs/{MODULE}"


def compile_module(sources: Path, target: Path) -> str | None:
    """Compile all sources into one module; return why that failed, None if it did not."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this Python is free-threaded, which has no stable ABI"
    new = target.with_suffix(".new")
    command = [
        *(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split(),
        *FLAGS,
        f"-DPy_LIMITED_API={STABLE_ABI}",
        f"-I{sysconfig.get_path('include')}",
        *os.environ.get("READYFS_NATIVE_CFLAGS", "").split(),
        *map(str, sorted(sources.glob("*.c"))),
        *("-o", str(new)),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    except subprocess.CalledProcessError as error:
        return f"{command[0]} failed:\n{error.stderr[-2000:]}"
    new.replace(target)
    return None


if __name__ == "__main__":
    here = Path(__file__).parent
    sys.exit(compile_module(here, here.parent / "readyfs" / MODULE))
