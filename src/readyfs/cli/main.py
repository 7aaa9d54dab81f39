"""The `readyfs` command: its subcommands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import click

from readyfs import __version__
from readyfs.cli.command import Invocation
from readyfs.cli.later import Later, LaterGroup
from readyfs.cli.plugin import PluginState, wants_plugin
from readyfs.errors import ExitCode, UserError
from readyfs.text import escape_text

INTERRUPTED = 130
"""What a shell reports for a command that Ctrl-C ended: 128 + SIGINT."""

_COMMANDS: Final[Mapping[str, Later]] = {
    "mount": Later("readyfs.cli.mount", "mount", "Mount the ready partitions at a directory."),
    "umount": Later("readyfs.cli.umount", "umount", "Unmount, and wait until the daemon is gone."),
    "status": Later("readyfs.cli.status", "status", "Show what is mounted, how fresh it is, and what is wrong."),
    "refresh": Later("readyfs.cli.refresh", "refresh", "Look at the state store now instead of at the next interval."),
    "pin": Later("readyfs.cli.pin", "pin", "Hold what is shown now as a view that never changes."),
    "renew": Later("readyfs.cli.pin", "renew", "Have a pin last longer."),
    "unpin": Later("readyfs.cli.pin", "unpin", "Remove a pin."),
    "pins": Later("readyfs.cli.pin", "pins", "List the pins of a mount, or those that ended."),
    "ls": Later("readyfs.cli.ls", "ls", "List partitions with their status, run, records and age."),
    "latest": Later("readyfs.cli.latest", "latest", "Show how far each series has come."),
    "gaps": Later("readyfs.cli.gaps", "gaps", "Show the dates that are late."),
    "coverage": Later("readyfs.cli.coverage", "coverage", "Draw what is ready and what is not, series by dates."),
    "why": Later("readyfs.cli.why", "why", "Tell why a partition is ready or is not."),
    "wait": Later("readyfs.cli.wait", "wait", "Wait until partitions are ready."),
    "changes": Later("readyfs.cli.changes", "changes", "Tell what changed since a cursor, and go on telling."),
    "replay": Later("readyfs.cli.replay", "replay", "Run a command for each ready partition, in the order of dates."),
    "manifest": Later("readyfs.cli.manifest", "manifest", "List what is ready, for programs that take lists of files."),
    "check": Later("readyfs.cli.check", "check", "Check that every ready partition's run is there and whole."),
    "config": Later("readyfs.cli.config", "config", "Show the settings in effect, or check them without mounting."),
    "doctor": Later("readyfs.cli.doctor", "doctor", "Find what is wrong on this machine, and what fixes it."),
    "demo": Later("readyfs.cli.demo", "demo", "Make a sample world, mount it, and take a tour of it."),
}


@click.group(
    name="readyfs",
    cls=LaterGroup,
    later=_COMMANDS,
    short_help="Show a data pipeline's ready partitions as read-only files.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 2 usage, 3 state store, 4 raw root, 5 mount point, 6 FUSE, 7 ambiguous paths, "
    "8 not running, 9 no answer, 10 refresh failed, 11 stuck, 12 found something, 13 not ready, 14 failed, "
    "15 impossible, 16 resync needed, 17 not kept, 18 no such pin, 19 not permitted, 20 limit reached, "
    "21 pin store; 1 is a bug, 130 Ctrl-C.",
)
@click.version_option(__version__, "--version", prog_name="readyfs")
def cli() -> None:
    """Show a data pipeline's ready partitions as ordinary read-only files. If you can see it, it is ready.

    \b
    Try it:    readyfs demo
    Use it:    readyfs mount /mnt/ready --state state.db --raw /data/raw
    Look:      readyfs status; readyfs gaps --config FILE; readyfs why PATH
    End it:    readyfs umount /mnt/ready
    """  # noqa: D301 - click wants a real backspace before text that it must not wrap


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; every error ends as one line on stderr.

    A monitoring plugin says on stdout what went wrong, and that is UNKNOWN.
    """
    invocation = Invocation(tuple(sys.argv[1:] if argv is None else argv))
    if not wants_plugin(invocation.arguments):
        return _run(invocation, _fail)
    ended = _run(invocation, _fail_plugin)
    return PluginState.UNKNOWN if ended or invocation.plugin_state is None else invocation.plugin_state


def _run(invocation: Invocation, fail: Callable[[str, int], int]) -> int:
    if sys.stdout is None:
        return fail("standard output is closed; give it a place, such as >/dev/null", ExitCode.USAGE)
    try:
        # click expands globs and variables by itself on Windows alone; here the arguments go in as they are.
        result = cli.main(list(invocation.arguments), prog_name="readyfs", standalone_mode=False, obj=invocation)
        sys.stdout.flush()
    except UserError as error:
        return fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    except click.NoSuchOption as error:
        from readyfs.config.guess import guess_name

        near = guess_name(error.option_name, error.possibilities or (), prefix="--")
        return fail(
            _explain_usage(click.NoSuchOption(error.option_name, possibilities=near and [near], ctx=error.ctx)),
            ExitCode.USAGE,
        )
    except click.ClickException as error:
        return fail(_explain_usage(error), ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough of it; the interpreter must not complain about that at exit either.
        sys.stdout = None
        return ExitCode.INTERNAL
    except Exception as error:  # noqa: BLE001 - the last resort: one line instead of a traceback
        import traceback

        from readyfs.cli.failure import describe_bug

        if invocation.debug:
            traceback.print_exc()
        return fail(
            f"internal error: {describe_bug(error)}; run it again with --debug for a traceback", ExitCode.INTERNAL
        )
    return result if isinstance(result, int) else ExitCode.OK


def _explain_usage(error: click.ClickException) -> str:
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "readyfs"
    return f"{error.format_message().rstrip('.')}; see `{command} --help`"


def _fail(line: str, exit_code: int) -> int:
    click.echo(f"readyfs: {escape_text(line)}", err=True)
    return exit_code


def _fail_plugin(line: str, _exit_code: int) -> int:
    from readyfs.cli.nagios import render_unknown

    click.echo(render_unknown(line))
    return PluginState.UNKNOWN
