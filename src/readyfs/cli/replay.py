"""`readyfs replay`: a command for each ready partition, by date, that goes on where it was interrupted."""

from __future__ import annotations

import os
import shlex
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
from readyfs.partition import render_date
from readyfs.text import decode_text, escape_text

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
    exits with 14 if any command failed. Ctrl-C lets those that run end; a second one ends them.

    \b
    readyfs replay --state state.db --raw /data/raw --since 2024-01-01 --resume done -- ./load.py {path}
    readyfs replay /mnt/ready --customer 0012345678 --jobs 4 -- ./load.py {path}
    """  # noqa: D205, D301 - click wants a real backspace before text that it must not wrap
    from readyfs.consumer.cadence import parse_cadence
    from readyfs.consumer.replay.backlog import write_backlog
    from readyfs.consumer.replay.command import Command
    from readyfs.consumer.replay.plan import make_plan
    from readyfs.consumer.replay.skip_list import SkipList, parse_skip_list

    words: tuple[str, ...] = ctx.meta[_COMMAND]
    if changed_since is not None and backlog is not None:
        raise UsageError("a backlog is of everything, and --changed-since is not", "leave out one of them")
    cadence = parse_cadence(cadence_text)
    skipped = SkipList() if skip is None else parse_skip_list(_read(skip), escape_text(os.fsencode(skip)))
    with _open_source(place, changed_since) as source:
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
            for line in selection.unreadable:
                _say(line)
            if dry_run:
                _print_plan(plan, command, form)
                return ExitCode.OK
            behind = None if backlog is None else write_backlog(backlog, selection.not_ready)
            tally = _run(plan, command, file, jobs, form)
        _conclude(tally, plan, behind, source, form)
    if tally.error is not None:
        raise tally.error
    if tally.interrupted:
        raise click.Abort
    return ExitCode.FAILED if tally.failed or selection.unreadable else ExitCode.OK


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


def _run(plan: Plan, command: Command, file: ResumeFile | None, jobs: int, form: Form) -> Tally:
    from readyfs.consumer.replay.runner import Outcome, run

    with _progress(len(plan.todo)) as advance:

        def note(finished: Finished) -> None:
            if finished.outcome is Outcome.DONE and file is not None:
                file.note_done(finished.target)
            if finished.why:
                _say(f"{finished.target.key} run {escape_text(finished.target.run_id)}: {finished.why}")
            if form is Form.JSON:
                print_json(_describe(finished, command))
            advance()

        return run(
            plan.todo,
            command,
            jobs=jobs,
            note=note,
            on_stop=lambda running: _say(f"waiting for {running} that run; once more ends them"),
            inherited=() if file is None else (file.lock,),
            stdout=sys.stderr.fileno() if form is Form.JSON else None,
        )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr while that is a terminal."""
    if not sys.stderr.isatty() or not total:
        yield lambda: None
        return
    with click.progressbar(length=total, label="replaying", file=sys.stderr, show_pos=True) as bar:
        yield lambda: bar.update(1)


def _describe(finished: Finished, command: Command) -> dict[str, object]:
    return {
        "type": "partition",
        **_fields(finished.target, command),
        "outcome": finished.outcome.value,
        "exit_code": finished.code,
        "seconds": round(finished.seconds, 3),
        "detail": finished.why or None,
    }


def _fields(target: Target, command: Command) -> dict[str, object]:
    source, customer, query = map(decode_text, target.key.series)
    return {
        "source": source,
        "customer_id": customer,
        "query_name": query,
        "logical_date": render_date(target.key.date).decode(),
        "run_id": decode_text(target.run_id),
        "path": os.fsdecode(command.path_of(target)),
    }


def _print_plan(plan: Plan, command: Command, form: Form) -> None:
    for target in plan.todo:
        words = [os.fsdecode(word) for word in command.words_for(target)]
        if form is Form.JSON:
            print_json({"type": "plan", **_fields(target, command), "command": words})
        else:
            click.echo(escape_text(shlex.join(words)))


def _conclude(tally: Tally, plan: Plan, behind: int | None, source: Source, form: Form) -> None:
    left = tally.left + plan.beyond
    if form is Form.JSON:
        print_json(
            {
                "type": "summary",
                "done": tally.done,
                "failed": tally.failed,
                "ended": tally.ended,
                "left": left,
                "done_before": plan.done,
                "skipped": plan.skipped,
                "backlog": behind,
                "cursor": source.cursor,
            }
        )
        return
    counts = (
        (tally.failed, "failed"),
        (tally.ended, "ended by a signal"),
        (left, "left"),
        (plan.done, "done before"),
        (plan.skipped, "skipped"),
        (behind or 0, "not ready, in the backlog"),
    )
    _say(", ".join([f"{tally.done} done", *(f"{count} {what}" for count, what in counts if count)]))
    if source.cursor is not None:
        _say(f"the cursor is {source.cursor}")


def _say(line: str) -> None:
    click.echo(f"readyfs: {line}", err=True)
