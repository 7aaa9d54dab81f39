"""The protocol is spoken without I/O: what only packs and decides imports nothing that reads, waits or starts."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

from readyfs.fuse import direct

WITHOUT_IO: Final = ("negotiation", "protocol", "replies")
IO: Final = {"fcntl", "io", "mmap", "os", "pathlib", "select", "socket", "subprocess", "threading", "time", "trio"}
ROOM: Final = f"{direct.__name__}."


def imports(module: str) -> set[str]:
    tree = ast.parse(Path(direct.__path__[0], f"{module}.py").read_text())
    plain = {one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names}
    return plain | {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("module", WITHOUT_IO)
def test_module_imports_nothing_that_does_io(module: str) -> None:
    imported = imports(module)
    assert {name.partition(".")[0] for name in imported} & IO == set()
    assert {name for name in imported if name.startswith(ROOM)} <= {ROOM + other for other in WITHOUT_IO}
