"""axe-core, which looks through a page for what keeps people from reading it; npm fetches it."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from tests.page.tab import Tab

VERSION: Final = "4.14.1"
_SHA512: Final = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
"""As the registry states it; the tests run what they were written with, or nothing."""

_RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def fetch_axe(directory: Path) -> str:
    """Fetch axe-core into a directory and return its script."""
    command: list[str | Path] = ["npm", "pack", "--silent", "--cache", directory / "cache", f"axe-core@{VERSION}"]
    subprocess.run(command, cwd=directory, check=True, stdout=subprocess.DEVNULL, timeout=120)
    archive = directory / f"axe-core-{VERSION}.tgz"
    assert base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() == _SHA512
    with tarfile.open(archive) as opened:
        script = opened.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def violations(tab: Tab, axe: str) -> list[str]:
    """Return what axe-core finds wrong with what a tab shows, each with the elements that it is about."""
    if not tab.ask("'axe' in window"):
        # By the protocol, which the policy of the page does not bind.
        tab.call("Runtime.evaluate", expression=axe)
    found = tab.ask("(await axe.run(document, {runOnly: rules})).violations", rules=_RULES)
    return [
        f"{one['id']}: {one['help']}\n"
        + "\n".join(f"    {node['html']}\n    {node['failureSummary']}" for node in one["nodes"])
        for one in found
    ]
