"""Subjects for the doctor: a machine of files that a test writes, and what it is asked about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from readyfs.config.table import RAW_LAYOUT
from readyfs.doctor.finding import Finding, Verdict
from readyfs.doctor.state import look_at_state
from readyfs.doctor.subject import Places, Subject
from readyfs.fuse.engine_words import EngineWord, ReadsWord
from readyfs.layout import RawEncoding, RawLayout
from readyfs.state.filters import Filters
from readyfs.state.store import StateTable


def make_subject(**changes: Any) -> Subject:
    """Return a subject that names nothing, some of its fields changed; `state` is a state store's URL."""
    state = changes.pop("state", None)
    values: dict[str, Any] = {
        "mountpoint": None,
        "find_state": None if state is None else lambda: str(state),
        "check_settings": None,
        "raw": None,
        "table": StateTable(),
        "filters": Filters(),
        "raw_layout": RawLayout.parse(RAW_LAYOUT.default({}), RawEncoding.VERBATIM),
        "required_files": ("payload.jsonl", "metadata.json"),
        "state_timeout_s": 8.0,
        "interval_s": 10.0,
        "engine": EngineWord.AUTO,
        "reads": ReadsWord.AUTO,
        "allow_other": True,
        "runtime_dir": Path("/nonexistent"),
        "reserved": (),
        "places": Places(),
    }
    return Subject(**{**values, **changes})


class Plain(Subject):
    """A subject whose process has no capability."""

    @property
    def privileged(self) -> bool:
        return False


def as_plain_user(**changes: Any) -> Subject:
    """Return a subject as `make_subject` does, seen by a process without CAP_SYS_ADMIN."""
    subject = make_subject(**{"allow_other": False, **changes})
    return Plain(**{name: getattr(subject, name) for name in Subject.__dataclass_fields__})


def verdicts(findings: Iterator[Finding]) -> dict[str, str]:
    """Return the verdicts by what they are about; of several on one thing the gravest."""
    order = list(Verdict)
    found: dict[str, str] = {}
    for one in findings:
        found[one.name] = max(found.get(one.name, "ok"), one.verdict, key=lambda word: order.index(Verdict(word)))
    return found


def looked_at(state: Path | str) -> dict[str, str]:
    """Return the verdicts on a state store."""
    return verdicts(look_at_state(make_subject(state=state)))


def the(name: str, findings: Iterator[Finding]) -> Finding:
    """Return the one finding on a thing."""
    (found,) = [one for one in findings if one.name == name]
    return found
