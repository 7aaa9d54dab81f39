"""`readyfs why`: why something is ready or is not, in one sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from typing import Final

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.output import Form, print_json, with_output
from readyfs.cli.place import Place
from readyfs.cli.source_option import with_source
from readyfs.errors import ExitCode
from readyfs.text import decode_text

_CODES: Final[Mapping[object, ExitCode]] = {"ready": ExitCode.OK, "impossible": ExitCode.IMPOSSIBLE}


@click.command(cls=ReadyfsCommand)
@click.argument("asked", metavar="PATH|KEY")
@with_source()
@with_output()
def why(asked: str, source: str | None, place: Place, form: Form) -> ExitCode:
    """Tell why PATH or KEY is ready or is not.

    PATH lies in a mount, whose daemon is asked. KEY is customer/query/date; it is asked of the mount of --mount, or of
    the state store. --source says of which source it is, where that is needed. The exit code is 0 if it is ready, 12 if
    it is not or nobody could look at its run, and 15 if it can never be.

    \b
    readyfs why /mnt/ready/0012345678/campaign_daily/2024-06-01
    readyfs why 0012345678/campaign_daily/2024-06-01 --mount /mnt/ready --json
    readyfs why 0012345678/campaign_daily/2024-06-01 --state state.db --raw /data/raw
    """  # noqa: D301 - click wants a real backspace before text that it must not wrap
    place, text = place.locate(asked)
    if place.asks_mount:
        answer = place.client().why(text, source)
    else:
        # The rules need the layout, and the state store its driver: neither is imported to ask a mount.
        from readyfs.cli.state_reasons import StateReasons

        with closing(StateReasons(place)) as reasons:
            answer = reasons.explain(text, source).describe()
    if form is Form.JSON:
        print_json(printable(text, answer))
    else:
        click.echo(answer["sentence"])
        if answer["note"]:
            click.echo(f"({answer['note']})")
        if answer["remedy"]:
            click.echo(f"remedy: {answer['remedy']}")
    if answer["looked_at"] is False:
        return ExitCode.FOUND
    return _CODES.get(answer["reason"], ExitCode.FOUND)


def printable(asked: str, answer: Mapping[str, object]) -> dict[str, object]:
    """Return an answer as JSON that every program can read: paths that are not UTF-8 with backslash escapes."""
    path = answer.get("path")
    shown = decode_text(os.fsencode(path)) if isinstance(path, str) else None
    return {"asked": decode_text(os.fsencode(asked)), **answer, "path": shown}
