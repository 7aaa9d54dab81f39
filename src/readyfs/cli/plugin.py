"""Whether a command line asks for a monitoring plugin, and the exit codes of these; known before it is parsed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from itertools import pairwise, takewhile
from typing import Final

PLUGIN: Final = "gaps"
"""The command that is a plugin where it is asked to be."""


class PluginState(IntEnum):
    """The exit codes of monitoring plugins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


def wants_plugin(arguments: Sequence[str]) -> bool:
    """Tell whether a command line asks for the form of a plugin, however wrong the rest of it is.

    Only one command has it. What follows `--` is a command of the user's own.
    """
    own = list(takewhile(lambda word: word != "--", arguments))
    if next((word for word in own if not word.startswith("-")), None) != PLUGIN:
        return False
    return "--format=nagios" in own or ("--format", "nagios") in pairwise(own)
