"""Commands that are imported when they are called for: the help of all of them comes without their modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem

from readyfs.cli.command import ReadyfsGroup
from readyfs.cli.interrupts import EndedByInterrupts


class Later(NamedTuple):
    """Where a command is, which is an attribute of its module, and what the list of commands says of it."""

    module: str
    attribute: str
    short_help: str


class _Commands(MutableMapping[str, click.Command]):
    """Commands by name, each of which is imported by the first who asks for it."""

    def __init__(self, later: Mapping[str, Later]) -> None:
        self.later = dict(later)
        self._imported: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._imported:
            where = self.later[name]
            with EndedByInterrupts():
                command = getattr(import_module(where.module), where.attribute)
            assert isinstance(command, click.Command)
            command.short_help = where.short_help
            self._imported[name] = command
        return self._imported[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._imported[name] = command

    def __delitem__(self, name: str) -> None:
        self._imported.pop(name)

    def __iter__(self) -> Iterator[str]:
        return iter({**self.later, **self._imported})

    def __len__(self) -> int:
        return len({**self.later, **self._imported})


class LaterGroup(ReadyfsGroup):
    """A group whose commands are imported one by one, in the order of the help."""

    def __init__(self, *args: object, later: Mapping[str, Later], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.later = later
        self.commands = _Commands(later)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, which needs none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, where.short_help) for name, where in self.later.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin as a word does; again none is imported."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(name, help=where.short_help)
            for name, where in self.later.items()
            if name.startswith(incomplete)
        ]
