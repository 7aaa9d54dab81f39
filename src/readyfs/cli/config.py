"""`readyfs config show` and `readyfs config check`: what a mount would do, and whether it would come up."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from readyfs.cli.command import ReadyfsCommand, ReadyfsGroup
from readyfs.cli.output import Form, print_json, with_output
from readyfs.cli.settings_options import with_settings
from readyfs.config import Resolution, build_config, find_warnings
from readyfs.config.setting import Setting, Shape
from readyfs.config.table import SETTINGS, STATE
from readyfs.errors import ExitCode, NothingReadyError
from readyfs.log import configure_logging, mask_passwords
from readyfs.log_words import LogFormat, LogLevel
from readyfs.text import escape_text

_WIDEST_VALUE: Final = 48
"""A longer one has a line of its own, so that the origins of all others stand below each other."""


@click.group(cls=ReadyfsGroup)
def config() -> None:
    """Show the settings in effect and where each comes from, or check them without mounting."""


@config.command(cls=ReadyfsCommand, short_help="Show every setting, its value and where that comes from.")
@with_output()
@with_settings(*SETTINGS)
def show(form: Form, resolution: Resolution) -> ExitCode:
    """Show every setting, its value and where that comes from; passwords are shown as ***."""
    if form is Form.JSON:
        values = {one.name: {"value": _plain(one, resolution), "origin": _origin(one, resolution)} for one in SETTINGS}
        print_json(values)
        return ExitCode.OK
    rows = [(one.name, _render(one, resolution), _origin(one, resolution)) for one in SETTINGS]
    name_width = max(len(name) for name, _, _ in rows)
    value_width = min(_WIDEST_VALUE, max(len(value) for _, value, _ in rows))
    for name, value, origin in rows:
        if len(value) > value_width:
            click.echo(f"{name:<{name_width}}  {value}")
            name = value = ""
        click.echo(f"{name:<{name_width}}  {value:<{value_width}}  {origin}")
    return ExitCode.OK


@config.command(cls=ReadyfsCommand, short_help="Check the settings, the state store and the raw root.")
@with_settings(*SETTINGS)
def check(resolution: Resolution) -> ExitCode:
    """Check every setting, read the state store once and look for runs in the raw root, without mounting anything.

    It prints one line: OK with what a mount would show, or the error that a mount would end with. A line of warning
    before it is for what stops no mount and is most likely a mistake.
    """
    # Checked without a mount point: nothing here depends on it.
    config = build_config(resolution, Path("/"))
    configure_logging(LogFormat.HUMAN, LogLevel.WARNING)  # to stderr: what is printed here is the answer alone
    for warning in find_warnings(resolution):
        _warn(warning)
    from readyfs.catalog.build import CatalogShape
    from readyfs.cli.run_samples import describe_absence
    from readyfs.daemon.sharing import check_place
    from readyfs.raw.open import open_raw
    from readyfs.refresh.emptiness import watch_emptiness
    from readyfs.refresh.loader import CatalogLoader
    from readyfs.state.open import open_state

    raw = open_raw(config.raw, config.raw_layout)
    raw.check()
    if config.pin_store is not None:
        check_place(config.pin_store, Path(config.raw), "raw root")
    state = open_state(config.state, config.table, config.filters, config.state_timeout_s)
    shape = CatalogShape(config.layout, config.raw_layout, config.files, config.required_files)
    try:
        emptiness = watch_emptiness(config.state, config.table, config.state_timeout_s)
        loaded = CatalogLoader(state, shape, emptiness=emptiness).load_first()
    finally:
        state.close()
    catalog = loaded.catalog
    absence = describe_absence(catalog, raw, config.raw_layout, config.raw)
    if absence is not None:
        _warn(absence)
    if (empty := loaded.emptiness) is not None:
        if empty.is_fault:
            raise NothingReadyError(empty.cause, empty.remedy)
        _warn(f"{empty.cause}; {empty.remedy}")
    elif not catalog.partitions:
        _warn(
            f"no row of {config.table.table} is to be seen: it is empty, or row level security hides its rows from "
            "this user; readyfs doctor says which"
        )
    noun = "partition" if catalog.partitions == 1 else "partitions"
    counts = [f"{reason} {count}" for reason, count in loaded.report.withheld.counts.items() if count]
    withheld = f"; withheld: {', '.join(counts)}" if counts else ""
    click.echo(escape_text(f"OK: {catalog.partitions} {noun} in {state.label}, runs in {raw.label}{withheld}"))
    return ExitCode.OK


def _warn(warning: str) -> None:
    click.echo(f"readyfs: warning: {escape_text(warning)}", err=True)


def _origin(setting: Setting[object], resolution: Resolution) -> str:
    return escape_text(resolution.origin(setting).label)


def _plain(setting: Setting[object], resolution: Resolution) -> object:
    """Return a value for JSON: what JSON has a form for as it is, anything else as one would write it."""
    value = resolution.get(setting)
    if value is None or isinstance(value, bool) or setting.shape in (Shape.NUMBER, Shape.ACCOUNT):
        return value
    if isinstance(value, tuple):
        return [escape_text(str(word)) for word in value]
    return _render(setting, resolution)


def _render(setting: Setting[object], resolution: Resolution) -> str:
    value = resolution.get(setting)
    text = setting.render(value)
    if setting.name == STATE.name and value is not None:
        from readyfs.state.url import mask_url

        text = mask_url(text)
    return escape_text(mask_passwords(text))
