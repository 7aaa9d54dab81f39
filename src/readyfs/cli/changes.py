"""`readyfs changes`: what changed since a cursor, as events; from a mount, or from a state store with a cursor file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from readyfs.cli.changes_print import ChangesPrinter
from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.completions import complete_consumer, complete_since
from readyfs.cli.output import Form, with_output
from readyfs.cli.parameters import LEASE
from readyfs.cli.place import FILE_SETTINGS, FILTERS, Place, with_place
from readyfs.config import table as settings
from readyfs.config.resolve import OriginKind
from readyfs.control.change_requests import BEGINNING
from readyfs.errors import ExitCode, ResyncError, UsageError

if TYPE_CHECKING:
    from readyfs.cli.changes_mount import MountChanges


@click.command(cls=ReadyfsCommand)
@click.option(
    "--since",
    metavar="CURSOR|TIME|beginning",
    shell_complete=complete_since,
    help="From where on; `beginning` gives all that is there.",
)
@click.option("--follow", is_flag=True, help="Go on as the mount changes, until interrupted.")
@click.option(
    "--consumer",
    metavar="NAME",
    shell_complete=complete_consumer,
    help="Go on where this consumer has acknowledged; its batches are kept.",
)
@click.option("--ack", metavar="CURSOR", help="Acknowledge the consumer's batch that ended with this cursor.")
@click.option("--for", "lease_s", type=LEASE, help="How long the consumer's batch is kept from now on.")
@click.option(
    "--cursor-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Without a mount: the file that remembers what was printed.",
)
@click.option("--keep", is_flag=True, help="Leave the cursor file as it is: the next call prints the same and more.")
@with_place(
    argument=True,
    passed=FILTERS,  # refused below, in words of their own
    unflagged=(settings.SINCE, settings.UNTIL, settings.RAW, *FILE_SETTINGS),
)
@with_output(Form.CLOUDEVENTS, default=Form.JSON)
def changes(
    since: str | None,
    follow: bool,
    consumer: str | None,
    ack: str | None,
    lease_s: float | None,
    cursor_file: Path | None,
    keep: bool,
    place: Place,
    form: Form,
) -> ExitCode:
    """Tell what changed in MOUNTPOINT since a cursor: one event for each partition whose state is another now.

    The last line is a bookmark with the next cursor. With a consumer a batch stays the same, and is kept, until it is
    acknowledged: with --ack, or with --since and its cursor. If what changed cannot be told any more, the exit code is
    16 and everything has to be loaded anew, with `--since beginning`. Without a mount the state store is compared with
    what the --cursor-file remembers.

    \b
    readyfs changes /mnt/ready --since beginning --consumer warehouse    # the first time
    readyfs changes /mnt/ready --consumer warehouse
    readyfs changes /mnt/ready --consumer warehouse --ack CURSOR         # when all of it is loaded
    readyfs changes --state state.db --cursor-file cursor
    """  # noqa: D301 - click wants a real backspace before text that it must not wrap
    if place.asks_mount:
        _refuse_filters(place)
        printer = ChangesPrinter(form, _mount_uri(place))
        _tell_mount(place, printer, since, follow, consumer, ack, lease_s, cursor_file, keep)
    else:
        for option, is_given in (
            ("--follow", follow),
            ("--consumer", consumer is not None),
            ("--ack", ack is not None),
            ("--for", lease_s is not None),
        ):
            if is_given:
                raise UsageError(f"{option} is of a mount, and none is asked", "name the mount point alone")
        _tell_state(place, form, since, cursor_file, keep=keep)
    return ExitCode.OK


def _tell_mount(
    place: Place,
    printer: ChangesPrinter,
    since: str | None,
    follow: bool,
    consumer: str | None,
    ack: str | None,
    lease_s: float | None,
    cursor_file: Path | None,
    keep: bool,
) -> None:
    from readyfs.cli.changes_mount import MountChanges

    if cursor_file is not None or keep:
        raise UsageError(
            "--cursor-file and --keep are for a state store without a mount", "use --consumer, which the mount keeps"
        )
    if consumer is None and (ack is not None or lease_s is not None):
        raise UsageError("--ack and --for are of a consumer, and none is named", "name it with --consumer")
    if consumer is None and since is None:
        raise UsageError("neither --since nor --consumer says from where on", "begin with `--since beginning`")
    if ack is not None and (since is not None or follow):
        raise UsageError("--ack is not for --since or --follow", "give --ack alone, or the cursor as --since")
    mount = MountChanges(place, printer, consumer, lease_s)
    try:
        _run(mount, since, ack, follow=follow)
    except ResyncError as error:
        printer.resync(error.message)
        raise


def _run(mount: MountChanges, since: str | None, ack: str | None, *, follow: bool) -> None:
    if ack is not None:
        mount.acknowledge(ack)
    elif follow:
        mount.follow(since)
    else:
        mount.once(since)


def _tell_state(place: Place, form: Form, since: str | None, cursor_file: Path | None, *, keep: bool) -> None:
    if cursor_file is None:
        raise UsageError(
            "what was told before is remembered by nobody", "name a mount point, or a file with --cursor-file"
        )
    if since not in (None, BEGINNING):
        raise UsageError(
            f"--since {since!r} is of a mount: a state store knows no past", "the cursor file says from where on"
        )
    from readyfs.cli.changes_state import StateChanges

    state = StateChanges(place, form, cursor_file)
    state.run(from_beginning=since is not None, keep=keep)


def _refuse_filters(place: Place) -> None:
    named = (settings.SOURCE, settings.CUSTOMER, settings.QUERY)
    given = [one.flag for one in named if place.resolution.origin(one).kind is OriginKind.FLAG]
    if given:
        raise UsageError(
            f"{', '.join(given)} cannot narrow the changes of a mount",
            "it has filters of its own; filter the events",
        )


def _mount_uri(place: Place) -> str:
    assert place.mountpoint is not None
    return place.mountpoint.as_uri()
