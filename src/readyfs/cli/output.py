"""How every command prints its answer: the options `--format FORM` and `--json`, and JSON as one object a line."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from itertools import islice
from typing import Final

import click

from readyfs.errors import ExitCode, UsageError

Body = Callable[..., ExitCode]


class Form(StrEnum):
    """The forms of answers; every command has the first two."""

    TEXT = "text"
    JSON = "json"
    PROMETHEUS = "prometheus"
    NAGIOS = "nagios"
    CLOUDEVENTS = "cloudevents"


_AT_ONCE: Final = 256
"""How many objects are written together."""
_EXPLAINED: Final[Mapping[Form, str]] = {
    Form.TEXT: "text for people, the default",
    Form.JSON: "json, one object a line",
    Form.PROMETHEUS: "prometheus, metrics in its text exposition",
    Form.NAGIOS: "nagios, one line and its exit codes",
    Form.CLOUDEVENTS: "cloudevents, one event a line",
}


def with_output(*more: Form) -> Callable[[Body], Body]:
    """Give a command the options of its output; its function is called with `form`, a `Form`.

    `more` are the forms beside text and JSON.
    """
    forms = (Form.TEXT, Form.JSON, *more)

    def decorate(body: Body) -> Body:
        @functools.wraps(body)
        def call(*args: object, format_: str | None, as_json: bool, **values: object) -> ExitCode:
            if as_json and format_ not in (None, Form.JSON):
                raise UsageError(f"--json and --format {format_} exclude each other", "leave out one of them")
            form = Form.JSON if as_json else Form(format_ or Form.TEXT)
            return body(*args, form=form, **values)

        shown = "; ".join(_EXPLAINED[form] for form in forms)
        command = click.option("--json", "as_json", is_flag=True, help="The same as --format json.")(call)
        return click.option(
            "--format", "format_", type=click.Choice([str(form) for form in forms]), help=f"How to print: {shown}."
        )(command)

    return decorate


def print_json(*answers: Mapping[str, object]) -> None:
    """Print objects as JSON lines."""
    write_json(answers)
    sys.stdout.flush()


def write_json(answers: Iterable[Mapping[str, object]]) -> None:
    """Write objects as JSON lines as they come in, which may be very many; the first goes ahead of the others."""
    from orjson import dumps  # not needed by who reads text

    iterator = iter(answers)
    some = list(islice(iterator, 1))
    while some:
        try:
            text = b"\n".join([dumps(answer) for answer in some]).decode()
        except TypeError:
            # A path whose bytes are no UTF-8: a lone surrogate stands for each, as Python programs read them.
            text = "\n".join([json.dumps(answer) for answer in some])
        sys.stdout.write(text + "\n")
        some = list(islice(iterator, _AT_ONCE))


def has_colours() -> bool:
    """Return whether colours may be used: only on a terminal, and unless NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
