"""The click classes behind every command: help in groups, and `--debug` wherever one thinks of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import fill
from typing import Final

import click


@dataclass(slots=True)
class Invocation:
    """One run of the command line: its arguments, and whether tracebacks are wanted (set while they are parsed).

    `plugin_state` is the exit code of a monitoring plugin that has come to a verdict.
    """

    arguments: tuple[str, ...] = ()
    debug: bool = False
    plugin_state: int | None = None


_WHOLE_HELP: Final = "readyfs.command.whole_help"


class GroupedOption(click.Option):
    """An option that the help lists under a heading of its own; of one that is folded only --help-all tells more."""

    def __init__(self, *args: object, heading: str = "", folded: bool = False, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.heading = heading
        self.folded = folded


class ReadyfsCommand(click.Command):
    """A command whose own options come first in its help, then the others under their headings."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        if any(map(_is_folded, self.params)):
            self.params.append(_help_all_option())
        self.params.append(_debug_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; every error then knows whose help to point to."""
        with _in_context(ctx):
            return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in their groups."""
        groups: dict[str, list[tuple[str, str]]] = {"": []}
        folded: list[str] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None or isinstance(parameter, click.Argument):
                continue  # what an argument is says the text above
            if _is_folded(parameter) and _WHOLE_HELP not in ctx.meta:
                folded.append(parameter.opts[0])
            else:
                groups.setdefault(getattr(parameter, "heading", ""), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading or "Options"):
                formatter.write_dl(records, col_max=28)
        if folded:
            with formatter.section("More settings of a mount, which --help-all explains"):
                indent = " " * formatter.current_indent
                formatter.write(
                    fill(
                        ", ".join(folded),
                        formatter.width,
                        initial_indent=indent,
                        subsequent_indent=indent,
                        break_on_hyphens=False,
                    )
                    + "\n"
                )


class ReadyfsGroup(click.Group):
    """A group that lists its commands in the order in which they were added."""

    command_class = ReadyfsCommand
    group_class = type

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.params.append(_debug_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; every error then knows whose help to point to."""
        with _in_context(ctx):
            return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of the help."""
        return list(self.commands)


@contextmanager
def _in_context(ctx: click.Context) -> Iterator[None]:
    # The parser leaves it out of some errors, an option without its value for one.
    try:
        yield
    except click.UsageError as error:
        error.ctx = error.ctx or ctx
        raise


def _is_folded(parameter: click.Parameter) -> bool:
    return isinstance(parameter, GroupedOption) and parameter.folded


def _help_all_option() -> click.Option:
    return click.Option(
        ["--help-all"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_whole_help,
        help="Show this message with every setting, and exit.",
    )


def _show_whole_help(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[_WHOLE_HELP] = True
        click.echo(ctx.get_help())
        ctx.exit()


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=_set_debug,
        help="Show a traceback when something unexpected fails.",
    )


def _set_debug(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Invocation).debug = True
