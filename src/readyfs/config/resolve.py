"""Collecting what was given for each setting: flag before variable before file before default."""

from __future__ import annotations

import datetime
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar, cast

from readyfs.config.guess import guess_name
from readyfs.config.location import make_absolute
from readyfs.config.setting import VARIABLE_PREFIX, Setting, Shape
from readyfs.config.table import SETTINGS
from readyfs.errors import UsageError
from readyfs.text import escape_text

T = TypeVar("T")

CONFIG_VARIABLE: Final = f"{VARIABLE_PREFIX}CONFIG"
"""Names the TOML file, as `--config` does; the file cannot name itself."""


class OriginKind(IntEnum):
    """Where a value came from; the lower wins."""

    FLAG = 1
    VARIABLE = 2
    FILE = 3
    DEFAULT = 4


class Origin(NamedTuple):
    """Where a value came from, and the words for it in a message."""

    kind: OriginKind
    label: str


class SettingInfo(NamedTuple):
    """What a document says about a setting."""

    name: str
    flag: str
    variable: str
    key: str
    default: str
    help: str
    group: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """The value and the origin of each setting that was asked for, and the file that was read.

    `is_file_flagged` tells whether a flag named that file, and no variable.
    """

    values: Mapping[str, object]
    origins: Mapping[str, Origin]
    config_file: Path | None
    is_file_flagged: bool = False

    def get(self, setting: Setting[T]) -> T:
        """Return a setting's value."""
        # Every value was made by its own setting's parser or default.
        return cast(T, self.values[setting.name])

    def origin(self, setting: Setting[object]) -> Origin:
        """Return where a setting's value came from."""
        return self.origins[setting.name]


def iter_settings() -> Iterator[SettingInfo]:
    """Yield every setting in the order of the help."""
    for one in SETTINGS:
        yield SettingInfo(one.name, one.flag, one.variable, one.name, one.default_text, one.help, str(one.group))


def resolve_settings(
    flags: Mapping[str, tuple[str, ...]],
    *,
    environ: Mapping[str, str] = os.environ,
    config_file: Path | None = None,
    settings: Sequence[Setting[object]] = SETTINGS,
    refuse_unknown: bool = True,
) -> Resolution:
    """Find the value of each setting; `flags` holds the texts given on the command line, by setting name.

    An empty variable counts as not set. A relative path is seen from the working directory, one in the file from the
    file's directory. Raises `UsageError`, with `refuse_unknown` also for variables and keys that are no settings.
    """
    if refuse_unknown:
        _refuse_unknown_variables(environ)
    is_file_flagged = config_file is not None
    if config_file is None and environ.get(CONFIG_VARIABLE):
        config_file = Path(environ[CONFIG_VARIABLE])
    if config_file is not None:
        config_file = Path(make_absolute(str(config_file), _working_directory))
    table: Mapping[str, object] = {}
    if config_file is not None:
        shown = escape_text(str(config_file))
        table = _read_file(config_file, shown)
        if refuse_unknown:
            _refuse_unknown_keys(table, shown)
    values: dict[str, object] = {}
    origins: dict[str, Origin] = {}
    for setting in settings:
        given = _find(setting, flags, environ, table, config_file)
        if given is None:
            values[setting.name] = setting.default(environ)
            origins[setting.name] = Origin(OriginKind.DEFAULT, "default")
            continue
        texts, origin = given
        if setting.is_path:
            find_base = partial(_base_directory, config_file if origin.kind is OriginKind.FILE else None)
            texts = tuple(make_absolute(text, find_base) for text in texts)
        try:
            values[setting.name] = setting.parse(texts)
        except UsageError as error:
            raise UsageError(f"{origin.label}: {error.message}", error.remedy) from error
        origins[setting.name] = origin
    return Resolution(values, origins, config_file, is_file_flagged)


def _find(
    setting: Setting[object],
    flags: Mapping[str, tuple[str, ...]],
    environ: Mapping[str, str],
    table: Mapping[str, object],
    config_file: Path | None,
) -> tuple[tuple[str, ...], Origin] | None:
    if setting.name in flags:
        texts = flags[setting.name]
        if setting.shape is Shape.COMMA_LIST:
            texts = tuple(word for text in texts for word in _split(text))
        return texts, Origin(OriginKind.FLAG, setting.flag)
    if word := environ.get(setting.variable, ""):
        return _split(word) if setting.repeatable else (word,), Origin(OriginKind.VARIABLE, setting.variable)
    if setting.name in table:
        origin = Origin(OriginKind.FILE, f"{setting.name} in {escape_text(str(config_file))}")
        return _read_value(setting, table[setting.name], origin), origin
    return None


def _base_directory(file: Path | None) -> Path:
    return _working_directory() if file is None else file.parent


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the working directory cannot be found: {error.strerror}", "change to another, or give absolute paths"
        ) from error


def _split(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",")) if text.strip() else ()


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    known = [CONFIG_VARIABLE, *(setting.variable for setting in SETTINGS)]
    for name in sorted(environ):
        if name.startswith(VARIABLE_PREFIX) and name not in known:
            near = guess_name(name, known, VARIABLE_PREFIX)
            raise UsageError(f"unknown variable {escape_text(name)}", f"did you mean {near}?" if near else "unset it")


def _refuse_unknown_keys(table: Mapping[str, object], shown: str) -> None:
    known = [setting.name for setting in SETTINGS]
    for key in table:
        if key not in known:
            # Some write the variable's name.
            near = guess_name(key.lower().replace("_", "-"), known, VARIABLE_PREFIX.lower().replace("_", "-"))
            remedy = f"did you mean {near}?" if near else "`readyfs config show` lists every key"
            raise UsageError(f"unknown key {escape_text(key)!r} in {shown}", remedy)


def _read_file(path: Path, shown: str) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            if stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
                raise IsADirectoryError(21, "Is a directory")
            content = file.read()
    except OSError as error:
        raise UsageError(
            f"cannot read the config file {shown}: {error.strerror}", "name another with --config"
        ) from error
    import tomllib  # slow to import, and most commands read no file

    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"the config file {shown} is not TOML: line {line} is not UTF-8", "mend that line") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the config file {shown} is not TOML: {error}", "mend that line") from error


_WANTED: Final = {
    Shape.TEXT: "a string in quotes",
    Shape.NUMBER: "a whole number",
    Shape.ACCOUNT: "a whole number or a string",
    Shape.SWITCH: "true or false",
    Shape.DATE: "a date such as 2024-06-01",
    Shape.LIST: "an array of strings",
    Shape.COMMA_LIST: "an array of strings",
}


def _read_value(setting: Setting[object], value: object, origin: Origin) -> tuple[str, ...]:
    """Return a TOML value as the texts that a flag would have given; raise `UsageError` for the wrong type."""
    match setting.shape, value:
        case (Shape.SWITCH, bool()):
            return (str(value).lower(),)
        case (_, bool()):
            pass
        case (Shape.NUMBER | Shape.ACCOUNT, int()):
            return (str(value),)
        case (Shape.TEXT | Shape.ACCOUNT | Shape.DATE, str()):
            return (value,)
        case (Shape.DATE, datetime.date()) if not isinstance(value, datetime.datetime):
            return (value.isoformat(),)
        case (Shape.COMMA_LIST, str()):
            return _split(value)
        case (Shape.LIST | Shape.COMMA_LIST, list()) if all(isinstance(word, str) for word in value):
            return tuple(value)
        case _:
            pass
    raise UsageError(f"{origin.label} is of the wrong type", f"write {_WANTED[setting.shape]}")
