"""`readyfs config show` and `readyfs config check`: what a mount would do, and whether it would come up."""

from __future__ import annotations

import json
from pathlib import Path

import click

from readyfs.cli.command import ReadyfsCommand, ReadyfsGroup
from readyfs.cli.settings_options import with_settings
from readyfs.config import Resolution, build_config, find_warnings
from readyfs.config.setting import Setting
from readyfs.config.table import SETTINGS, STATE
from readyfs.errors import ExitCode
from readyfs.log import mask_passwords
from readyfs.partition import escape_text


@click.group(cls=ReadyfsGroup, short_help="Show the settings in effect, or check them without mounting.")
def config() -> None:
    """Show the settings in effect and where each comes from, or check them without mounting."""


@config.command(cls=ReadyfsCommand, short_help="Show every setting, its value and where that comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object of value and origin by name.")
@with_settings(*SETTINGS)
def show(as_json: bool, resolution: Resolution) -> ExitCode:
    """Show every setting, its value and where that comes from; passwords are shown as ***."""
    rows = [(one.name, _render(one, resolution), resolution.origin(one).label) for one in SETTINGS]
    if as_json:
        click.echo(json.dumps({name: {"value": value, "origin": origin} for name, value, origin in rows}))
        return ExitCode.OK
    name_width = max(len(name) for name, _, _ in rows)
    value_width = min(48, max(len(value) for _, value, _ in rows))
    for name, value, origin in rows:
        click.echo(f"{name:<{name_width}}  {value:<{value_width}}  {escape_text(origin)}")
    return ExitCode.OK


@config.command(cls=ReadyfsCommand, short_help="Check the settings, the state store and the raw root.")
@with_settings(*SETTINGS)
def check(resolution: Resolution) -> ExitCode:
    """Check every setting, read the state store once and look at the raw root, without mounting anything.

    It prints one line: OK with what was found, or the error that a mount would end with.
    """
    # Checked without a mount point: nothing here depends on it.
    config = build_config(resolution, Path("/"))
    for warning in find_warnings(resolution):
        click.echo(f"readyfs: warning: {escape_text(warning)}", err=True)
    from readyfs.raw.open import open_raw
    from readyfs.state.open import open_state

    raw = open_raw(config.raw, config.raw_layout)
    raw.check()
    state = open_state(config.state, config.table, config.filters, config.state_timeout_s)
    try:
        load = state.load()
    finally:
        state.close()
    withheld = f", {load.withheld.total()} withheld" if load.withheld.total() else ""
    click.echo(escape_text(f"OK: {load.rows} ready rows{withheld} in {state.label}, runs in {raw.label}"))
    return ExitCode.OK


def _render(setting: Setting[object], resolution: Resolution) -> str:
    value = resolution.get(setting)
    text = setting.render(value)
    if setting.name == STATE.name and value is not None:
        from readyfs.state.open import mask_url

        text = mask_url(text)
    return escape_text(mask_passwords(text))
