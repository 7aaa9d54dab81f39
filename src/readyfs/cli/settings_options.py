"""Settings as command line options: one decorator makes the options and reads file and environment."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Final

import click
from click.shell_completion import CompletionItem

from readyfs.cli.command import GroupedOption
from readyfs.cli.output import Body
from readyfs.config import Resolution, resolve_settings
from readyfs.config.setting import Setting, Shape
from readyfs.errors import ExitCode

_LONGEST_WORD: Final = 48


def with_settings(
    *settings: Setting[object],
    refuse_unknown: bool = True,
    unflagged: Collection[Setting[object]] = (),
    folded: Collection[Setting[object]] = (),
) -> Callable[[Body], Body]:
    """Give a command the flags of some settings; its function is called with `resolution`, a `Resolution` of them.

    A command that ends or asks a mount must work whatever else is set: it does not `refuse_unknown` names. Those that
    are `unflagged` come from variables and the file alone: they do nothing here, or the command calls something else by
    their names. Of those that are `folded` the help shows no more than their names.
    """

    def decorate(body: Body) -> Body:
        @functools.wraps(body)
        def call(*args: object, config_file: str | None, **values: object) -> ExitCode:
            flags = {one.name: _read_flag(values.pop(parameter_of(one), None)) for one in settings}
            given = {name: texts for name, texts in flags.items() if texts}
            file = None if config_file is None else Path(config_file)
            resolution: Resolution = resolve_settings(
                given, config_file=file, settings=settings, refuse_unknown=refuse_unknown
            )
            return body(*args, resolution=resolution, **values)

        command: Body = call
        for one in reversed(settings):
            if one not in unflagged:
                command = _add_option(command, one, folded=one in folded)
        return click.option(
            "--config",
            "config_file",
            cls=GroupedOption,
            metavar="FILE",
            help="Read settings from this TOML file; a key is a flag without its dashes.",
        )(command)

    return decorate


def _add_option(body: Body, setting: Setting[object], *, folded: bool) -> Body:
    declaration = f"{setting.flag}/--no-{setting.name}" if setting.shape is Shape.SWITCH else setting.flag
    option = click.option(
        declaration,
        parameter_of(setting),
        cls=GroupedOption,
        heading=str(setting.group),
        folded=folded,
        default=None,
        multiple=setting.repeatable,
        metavar=setting.metavar or None,
        shell_complete=partial(_complete, setting),
        help=setting.help + _render_default(setting.default_text),
    )
    return option(body)


def _complete(
    setting: Setting[object], _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return how a value goes on: the shell completes paths, and of other values only choices are known."""
    if setting.is_path:
        return [CompletionItem(incomplete, type="dir" if setting.metavar == "DIR" else "file")]
    words = setting.metavar.split("|") if "|" in setting.metavar else []
    return [CompletionItem(word) for word in words if word.islower() and word.startswith(incomplete)]


def _render_default(text: str) -> str:
    if " " in text or len(text) <= _LONGEST_WORD:
        return f"  [default: {text}]"
    # The formatter would break it anywhere; after a backspace it keeps our lines (click, "Preventing Rewrapping").
    lines = [""]
    for part in re.findall(r"[^/]*/?", f"[default: {text}]"):
        if len(lines[-1] + part) > _LONGEST_WORD:
            lines.append("")
        lines[-1] += part
    return "\n\n\b\n" + "\n".join(lines)


def parameter_of(setting: Setting[object]) -> str:
    """Return the name that click has for the option of a setting."""
    return "setting_" + setting.name.replace("-", "_")


def _read_flag(value: object) -> tuple[str, ...]:
    match value:
        case None:
            return ()
        case bool():
            return ("true" if value else "false",)
        case tuple():
            return tuple(str(word) for word in value)
        case _:
            return (str(value),)
