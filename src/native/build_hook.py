"""Compiles `readyfs._native` while a wheel is built or an editable installation is made (a hook of hatchling).

Where it cannot be compiled the package is built without it, and says why: readyfs then does everything in Python. The
variable READYFS_NATIVE chooses otherwise: `no` does not try, `require` fails where it cannot be compiled.
"""

from __future__ import annotations

import os
import runpy
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

# The hook is loaded by its path, with nothing beside it to import.
compiler = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("compiler.py"))))


class NativeBuildHook(BuildHookInterface[Any]):
    """Adds the compiled module to what is built, or why there is none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, in place for an editable installation, else for the wheel alone; called by hatchling."""
        wish = os.environ.get(compiler.WISH, "auto")
        if wish not in ("auto", "no", "require"):
            raise ValueError(f"{compiler.WISH}={wish} cannot be used; give auto, no or require")
        obstacle = compiler.compile_in_place() if version == "editable" else self._build(build_data)
        if obstacle is None:
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{_platform_tag()}"
        elif wish == "require":
            raise RuntimeError(f"readyfs._native cannot be compiled: {obstacle}")
        else:
            self.app.display_warning(f"readyfs is built without its compiled part: {obstacle}")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled, once it is in the wheel; called by hatchling."""
        if version != "editable":
            self._scratch.cleanup()

    def _build(self, build_data: dict[str, Any]) -> str | None:
        """Add the module to the wheel, or a file that says why there is none; return why."""
        self._scratch = tempfile.TemporaryDirectory(prefix="readyfs-native-")
        directory = Path(self._scratch.name)
        name = compiler.MODULE
        obstacle: str | None = compiler.compile_module(directory / name)
        if obstacle is not None:
            name = compiler.OBSTACLE
            (directory / name).write_text(f"{obstacle}\n", encoding="utf-8")
        build_data["force_include"][str(directory / name)] = f"readyfs/{name}"
        return obstacle


def _platform_tag() -> str:
    """Return the word for this machine's processor with its C library or a newer one, where there is such a word."""
    tags = list(platform_tags())
    return next((tag for tag in tags if tag.startswith(("manylinux", "musllinux"))), tags[0])
