"""`readyfs refresh`: have the daemon look at the state store now."""

from __future__ import annotations

from collections.abc import Mapping

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.daemon_lookup import explaining_no_daemon, find_client
from readyfs.cli.output import Form, print_json, with_output
from readyfs.cli.parameters import DURATION, FINGERPRINT, MOUNT_POINT
from readyfs.cli.settings_options import with_settings
from readyfs.config import Resolution
from readyfs.config.table import RUNTIME_DIR
from readyfs.errors import ExitCode, UserError
from readyfs.text import escape_text


@click.command(cls=ReadyfsCommand)
@click.argument("mountpoint", type=MOUNT_POINT, metavar="MOUNTPOINT")
@click.option("--wait", is_flag=True, help="Return when every reader sees the new state: the kernel's caches included.")
@click.option(
    "--accept",
    type=FINGERPRINT,
    help="Show the state although --max-retract holds it back, if it has this fingerprint; waits as --wait does.",
)
@click.option("--timeout", "timeout_s", type=DURATION, default="5m", show_default=True, help="How long to wait.")
@with_output()
@with_settings(RUNTIME_DIR, refuse_unknown=False)
def refresh(
    mountpoint: str, wait: bool, accept: str | None, timeout_s: float, form: Form, resolution: Resolution
) -> ExitCode:
    """Have the daemon of MOUNTPOINT look at its state store now.

    Without --wait it returns at once. With it, an exit code of 0 means that every path lookup from now on sees the
    state as it was when the command began, or newer; 10 means that the state store could not be read, or that what
    it holds is held back (--max-retract), or is not what was to be accepted.
    """
    wait = wait or accept is not None
    path, client = find_client(resolution, mountpoint, timeout_s)
    try:
        with explaining_no_daemon(path, client):
            answer = client.refresh(wait, accept)
    except UserError as error:
        if form is Form.JSON:
            print_json({"mountpoint": str(path), "error": str(error), "exit_code": int(error.exit_code)})
        raise
    if form is Form.JSON:
        print_json(answer)
    else:
        click.echo(escape_text(f"refreshed {path}: {_summarize(answer)}" if wait else f"refresh of {path} asked for"))
    return ExitCode.OK


def _summarize(answer: Mapping[str, object]) -> str:
    counts = [f"{answer[kind]} {kind}" for kind in ("appeared", "switched", "touched", "retracted") if answer.get(kind)]
    return f"{', '.join(counts) or 'nothing changed'} (revision {answer.get('revision')})"
