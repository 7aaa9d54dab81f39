"""The option `--html` of `readyfs coverage`: the picture as one file that a browser opens."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from readyfs.cli.gaps_text import sum_up
from readyfs.cli.output_file import write_output_file
from readyfs.cli.place import FILTERS, STATE_SETTINGS
from readyfs.cli.settings_options import parameter_of
from readyfs.cli.typed_options import typed_options
from readyfs.consumer.agreement_words import AgreementWords
from readyfs.consumer.coverage import find_coverage
from readyfs.consumer.gap_tally import GapTally
from readyfs.errors import UsageError
from readyfs.page.block import BlockMaker
from readyfs.page.head import PageHead
from readyfs.page.render import render_page

if TYPE_CHECKING:
    from readyfs.cli.judging import Judging

_STDOUT: Final = Path("-")
_PLACE: Final = ("config_file", *(parameter_of(one) for one in STATE_SETTINGS if one not in FILTERS))
_JUDGED: Final = (*(one.name for one in fields(AgreementWords)), "expect", "known")


def write_page(path: Path, judging: Judging) -> None:
    """Write the page of what is judged, and say what was counted; raise `OutputError` and what reading raises."""
    if path == _STDOUT and sys.stdout.isatty():
        raise UsageError("--html - would fill the terminal with data", "name a file, or send it on by | or >")
    ctx = click.get_current_context()
    tally = GapTally()
    maker = BlockMaker()
    with judging.open() as asked:
        found = find_coverage(asked.reader.by_series(), asked.judge, asked.expectations, asked.known)
        for gaps in maker.taking(found):
            tally.add(gaps)
        head = PageHead(
            label=asked.reader.label,
            command=typed_options(ctx, _PLACE),
            judged=typed_options(ctx, _JUDGED),
            selected={one.name: typed_options(ctx, (parameter_of(one),)) for one in FILTERS},
            filters=judging.place.describe_filters(),
            judge=asked.judge,
        )
    said = sum_up(tally) if tally.series else judging.describe_nothing()
    pieces = render_page(maker, head.describe(tally), f"{head.label}: {said}")
    if path == _STDOUT:
        sys.stdout.buffer.writelines(pieces)
        return
    write_output_file(path, pieces)
    click.echo(said)
