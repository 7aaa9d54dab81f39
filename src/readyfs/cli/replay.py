"""`readyfs replay`: a command for each ready partition, by date, that goes on where it was interrupted."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.completions import complete_cadence
from readyfs.cli.output import Form, print_json, with_output
from readyfs.cli.place import FILE_SETTINGS, FILTERS, Place, with_place
from readyfs.errors import ExitCode, UsageError
from readyfs.text import escape_text

if TYPE_CHECKING:
    from readyfs.cli.replay_source import Source
    from readyfs.consumer.replay.command import Command
    from readyfs.consumer.replay.plan import Plan, Target
    from readyfs.consumer.replay.resume import ResumeFile
    from readyfs.consumer.replay.runner import Finished, Tally

_COMMAND: Final = "readyfs.replay.command"


class _BehindDashes(ReadyfsCommand):
    """A command whose own arguments end at `--`; what stands behind it is another command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what is behind the dashes as it is."""
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[_COMMAND] = tuple(args[at + 1 :])
        try:
            rest = super().parse_args(ctx, args[:at])
        except click.UsageError as error:
            if at < len(args) or isinstance(error, click.NoSuchOption):
                raise
            raise click.UsageError(
                f"{error.format_message().rstrip('.')}; two dashes go before the command", ctx
            ) from error
        if not ctx.resilient_parsing:
            # Before a word that was meant as the command is looked at as a mount point.
            from readyfs.consumer.replay.command import check_words

            check_words(ctx.meta[_COMMAND])
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show where the command stands."""
        return [*super().collect_usage_pieces(ctx), "--", "COMMAND..."]


@click.command(cls=_BehindDashes, short_help="Run a command for each ready partition, in the order of dates.")
@click.option("--changed-since", metavar="CURSOR", help="Only partitions that changed since this cursor; with a mount.")
@click.option("--newest-first", is_flag=True, help="Begin with the newest date.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Run at most so many commands.")
@click.option(
    "--jobs", type=click.IntRange(1, 1024), default=1, show_default=True, metavar="N", help="How many run at a time."
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write down what is done, and do none of it again.",
)
@click.option(
    "--skip", type=click.Path(path_type=Path), metavar="FILE", help="Leave out the partitions that this file lists."
)
@click.option(
    "--backlog", type=click.Path(path_type=Path), metavar="FILE", help="Write down what is not ready, as JSON lines."
)
@click.option(
    "--cadence",
    "cadence_text",
    default="daily",
    show_default=True,
    metavar="CADENCE",
    shell_complete=complete_cadence,
    help="Which dates without a row go to the backlog.",
)
@click.option("--dry-run", is_flag=True, help="Print the commands instead of running them.")
@with_output()
@with_place(argument=True, passed=FILTERS, unflagged=FILE_SETTINGS)
@click.pass_context
def replay(
    ctx: click.Context,
    changed_since: str | None,
    newest_first: bool,
    limit: int | None,
    jobs: int,
    resume: Path | None,
    skip: Path | None,
    backlog: Path | None,
    cadence_text: str,
    dry_run: bool,
    form: Form,
    place: Place,
) -> ExitCode:
    """Run COMMAND for each ready partition, by date. In its words {path}, {run_id}, {date}, {customer}, {query} and
    {source} stand for the partition's; its environment has them as REPLAY_PATH and so on. No shell comes between.

    With MOUNTPOINT it runs on a view that is pinned for so long, without it on the raw runs that the state names. It
    exits with 14 if any command failed, or if a partition cannot be shown. Ctrl-C lets those that run end; a second one
    ends them.

    \b
    readyfs replay --state state.db --raw /data/raw --since 2024-01-01 --resume done -- ./load.py {path}
    readyfs replay /mnt/ready --customer 0012345678 --jobs 4 -- ./load.py {path}
    """  # noqa: D205, D301 - click wants a real backspace before text that it must not wrap
    from readyfs.cli.replay_text import conclude, print_plan, tell_found
    from readyfs.consumer.cadence import parse_cadence
    from readyfs.consumer.replay.backlog import check_backlog, write_backlog
    from readyfs.consumer.replay.command import Command
    from readyfs.consumer.replay.plan import make_plan
    from readyfs.consumer.replay.skip_list import SkipList, parse_skip_list

    words: tuple[str, ...] = ctx.meta[_COMMAND]
    if changed_since is not None and backlog is not None:
        raise UsageError("a backlog is of everything, and --changed-since is not", "leave out one of them")
    if backlog is not None:
        check_backlog(backlog)
    cadence = parse_cadence(cadence_text)
    skipped = SkipList() if skip is None else parse_skip_list(_read(skip), escape_text(os.fsencode(skip)))
    with _tidying_up(), _open_source(place, changed_since) as source:
        command = Command(words, source.path_of)
        identity = {"command": list(words), **source.identity}
        with _open_resume(resume, identity, dry_run) as file:
            selection = source.select(None if backlog is None else cadence)
            plan = make_plan(
                selection.ready,
                newest_first=newest_first,
                limit=limit,
                skip=skipped,
                done=None if file is None else file.done,
            )
            if changed_since is None:
                tell_found(selection, place.filters(), of_mount=place.mountpoint is not None)
            if dry_run:
                print_plan(plan, command, form)
                return ExitCode.FAILED if selection.unreadable else ExitCode.OK
            behind = None if backlog is None else write_backlog(backlog, selection.not_ready)
            tally = _run(plan, command, source.look, file, jobs, form)
        conclude(tally, plan, selection, behind, source.cursor, form, resumes=resume is not None)
    if tally.error is not None:
        raise tally.error
    if tally.interrupted:
        raise click.Abort
    return ExitCode.FAILED if tally.failed or selection.unreadable else ExitCode.OK


