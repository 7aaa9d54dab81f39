"""What a check says: a verdict, one sentence and, where something can be done, the line that does it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from readyfs.errors import UserError
from readyfs.text import escape_text


class Verdict(StrEnum):
    """How a check ended, the best first."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


class Group(StrEnum):
    """What checks are about; the headings of the report, in its order."""

    MACHINE = "machine"
    MOUNTS = "mounts"
    SETTINGS = "settings"
    STATE = "state store"
    RAW = "raw store"
    PINS = "pin store"


@dataclass(frozen=True, slots=True)
class Finding:
    """One verdict on the thing `name`; `remedy` is a line to paste or to follow, empty if none is needed."""

    name: str
    verdict: Verdict
    summary: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at. `look` yields what it finds, as it finds it; it runs in a process of its own.

    `tidy` is called in the doctor's own process when that one is gone, whatever became of it.
    """

    group: Group
    name: str
    look: Callable[[], Iterator[Finding]]
    tidy: Callable[[], None] | None = None


def good(name: str, summary: str) -> Finding:
    """Return what needs no attention."""
    return Finding(name, Verdict.OK, summary)


def note(name: str, summary: str, remedy: str = "") -> Finding:
    """Return what is worth knowing and may well be meant so."""
    return Finding(name, Verdict.NOTE, summary, remedy)


def warning(name: str, summary: str, remedy: str) -> Finding:
    """Return what works for now, or for some."""
    return Finding(name, Verdict.WARNING, summary, remedy)


def problem(name: str, summary: str, remedy: str) -> Finding:
    """Return what does not work."""
    return Finding(name, Verdict.PROBLEM, summary, remedy)


def refused(name: str, error: UserError) -> Finding:
    """Return what a mount would end with."""
    return problem(name, error.message, error.remedy)


def show(path: Path) -> str:
    """Return a path for a sentence."""
    return escape_text(os.fsencode(path))


def quote(path: Path | str) -> str:
    """Return a path as one word for a shell."""
    return escape_text(os.fsencode(shlex.quote(os.fspath(path))))
