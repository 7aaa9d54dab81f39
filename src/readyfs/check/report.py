"""What a check says in the end: one document, and a table of the same for people.

The names in the document are read by schedulers: they stay as they are. `docs/check.md` explains each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from readyfs.check.findings import Example, Found, Group, Kind, Tally
from readyfs.errors import ExitCode
from readyfs.partition import WithheldReason, WithheldTally


class Ending(StrEnum):
    """How a check ended."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    RAW_TIMEOUT = "raw_timeout"


MEANINGS: Final[dict[str, str]] = {
    Kind.RUN_MISSING: "the run's directory is not there",
    Kind.RUN_UNREADABLE: "the run's directory cannot be listed, or is none",
    Kind.FILE_MISSING: "a required file is not there: the run is not sealed",
    Kind.FILE_NOT_REGULAR: "a link, directory, fifo, socket or device stands where a file must be",
    Kind.FILE_UNREADABLE: "a file cannot be opened or read",
    Kind.RAW_TIMEOUT: "the raw store did not answer within --raw-timeout",
    Kind.METADATA_INVALID: "the metadata are no JSON object",
    Kind.METADATA_MISMATCH: "the metadata are not those of the row",
    Kind.COUNT_MISMATCH: "the payload holds another number of records",
    WithheldReason.NO_RUN_ID: "the row is ready and names no run",
    WithheldReason.BAD_ROW: "a value of the row cannot be parsed",
    WithheldReason.UNUSABLE_NAME: "a value makes no name below a mount point",
    WithheldReason.UNUSABLE_RAW_PATH: "a value makes no path below the raw root",
    WithheldReason.AMBIGUOUS_PATH: "more than one ready row claims the path",
}
"""What each kind means, in the order of a report."""

_CONSEQUENCES: Final = {
    Group.BROKEN: "listed, and EIO at open",
    Group.MISMATCHED: "served as it is",
    Group.WITHHELD: "not served",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What was checked; both labels are without secrets."""

    state: str
    raw: str
    deep: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check; `partitions` are ready, `checked` of them were dealt with.

    `indistinguishable` are those with runs that size and second of mtime do not tell apart, None if it is not known.
    """

    subject: Subject
    ending: Ending
    partitions: int
    checked: int
    tally: Tally
    indistinguishable: int | None
    withheld: WithheldTally
    seconds: float
    limit: int

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command, unless it was interrupted."""
        if self.ending is Ending.RAW_TIMEOUT:
            return ExitCode.RAW
        return ExitCode.FOUND if self.tally.by_kind or self.withheld.total() else ExitCode.OK

    def document(self) -> dict[str, object]:
        """Return the report for JSON."""
        return {
            "ending": self.ending.value,
            "state": self.subject.state,
            "raw": self.subject.raw,
            "deep": self.subject.deep,
            "partitions": self.partitions,
            "checked": self.checked,
            "broken": self.tally.broken,
            "mismatched": self.tally.mismatched,
            "withheld": self.withheld.total(),
            "indistinguishable": self.indistinguishable,
            "seconds": round(self.seconds, 3),
            "findings": [_describe(*entry) for entry in self._entries()],
        }

    def table(self) -> str:
        """Return the report for people."""
        lines = [self._summary()]
        entries = list(self._entries())
        if not entries:
            return lines[0]
        width = max(len(kind) for kind, _, _ in entries)
        digits = max(len(f"{found.count:,}") for _, _, found in entries)
        for group in Group:
            of_group = [(kind, found) for kind, one, found in entries if one is group]
            if of_group:
                lines += ["", f"{group.value} ({_CONSEQUENCES[group]})"]
            for kind, found in of_group:
                lines.append(f"  {kind:<{width}}  {found.count:>{digits},}  {MEANINGS[kind]}")
                lines += [f"    {line}" for line in _lines(found)]
        return "\n".join(lines)

    def _entries(self) -> Iterator[tuple[str, Group, Found]]:
        for kind in Kind:
            if (found := self.tally.by_kind.get(kind)) is not None:
                yield kind.value, kind.group, found
        for reason in WithheldReason:
            if count := self.withheld.counts.get(reason):
                texts = [one for one in self.withheld.examples if one.reason is reason][: self.limit]
                examples = [Example(0, one.subject, None, None, one.detail) for one in texts]
                yield reason.value, Group.WITHHELD, Found(count, examples)

    def _summary(self) -> str:
        noun = "partition" if self.partitions == 1 else "partitions"
        count = f"{self.partitions:,}"
        if self.ending is not Ending.COMPLETE:
            count = f"{self.checked:,} of {count}"
        wrong = (
            ("broken", self.tally.broken),
            ("mismatched", self.tally.mismatched),
            ("withheld", self.withheld.total()),
        )
        counts = ", ".join(f"{word} {number:,}" for word, number in wrong if number)
        well = "all is well" if self.partitions else "nothing is ready, so nothing was checked"
        verdict = counts or (well if self.ending is Ending.COMPLETE else "nothing wrong so far")
        how = {
            Ending.COMPLETE: "",
            Ending.INTERRUPTED: "interrupted: ",
            Ending.RAW_TIMEOUT: "the raw store does not answer: ",
        }[self.ending]
        where = f"{self.subject.state}, runs in {self.subject.raw}"
        line = f"{how}checked {count} ready {noun} in {where}, in {self.seconds:.1f} s: {verdict}"
        if not self.indistinguishable:
            return line
        return (
            f"{line}\n{self.indistinguishable:,} of them: size and second of mtime do not tell the current run from "
            "another, so copy with rsync -c, or mount with --file-times published"
        )


def _lines(found: Found) -> Iterator[str]:
    for one in found.examples:
        run = "" if one.run is None else f" run {one.run}"
        yield f"{one.partition}{run}: {one.detail}"
    if found.examples and found.count > len(found.examples):
        yield f"... and {found.count - len(found.examples):,} more"


def _describe(kind: str, group: Group, found: Found) -> dict[str, object]:
    return {
        "kind": kind,
        "group": group.value,
        "count": found.count,
        "examples": [
            {"partition": one.partition, "run": one.run, "path": one.path, "detail": one.detail}
            for one in found.examples
        ],
    }
