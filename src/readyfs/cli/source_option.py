"""The option `--source` of questions about one partition: of which source its key is."""

from __future__ import annotations

from collections.abc import Callable

import click

from readyfs.cli.output import Body
from readyfs.cli.place import with_place
from readyfs.config import table as settings
from readyfs.config.setting import Setting


def with_source(*more: Setting[object]) -> Callable[[Body], Body]:
    """Give a command the options that say where to ask, and `--source`.

    So the sources that a mount or a state is asked within are those of its file or environment alone. Else the rows of
    another source, which may claim the same path, would not be seen.
    """

    def decorate(body: Body) -> Body:
        option = click.option("--source", metavar="NAME", help="Of which source the key is, where several have it.")
        return option(with_place(*more, passed=(), unflagged=(settings.SOURCE,))(body))

    return decorate
