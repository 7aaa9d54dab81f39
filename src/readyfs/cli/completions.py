"""How the values of options go on, for the shell: what this machine, a daemon and our own words know."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import CompletionItem

from readyfs.errors import UserError
from readyfs.text import escape_text

_CADENCES: Final = (
    "daily",
    "weekdays",
    *(f"weekly:{day}" for day in ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")),
)


def complete_cadence(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the words for which dates are expected; a line of cron cannot be guessed."""
    return [CompletionItem(word) for word in _CADENCES if word.startswith(incomplete)]


def complete_cadence_or_auto(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the same, where a guess may be asked for as well."""
    more = ["auto"] if "auto".startswith(incomplete) else []
    return [*complete_cadence(ctx, param, incomplete), *map(CompletionItem, more)]


def complete_zone(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of the time zones of this machine."""
    from zoneinfo import available_timezones

    return [CompletionItem(name) for name in sorted({*available_timezones(), "UTC"}) if name.startswith(incomplete)]


def complete_since(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the word for all that is there: cursors and times are known to nobody."""
    return [CompletionItem("beginning")] if "beginning".startswith(incomplete) else []


def complete_consumer(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the consumers whose batches the mount keeps, if it is named and answers."""
    from readyfs.cli.mount_paths import resolve_named
    from readyfs.control.public_client import PublicClient

    named = ctx.params.get("mountpoint") or ctx.params.get("mount")
    if named is None:
        return []
    try:
        pins = PublicClient(resolve_named(named), ctx.params.get("socket")).pins()
    except UserError:
        return []  # the command itself will say what is wrong
    names = [str(pin["name"]) for pin in pins if pin.get("acknowledged") is not None]
    return [CompletionItem(escape_text(name)) for name in sorted(names) if name.startswith(incomplete)]
