"""Fuzzes the compiled module until a time is over, or one episode again that went wrong.

    python -m tests.native.fuzz --seconds 3600                          build with checks, and fuzz
    python -m tests.native.fuzz --target requests --seed 7 --episode 12   do the same once more

Ends with 0 if no difference was found, with 1 and the lines to repeat it if one was. A crash is of the child that runs
the episodes; its parent names the episode, and what was tried last.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random, SystemRandom
from types import ModuleType
from typing import Final

import structlog

from tests.native.fuzz import sanitized
from tests.native.fuzz.target import COUNTS, JOURNAL, Journal, Target

TARGETS: Final = ("requests", "rows", "look", "pack")


def main() -> int:
    """Build the module and run episodes in a child, or be that child."""
    parser = argparse.ArgumentParser(description="Fuzz the compiled module.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how much processor time")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--target", choices=TARGETS, action="append")
    parser.add_argument("--episode", type=int, default=None, help="only this one")
    parser.add_argument("--directory", type=Path, default=None, help="where to leave the journal and counts")
    parser.add_argument("--stop", type=Path, default=None, help="end early once this file is there")
    parser.add_argument("--while", dest="watched", type=int, default=None, help="end early once this process is gone")
    parser.add_argument("--module", type=Path, default=None, help="the module, built already: be the child")
    words = parser.parse_args()
    words.seed = SystemRandom().randrange(1 << 32) if words.seed is None else words.seed
    if words.module is not None:
        return _fuzz(words)
    with tempfile.TemporaryDirectory(prefix="readyfs-fuzz-") as scratch:
        directory = words.directory or Path(scratch)
        module = sanitized.build(Path(scratch))
        arguments = [*sys.argv[1:], "--seed", str(words.seed), "--directory", str(directory)]
        done = subprocess.run(sanitized.command(module, *arguments), env=sanitized.environment(), check=False)
        if done.returncode not in (0, 1):
            print(f"the child ended with {done.returncode}; it tried: {Journal.read(directory / JOURNAL)}")
        return 1 if done.returncode else 0


def _fuzz(words: argparse.Namespace) -> int:
    module = _load(words.module)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    targets = _targets()
    journal = Journal(words.directory / JOURNAL)
    counts: Counter[str] = Counter()
    episodes = itertools.count() if words.episode is None else (words.episode,)
    until_s = time.process_time() + words.seconds
    for episode in episodes:
        for name in words.target or TARGETS:
            again = f"--target {name} --seed {words.seed} --episode {episode}"
            with tempfile.TemporaryDirectory(prefix="readyfs-fuzz-") as base:
                try:
                    for _ in targets[name](module, Random(f"{words.seed} {name} {episode}"), Path(base), journal):
                        counts[name] += 1
                        if counts[name] % 64 == 0 and _is_over(words, until_s):
                            break
                except Exception:  # noqa: BLE001  # whatever it was is what we look for
                    traceback.print_exc()
                    print(f"tried last: {Journal.read(words.directory / JOURNAL)[:3000]}")
                    print(f"again: python -m tests.native.fuzz {again}", flush=True)
                    return 1
            _write(words.directory / COUNTS, json.dumps(counts))
            if _is_over(words, until_s):
                print(f"seed {words.seed}: {dict(counts)}")
                return 0
    return 0


def _write(path: Path, text: str) -> None:
    """Write a file whole, whoever reads it meanwhile."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _is_over(words: argparse.Namespace, until_s: float) -> bool:
    if words.episode is not None:
        return False
    if words.watched is not None and not Path(f"/proc/{words.watched}").exists():
        return True
    return time.process_time() > until_s or (words.stop is not None and words.stop.exists())


def _load(path: Path) -> ModuleType:
    """Load the module under its own name, before anything of readyfs is imported."""
    spec = importlib.util.spec_from_file_location("readyfs._native", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["readyfs._native"] = module
    return module


def _targets() -> dict[str, Target]:
    from tests.native.fuzz.look_target import look
    from tests.native.fuzz.pack_target import pack
    from tests.native.fuzz.requests_target import requests
    from tests.native.fuzz.rows_target import rows

    return {"requests": requests, "rows": rows, "look": look, "pack": pack}


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
