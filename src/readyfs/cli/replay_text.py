"""What `readyfs replay` says: its plan, each command that is over, and how it went."""

from __future__ import annotations

import os
import shlex

import click

from readyfs.cli.output import Form, print_json
from readyfs.consumer.replay.command import Command
from readyfs.consumer.replay.plan import Plan, Target
from readyfs.consumer.replay.runner import Finished, Tally
from readyfs.consumer.replay.selection import Selection
from readyfs.partition import PartitionStatus, render_date
from readyfs.state.filters import Filters
from readyfs.text import decode_text, escape_text


def say(line: str) -> None:
    """Say something to people, beside the answer."""
    click.echo(f"readyfs: {line}", err=True)


def tell_found(selection: Selection, filters: Filters, *, of_mount: bool) -> None:
    """Tell what cannot be shown, or that nothing was found: most often a filter with a typing error."""
    for line in selection.unreadable:
        say(line)
    if not selection.ready and not selection.unreadable:
        what = "nothing is shown" if of_mount else "nothing is ready"
        say(what if filters == Filters() else f"{what} that matches the filters")


def print_plan(plan: Plan, command: Command, form: Form) -> None:
    """Print the commands of a plan."""
    for target in plan.todo:
        words = command.words_for(target)
        if form is Form.JSON:
            print_json({"type": "plan", **_fields(target, command), "command": [decode_text(word) for word in words]})
        else:
            click.echo(escape_text(shlex.join(map(os.fsdecode, words))))


def describe(finished: Finished, command: Command) -> dict[str, object]:
    """Return a command that is over as JSON values."""
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
        "path": decode_text(command.path_of(target)),
    }


def conclude(
    tally: Tally, plan: Plan, selection: Selection, behind: int | None, cursor: str | None, form: Form, *, resumes: bool
) -> None:
    """Tell how it went; `behind` is how many the backlog has, and `resumes` whether there is a resume file."""
    left, unreadable = tally.left + plan.beyond, len(selection.unreadable)
    withheld = sum(one.status is PartitionStatus.WITHHELD for one in selection.not_ready)
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
                "unreadable": unreadable,
                "withheld": withheld,
                "backlog": behind,
                "cursor": cursor,
            }
        )
        return
    counts = (
        (tally.failed, "failed"),
        (tally.ended, "ended by a signal"),
        (left, "left"),
        (plan.done, "done before"),
        (plan.skipped, "skipped"),
        (unreadable, "cannot be shown"),
        (withheld if behind is None and not unreadable else 0, "withheld"),
        (behind or 0, "not ready, in the backlog"),
    )
    say(", ".join([f"{tally.done} done", *(f"{count} {what}" for count, what in counts if count)]))
    if cursor is not None:
        say(f"the cursor is {cursor} (for --changed-since)")
    if tally.failed:
        say("run it again for what failed" + ("" if resumes else ", with --resume to leave out what is done"))
