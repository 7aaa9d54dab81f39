"""The clients of `plan_large` as planners: a process of the large environment for each."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

from tests.clients import plan_large
from tests.clients.flips import Row
from tests.clients.planners import CLICKS, Found, Planner


class ClientFailed(Exception):
    """A client could not plan or read."""


@contextmanager
def large_planner(name: str, python: Path, log: Path, **variables: str) -> Iterator[Planner]:
    """Start one client, with more variables in its environment; `log` gets what it complains about."""
    command = [str(python), plan_large.__file__, name]
    with (
        log.open("w+b") as errors,
        subprocess.Popen(
            command,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as client,
    ):
        assert client.stdin is not None and client.stdout is not None
        words, answers = client.stdin, client.stdout

        def ask(word: str) -> Any:
            try:
                words.write(f"{word}\n")
                words.flush()
            except BrokenPipeError:
                pass  # what it said is in the log
            line = answers.readline()
            if not line:
                raise ClientFailed(log.read_text("utf-8", "replace").strip().rpartition("\n")[2])
            answer = json.loads(line)
            if isinstance(answer, dict):
                raise ClientFailed(answer["error"])
            return answer

        def plan(top: Path) -> Callable[[], Found]:
            ask(str(top))
            return lambda: cast(Found, ask(""))

        takes_all = name in plan_large.ALL_COLUMNS
        try:
            yield Planner(name, plan, Row._fields if takes_all else CLICKS, "hive" if takes_all else "plain")
        finally:
            try:
                words.close()
            except BrokenPipeError:
                pass  # see above
            client.wait(30)


NAMES: Final = tuple(plan_large.CLIENTS)
