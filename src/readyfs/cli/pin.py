"""`readyfs pin`, `renew` and `unpin`: hold a view that never changes, for as long as a job needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.mount_paths import resolve_named
from readyfs.cli.output import Body, Form, print_json, with_output
from readyfs.cli.parameters import DURATION, LEASE, MOUNT_POINT
from readyfs.control.pin_requests import PinRequest
from readyfs.control.public_client import PublicClient
from readyfs.errors import ExitCode, UserError
from readyfs.text import escape_text


def _at_mount(body: Body) -> Body:
    """Give a command the mount point and how its daemon is reached."""
    socket = click.option(
        "--socket",
        type=click.Path(path_type=Path),
        help="The daemon's public socket, where it is not at the place that the mount names: in a container.",
    )
    return click.argument("mountpoint", type=MOUNT_POINT, metavar="MOUNTPOINT")(socket(body))


_NAME = click.argument("name", metavar="NAME")


@contextmanager
def _telling(mountpoint: Path, form: Form) -> Iterator[None]:
    """Print why it failed as JSON, too, as `readyfs refresh` does."""
    try:
        yield
    except UserError as error:
        if form is Form.JSON:
            told = {"mountpoint": str(mountpoint), "error": str(error), "exit_code": int(error.exit_code)}
            print_json(told)
        raise


def _print(answer: Mapping[str, object], form: Form, line: str) -> None:
    if form is Form.JSON:
        print_json(answer)
    else:
        click.echo(escape_text(line))


def _lease(help: str) -> Callable[[Body], Body]:
    return click.option("--for", "lease_s", type=LEASE, help=help)


@click.command(cls=ReadyfsCommand)
@_at_mount
@click.option("--name", help="What to call the pin; without, it gets a name of its own.")
@_lease("How long to hold it; without, as long as --pin-default said at mount time.")
@click.option("--note", default="", help="What it is for: a line that others see in `readyfs pins`.")
@click.option("--refresh", is_flag=True, help="Look at the state store first, so that what became ready is in it.")
@click.option("--timeout", "timeout_s", type=DURATION, default="5m", show_default=True, help="How long to wait.")
@with_output()
def pin(
    mountpoint: str,
    socket: Path | None,
    name: str | None,
    lease_s: float | None,
    note: str,
    refresh: bool,
    timeout_s: float,
    form: Form,
) -> ExitCode:
    """Pin what MOUNTPOINT shows now, and print the path of the view: a tree that never changes.

    It is held until the lease ends, or until `readyfs unpin`. Whoever may enter the mount may do this.
    """
    path = resolve_named(mountpoint)
    with _telling(path, form):
        client = PublicClient(path, socket)
        answer = client.pin(PinRequest(name, lease_s, note, refresh), timeout_s)
    view = str(client.view(str(answer["fingerprint"])))
    if form is Form.JSON:
        print_json({"path": view, **answer})
    else:
        click.echo(view)
    return ExitCode.OK


@click.command(cls=ReadyfsCommand)
@_at_mount
@_NAME
@_lease("How long to hold it from now on; never shorter than before.")
@with_output()
def renew(mountpoint: str, socket: Path | None, name: str, lease_s: float | None, form: Form) -> ExitCode:
    """Renew the lease of the pin NAME, and print when it ends."""
    path = resolve_named(mountpoint)
    with _telling(path, form):
        answer = PublicClient(path, socket).renew(name, lease_s)
    _print(answer, form, f"{name} is held until {answer['expires_at']}")
    return ExitCode.OK


@click.command(cls=ReadyfsCommand)
@_at_mount
@_NAME
@with_output()
def unpin(mountpoint: str, socket: Path | None, name: str, form: Form) -> ExitCode:
    """Remove the pin NAME; whoever made it may, and the operator: root, or who mounted."""
    path = resolve_named(mountpoint)
    with _telling(path, form):
        answer = PublicClient(path, socket).unpin(name)
    _print(answer, form, f"unpinned {name}")
    return ExitCode.OK


@click.command(cls=ReadyfsCommand)
@_at_mount
@click.option("--expired", is_flag=True, help="List pins that ended: when, whose, and why.")
@with_output()
def pins(mountpoint: str, socket: Path | None, expired: bool, form: Form) -> ExitCode:
    """List the pins of MOUNTPOINT: what each holds and for whom, until when, and how far it is behind."""
    path = resolve_named(mountpoint)
    with _telling(path, form):
        found = PublicClient(path, socket).pins(expired=expired)
    if form is Form.JSON:
        print_json(*found)
        return ExitCode.OK
    # The words of a list are needed by those who read it.
    from readyfs.cli.pins_text import render_ended, render_pins

    click.echo(render_ended(found) if expired else render_pins(found))
    return ExitCode.OK
