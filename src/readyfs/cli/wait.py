"""`readyfs wait`: block until partitions are ready."""

from __future__ import annotations

import time

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.output import Form, print_json, with_output
from readyfs.cli.parameters import WAIT
from readyfs.cli.place import Place
from readyfs.cli.source_option import with_source
from readyfs.cli.why import printable
from readyfs.config import table as settings
from readyfs.consumer.wait import Wait, Wish
from readyfs.duration import render_duration
from readyfs.errors import ExitCode, UsageError, UserError


@click.command(cls=ReadyfsCommand)
@click.argument("asked", metavar="PATH|KEY...", nargs=-1, required=True)
@click.option("--timeout", "timeout_s", type=WAIT, default="2h", show_default=True, help="How long; 0 is one look.")
@click.option("--newer-than", metavar="RUN|TIME", help="Wait for another run than this, or a newer one than this time.")
@click.option("--all", "wants_all", is_flag=True, help="Wait for all that is named: the default.")
@click.option("--any", "wants_any", is_flag=True, help="Wait for one of what is named.")
@click.option("--at-least", metavar="N", type=click.IntRange(min=1), help="Wait for so many of what is named.")
@click.option("--through-failures", is_flag=True, help="Wait on although it failed: for a later attempt.")
@with_source(settings.STATE_LISTEN)
@with_output()
def wait(
    asked: tuple[str, ...],
    timeout_s: float,
    newer_than: str | None,
    wants_all: bool,
    wants_any: bool,
    at_least: int | None,
    through_failures: bool,
    source: str | None,
    place: Place,
    form: Form,
) -> ExitCode:
    """Wait until each PATH or KEY is ready; with a mount, until it is visible there.

    The exit code is 0 then, 13 when the time is up, 14 at once if it has failed, and 15 at once if it can never be.

    \b
    readyfs wait /mnt/ready/0012345678/campaign_daily/2024-06-01 && ./load
    readyfs wait 0012345678/a/2024-06-01 0012345678/b/2024-06-01 --mount /mnt/ready --timeout 30m
    """  # noqa: D301 - click wants a real backspace before text that it must not wrap
    located = [place.locate(one) for one in asked]
    asks_mount = {at.mountpoint if at.asks_mount else None for at, _ in located}
    if len(asks_mount) > 1:
        if None in asks_mount:
            raise UsageError("a key is asked of the state, and a path of its mount", "name the mount with --mount, too")
        raise UsageError("what is named lies in several mounts", "wait for those of each mount apart")
    if wants_all + wants_any + (at_least is not None) > 1:
        raise UsageError("--all, --any and --at-least exclude each other", "give one of them")
    texts = [text for _, text in located]
    needed = at_least if at_least is not None else 1 if wants_any else len(texts)
    if needed > len(texts):
        raise UsageError(f"--at-least {needed} is more than the {len(texts)} that are named", "name more, or want less")
    awaited = Wait(texts, needed, Wish(newer_than, through_failures))
    ends_s = time.monotonic() + timeout_s
    waited = f"after {render_duration(timeout_s)}" if timeout_s else "now"
    try:
        if next(iter(asks_mount)) is not None:
            from readyfs.cli.wait_mount import MountWait

            MountWait(located[0][0], source, awaited, ends_s, waited).run_bounded()
        else:
            from readyfs.cli.wait_state import StateWait

            StateWait(located[0][0], source, awaited, ends_s, waited).run()
    except UserError as error:
        if form is Form.JSON:
            _print_answers(awaited)
            print_json({"error": error.message, "exit_code": int(error.exit_code)})
        raise
    if form is Form.JSON:
        _print_answers(awaited)
    else:
        for one in awaited.met:
            click.echo(awaited.last[one]["sentence"])
    return ExitCode.OK


def _print_answers(awaited: Wait) -> None:
    met = set(awaited.met) - awaited.unseen
    answered = (one for one in awaited.asked if one in awaited.last)
    print_json(*({**printable(one, awaited.last[one]), "met": one in met} for one in answered))
