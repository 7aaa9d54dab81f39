"""Runs the scripts of the page outside of a page."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ASSETS: Final = Path(__file__).parents[2] / "src/readyfs/page/assets"
TIMEOUT_S: Final = 60


def evaluate(scripts: Sequence[str], body: str, asked: object) -> Any:
    """Return what a body of JavaScript returns, which has the scripts before it and the value `asked`."""
    source = "".join((ASSETS / name).read_text() for name in scripts)
    program = f"""
    const asked = JSON.parse(require("fs").readFileSync(0, "utf-8"));
    const answer = (() => {{ "use strict"; {source}\n{body} }})();
    process.stdout.write(JSON.stringify(answer));
    """
    done = subprocess.run(
        ["node", "-e", program], input=json.dumps(asked), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
