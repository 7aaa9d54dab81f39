"""What is judged, by which agreement, and within which filters: one decorator for `gaps` and `coverage`.

So a picture is drawn of exactly what `gaps` counts.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from readyfs.cli.agreement_options import due_option, with_agreement
from readyfs.cli.output import Body
from readyfs.cli.place import FILE_SETTINGS, Place, with_place
from readyfs.config import table as settings
from readyfs.consumer.agreement_words import AgreementWords
from readyfs.errors import ExitCode

if TYPE_CHECKING:
    from readyfs.consumer.agreement import Judge
    from readyfs.consumer.expected import Expectations
    from readyfs.consumer.known import KnownGaps
    from readyfs.state.reader import StateReader


@dataclass(frozen=True, slots=True)
class Asked:
    """A state store that is open, and what its dates are judged by."""

    reader: StateReader
    judge: Judge
    expectations: Expectations
    known: KnownGaps


@dataclass(frozen=True, slots=True)
class Judging:
    """What was said on the command line; no file of it has been read yet."""

    place: Place
    words: AgreementWords
    expect: Path | None
    known: Path | None

    @contextmanager
    def open(self) -> Iterator[Asked]:
        """Read the files, and open the state store; raise `UsageError`, `StateError`."""
        from readyfs.consumer.agreement import Judge
        from readyfs.consumer.expected import Expectations, read_expectations
        from readyfs.consumer.known import KnownGaps, read_known_gaps

        self.place.refuse_mount()
        filters = self.place.filters()
        now_ns = time.time_ns()
        judge = Judge(self.words.agree(filters, now_ns), now_ns)
        expectations = Expectations() if self.expect is None else read_expectations(self.expect, filters)
        known = KnownGaps() if self.known is None else read_known_gaps(self.known)
        reader = self.place.open_reader(filters)
        try:
            yield Asked(reader, judge, expectations, known)
        finally:
            reader.close()

    def describe_nothing(self) -> str:
        """Return what people are told where there is no series."""
        return f"{self.place.describe_nothing()}, and nothing is expected"


def with_judging(body: Body) -> Body:
    """Give a command the options of what is judged; its function is called with `judging`, a `Judging`."""

    @functools.wraps(body)
    def call(
        *args: object,
        expect: Path | None,
        known: Path | None,
        words: AgreementWords,
        reprocessing_crit: str | None,
        place: Place,
        **values: object,
    ) -> ExitCode:
        words = replace(words, reprocessing_crit=reprocessing_crit)
        return body(*args, judging=Judging(place, words, expect, known), **values)

    command: Body = call
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--expect",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A CSV file of the series that must exist: source,customer_id,query_name,first_date, and if you like "
        "last_date,cadence.",
    ),
    click.option(
        "--known",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A CSV file of gaps that are counted and alarm nobody: "
        "source,customer_id,query_name,first_date,last_date, and if you like reason.",
    ),
    with_agreement,
    due_option(
        "--reprocessing-crit",
        metavar="DURATION",
        help="After how long a row that is not ready and still names a run is worth an alarm; counted from the later "
        "of its date's end and its updated_at.  [default: never, only a warning]",
    ),
    with_place(argument=True, unflagged=(settings.RAW, *FILE_SETTINGS)),
)
