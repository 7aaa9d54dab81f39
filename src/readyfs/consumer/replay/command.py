"""The command of a replay: the words that each partition's process is started with, and its environment.

No shell comes between, so that no id can become a part of a program.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from readyfs.consumer.replay.plan import Target
from readyfs.errors import UsageError
from readyfs.partition import render_date
from readyfs.text import escape_text

PLACEHOLDERS: Final = ("path", "run_id", "date", "customer", "query", "source")
VARIABLE_PREFIX: Final = "REPLAY_"
"""Not `READYFS_`: these would be settings of whatever command of ours the process starts."""
_PLACEHOLDER: Final = re.compile(rb"\{\{([a-z_]+)\}\}|\{([a-z_]+)\}")
_SHELLS: Final = frozenset({"ash", "bash", "dash", "fish", "ksh", "sh", "zsh"})


class Command:
    """A command with placeholders; `path_of` tells where a partition's files lie."""

    def __init__(self, words: Sequence[str], path_of: Callable[[Target], bytes]) -> None:
        """Take words that `check_words` found fit to be run."""
        self._words = tuple(os.fsencode(word) for word in words)
        self.path_of = path_of

    def words_for(self, target: Target) -> tuple[bytes, ...]:
        """Return the words for one partition."""
        values = self._values(target)

        def fill(match: re.Match[bytes]) -> bytes:
            literal, name = match.groups()
            return b"{" + literal + b"}" if name is None else values[name.decode()]

        return tuple(_PLACEHOLDER.sub(fill, word) for word in self._words)

    def environment_for(self, target: Target, environment: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """Return an environment with the variables of one partition."""
        added = {os.fsencode(VARIABLE_PREFIX + name.upper()): value for name, value in self._values(target).items()}
        return {**environment, **added}

    def _values(self, target: Target) -> dict[str, bytes]:
        source, customer, query = target.key.series
        found = (self.path_of(target), target.run_id, render_date(target.key.date), customer, query, source)
        return dict(zip(PLACEHOLDERS, found, strict=True))


def check_words(words: Sequence[str]) -> None:
    """Raise `UsageError` if words are no command: for a placeholder or a program that there is not, for one."""
    if not words or not words[0]:
        raise UsageError("no command is given", "name one behind `--`, such as `-- load {path}`")
    for word in words:
        _check_placeholders(os.fsencode(word))
    _refuse_script(words)
    if _PLACEHOLDER.search(os.fsencode(words[0])) is None and shutil.which(words[0]) is None:
        raise UsageError(f"there is no program {escape_text(words[0])}", "name one that can be started")


def _check_placeholders(word: bytes) -> None:
    for literal, name in _PLACEHOLDER.findall(word):
        if not literal and name.decode() not in PLACEHOLDERS:
            shown = name.decode()
            known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            raise UsageError(
                f"there is no placeholder {{{shown}}}",
                f"use {known}, or write {{{{{shown}}}}} for the same word in braces",
            )


def _refuse_script(words: Sequence[str]) -> None:
    """Refuse placeholders in a shell's script: an id could be a part of the program there."""
    if os.path.basename(words[0]) not in _SHELLS:  # noqa: PTH119 - it is a word, and a path only perhaps
        return
    for flag, script in pairwise(words):
        if re.fullmatch(r"-[a-z]*c", flag) and any(name for _, name in _PLACEHOLDER.findall(os.fsencode(script))):
            raise UsageError(
                "a placeholder stands in the script of a shell, where an id could be a command",
                f'use the variables there, such as "${VARIABLE_PREFIX}PATH"',
            )
