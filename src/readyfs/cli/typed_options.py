"""The options of a command as they were typed, for a further command that is to ask the same; without secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import click
from click.core import ParameterSource

from readyfs.cli.settings_options import parameter_of
from readyfs.config import table as settings
from readyfs.state.url import mask_url
from readyfs.text import escape_text


def typed_options(ctx: click.Context, names: Collection[str]) -> list[str]:
    """Return those of the parameters of these names that were typed, as arguments."""
    arguments: list[str] = []
    for parameter in ctx.command.params:
        if parameter.name in names and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            arguments += _render(parameter, ctx.params[parameter.name])
    return arguments


def _render(parameter: click.Parameter, value: object) -> Iterator[str]:
    match value:
        case bool():
            yield parameter.opts[0] if value else parameter.secondary_opts[0]
        case tuple():
            for one in value:
                yield from (parameter.opts[0], str(one))
        case _ if parameter.name == parameter_of(settings.STATE):
            yield from (parameter.opts[0], _mask(str(value)))
        case _:
            yield from (parameter.opts[0], str(value))


def _mask(text: str) -> str:
    """Return the URL of a state store as it is, unless it holds a secret."""
    masked = mask_url(text)
    return text if masked == escape_text(text) else masked