@contextmanager
def _tidying_up() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end a replay as Ctrl-C does: without a pin or half a backlog that stays."""

    def stop(_number: int, _frame: object) -> None:
        raise click.Abort

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    ours = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _open_source(place: Place, changed_since: str | None) -> AbstractContextManager[Source]:
    from readyfs.cli.replay_source import open_mount, open_state

    if place.mountpoint is not None:
        return open_mount(place, changed_since)
    if changed_since is not None:
        raise UsageError("--changed-since needs a mount", "name the mount point")
    return open_state(place)


def _open_resume(
    path: Path | None, identity: Mapping[str, object], dry_run: bool
) -> AbstractContextManager[ResumeFile | None]:
    from readyfs.consumer.replay.resume import ResumeFile

    if path is None or (dry_run and not path.exists()):
        return nullcontext()
    return ResumeFile(path, identity)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read the skip list {escape_text(os.fsencode(path))}: {error.strerror}", "name another with --skip"
        ) from error


def _run(
    plan: Plan, command: Command, look: Callable[[Target], str], file: ResumeFile | None, jobs: int, form: Form
) -> Tally:
    from readyfs.cli.replay_text import describe, say
    from readyfs.consumer.replay.runner import Outcome, run

    with _progress(len(plan.todo)) as advance:

        def note(finished: Finished) -> None:
            if finished.outcome is Outcome.DONE and file is not None:
                file.note_done(finished.target)
            if finished.why:
                say(f"{finished.target.key} run {escape_text(finished.target.run_id)}: {finished.why}")
            if form is Form.JSON:
                print_json(describe(finished, command))
            elif finished.outcome is Outcome.FAILED and _nobody_reads():
                # As `| head` leaves it: whatever else is started would fail for that, too.
                raise BrokenPipeError
            advance()

        return run(
            plan.todo,
            command,
            jobs=jobs,
            note=note,
            look=look,
            on_stop=lambda running: say(f"waiting for {running} that run; once more ends them"),
            inherited=() if file is None else (file.lock,),
            stdout=sys.stderr.fileno() if form is Form.JSON else None,
        )


def _nobody_reads() -> bool:
    """Return whether stdout is a pipe or socket whose reader is gone."""
    try:
        poll = select.poll()
        poll.register(1, 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except OSError:
        return False


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr while that is a terminal."""
    if not sys.stderr.isatty() or not total:
        yield lambda: None
        return
    with click.progressbar(length=total, label="replaying", file=sys.stderr, show_pos=True) as bar:
        yield lambda: bar.update(1)
