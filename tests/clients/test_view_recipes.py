"""The recipes for views and manifests as they stand in the documents, while everything flips: the sum of one moment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.clients.flips import STEPS, Flips, flipping, truth_at
from tests.clients.tool_planners import records_below
from tests.docs.test_docs import headings, section
from tests.fuse.direct.raw_mounts import on_tmpfs

VIEWS: Final = ("docs/clients.md", "Plan and read on a view", "over a view")
MANIFESTS: Final = ("docs/manifests.md", "Programs that take a list", "by a manifest")
"""Where the recipes of each kind are, and how their headings end."""
IN_PYTHON: Final = ("DuckDB", "Polars", "pyarrow")
IN_A_SHELL: Final = ("rsync", "tar", "overlayfs")
IN_SPARK: Final = ("Spark",)
IN_LARGE_PYTHON: Final = ("pandas", "ClickHouse", "DataFusion", "daft", "dask", "Hugging Face datasets")
IN_A_LARGE_SHELL: Final = ("rclone",)
LISTED_IN_A_SHELL: Final = ("rsync", "tar", "xargs")
TOTALS: Final = frozenset(sum(row.clicks for row in truth_at(step)) for step in range(STEPS))
SOURCE: Final = Path(__file__).parents[2] / "src"
_PATH: Final = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
"""Where the command is found, too."""


def blocks(language: str, client: str, kind: tuple[str, str, str] = VIEWS) -> list[str]:
    """Return the blocks of code of one client."""
    page, _, ending = kind
    return blocks_in(language, section(page, f"{client} {ending}"))


def blocks_in(language: str, text: str) -> list[str]:
    """Return the blocks of code of a text."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def each_block(clients: Sequence[str], kind: tuple[str, str, str] = VIEWS) -> list[object]:
    """Return the blocks of Python of some clients, with their names."""
    return [
        pytest.param(block, id=f"{client} {kind[2]}-{number}")
        for client in clients
        for number, block in enumerate(blocks("python", client, kind))
    ]


def at(flips: Flips, block: str) -> str:
    """Return a block with the places of a test."""
    for layout, daemon in flips.mounts.items():
        block = block.replace({"plain": "/mnt/ready", "hive": "/mnt/hive"}[layout], str(daemon.path))
    return block


@pytest.fixture(scope="module")
def flips(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flips]:
    """On one engine: what holds of the others is in `test_views`."""
    with flipping(tmp_path_factory.mktemp("flips"), "passthrough") as found, found.going_on():
        yield found


def test_every_recipe_is_run() -> None:
    run = (*IN_PYTHON, *IN_A_SHELL, *IN_SPARK, *IN_LARGE_PYTHON, *IN_A_LARGE_SHELL)
    for (page, title, ending), clients in (
        (VIEWS, run),
        (MANIFESTS, (*IN_PYTHON, *LISTED_IN_A_SHELL, *IN_SPARK)),
    ):
        assert sorted(headings(section(page, title), 3)) == sorted(f"{client} {ending}" for client in clients)
    assert len(TOTALS) == STEPS


@pytest.mark.parametrize("block", [*each_block(IN_PYTHON), *each_block(IN_PYTHON, MANIFESTS)])
def test_python_recipe_finds_one_moment(flips: Flips, block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", _PATH)
    names: dict[str, object] = {}
    exec(at(flips, block), names)
    assert names["total"] in TOTALS


@pytest.mark.clients
@pytest.mark.parametrize("block", each_block(IN_LARGE_PYTHON))
def test_recipe_of_a_large_client_finds_one_moment(flips: Flips, large_python: Path, block: str) -> None:
    assert total_of(large_python, at(flips, block), HF_HOME=str(flips.mounts["plain"].place.base / "cache")) in TOTALS


def total_of(python: Path, block: str, **variables: str) -> int:
    """Run a block in another environment, and return the total that it finds."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **variables}
    command = [str(python), "-c", f"{block}\nprint(total)"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    return int(done.stdout.splitlines()[-1])


IN_SHELLS: Final = [
    *((client, VIEWS) for client in IN_A_SHELL),
    *(pytest.param(client, VIEWS, marks=pytest.mark.clients) for client in IN_A_LARGE_SHELL),
    *((client, MANIFESTS) for client in LISTED_IN_A_SHELL),
]


@pytest.mark.parametrize(("client", "kind"), IN_SHELLS)
def test_shell_recipe_has_one_moment(flips: Flips, tmp_path: Path, client: str, kind: tuple[str, str, str]) -> None:
    """What a recipe does afterwards stands in blocks of their own."""
    first, *afterwards = blocks("sh", client, kind)
    copy, scratch = tmp_path / "copy", tmp_path / "scratch"
    copy.mkdir()

    def follow(block: str) -> None:
        line = at(flips, block).replace("/srv/copy", str(copy)).replace("/srv/scratch", str(scratch))
        environment = {**os.environ, "PATH": _PATH, "RCLONE_CONFIG": "/dev/null"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line], env=environment, stderr=subprocess.PIPE, timeout=60, check=False
        )
        assert (done.returncode, done.stderr.decode()) == (0, "")

    with on_tmpfs(scratch):
        (scratch / "upper").mkdir()
        (scratch / "index").mkdir()
        try:
            follow(first)
            assert sum(row.clicks for row in records_below(copy)) in TOTALS
        finally:
            for block in afterwards:
                follow(block)
