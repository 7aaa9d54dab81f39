"""Every setting works as flag, variable and file key, in that order of precedence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from readyfs.config import iter_settings, resolve_settings
from readyfs.config.setting import Setting, Shape
from readyfs.config.table import SETTINGS
from readyfs.errors import UsageError

# Three values of each setting, in the words of a flag, that are not its default.
WORDS: dict[str, tuple[str, str, str]] = {
    "state": ("/a.db", "/b.db", "/c.db"),
    "state-file": ("/a.url", "/b.url", "/c.url"),
    "raw": ("/a", "/b", "/c"),
    "since": ("2024-01-01", "2024-01-02", "2024-01-03"),
    "until": ("2024-01-01", "2024-01-02", "2024-01-03"),
    "raw-encoding": ("hive", "hive", "hive"),
    "max-staleness": ("1m", "2m", "3m"),
    "max-retract": ("10%", "20%", "2.5%"),
    "retract-floor": ("1", "2", "3"),
    "retract-after": ("1m", "2m", "3m"),
    "accept": ("0" * 32, "1" * 32, "a" * 32),
    "engine": ("direct", "pyfuse3", "direct"),
    "engine-loop": ("native", "python", "shadow"),
    "reads": ("cached", "passthrough", "cached"),
    "xattrs": ("false", "true", "false"),
    "push": ("false", "true", "false"),
    "show-error-messages": ("true", "false", "true"),
    "allow-other": ("false", "true", "false"),
    "uid": ("1001", "1002", "1003"),
    "gid": ("1001", "1002", "1003"),
    "file-times": ("published", "published", "published"),
    "file-mode": ("0400", "0440", "0004"),
    "dir-mode": ("0500", "0550", "0005"),
    "raw-threads": ("1", "2", "3"),
    "state-dir": ("/a", "/b", "/c"),
    "runtime-dir": ("/a", "/b", "/c"),
    "public-dir": ("/a", "/b", "/c"),
    "history-count": ("1", "2", "3"),
    "history-bytes": ("1MiB", "2MiB", "3GiB"),
    "pin-count": ("1", "2", "3"),
    "pin-memory": ("1MiB", "2MiB", "3GiB"),
    "pin-store": ("/a", "/b", "/c"),
    "metrics-file": ("/a.prom", "/b.prom", "/c.prom"),
    "log-file": ("/a.log", "/b.log", "/c.log"),
    "log-format": ("json", "human", "json"),
    "log-level": ("debug", "warning", "error"),
}
DURATIONS = ("1s", "2s", "3s")
TEXTS = ("one", "two", "three")


def words_of(setting: Setting[object]) -> tuple[str, str, str]:
    if setting.name in WORDS:
        return WORDS[setting.name]
    return DURATIONS if setting.metavar == "DURATION" else TEXTS


def render_toml(setting: Setting[object], word: str) -> str:
    if setting.shape is Shape.SWITCH or setting.shape in (Shape.NUMBER, Shape.ACCOUNT):
        return word
    return f'["{word}"]' if setting.repeatable else f'"{word}"'


def each() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)


@each()
def test_flag_wins_over_variable_over_file_over_default(setting: Setting[object], tmp_path: Path) -> None:
    flag, variable, key = words_of(setting)
    file = tmp_path / "readyfs.toml"
    file.write_text(f"{setting.name} = {render_toml(setting, key)}\n")
    flags, environ = {setting.name: (flag,)}, {setting.variable: variable}

    def resolve(flags: Mapping[str, tuple[str, ...]], environ: Mapping[str, str], file: Path | None) -> str:
        resolution = resolve_settings(flags, environ={"HOME": "/home/me", **environ}, config_file=file)
        return setting.render(resolution.get(setting))

    assert resolve(flags, environ, file) == setting.render(setting.parse((flag,)))
    assert resolve({}, environ, file) == setting.render(setting.parse((variable,)))
    assert resolve({}, {}, file) == setting.render(setting.parse((key,)))
    assert resolve({}, {}, None) == setting.render(setting.default({"HOME": "/home/me"}))


@each()
def test_origin_names_the_flag_the_variable_or_the_key_and_its_file(setting: Setting[object], tmp_path: Path) -> None:
    flag, variable, key = words_of(setting)
    file = tmp_path / "readyfs.toml"
    file.write_text(f"{setting.name} = {render_toml(setting, key)}\n")
    environ = {"HOME": "/home/me"}
    labels = [
        resolve_settings({setting.name: (flag,)}, environ=environ).origin(setting).label,
        resolve_settings({}, environ={**environ, setting.variable: variable}).origin(setting).label,
        resolve_settings({}, environ=environ, config_file=file).origin(setting).label,
        resolve_settings({}, environ=environ).origin(setting).label,
    ]
    assert labels == [setting.flag, setting.variable, f"{setting.name} in {file}", "default"]


@each()
def test_value_shown_can_be_given_back(setting: Setting[object]) -> None:
    for word in words_of(setting):
        value = setting.parse((word,))
        assert setting.parse(tuple(setting.render(value).split(","))) == value


@each()
def test_wrong_toml_type_is_refused_naming_key_and_file(setting: Setting[object], tmp_path: Path) -> None:
    file = tmp_path / "readyfs.toml"
    wrong = "1.5" if setting.shape is not Shape.SWITCH else '"true"'
    file.write_text(f"{setting.name} = {wrong}\n")
    with pytest.raises(UsageError, match=f"^{setting.name} in {re.escape(str(file))} is of the wrong type; write "):
        resolve_settings({}, environ={"HOME": "/"}, config_file=file)


@each()
def test_empty_variable_counts_as_not_set(setting: Setting[object]) -> None:
    resolution = resolve_settings({}, environ={"HOME": "/", setting.variable: ""})
    assert resolution.origin(setting).label == "default"


@each()
def test_setting_has_one_name_and_an_explanation(setting: Setting[object]) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", setting.name)
    assert setting.flag == f"--{setting.name}"
    assert setting.variable == "READYFS_" + setting.name.upper().replace("-", "_")
    assert setting.help.endswith(".")
    assert setting.default_text


def test_every_setting_is_listed_once_for_the_documents() -> None:
    infos = list(iter_settings())
    assert [info.name for info in infos] == [setting.name for setting in SETTINGS]
    assert len({info.variable for info in infos}) == len(infos)


def test_default_text_is_the_default() -> None:
    environ = {"HOME": "/home/me"}
    computed = {"uid", "gid", "allow-other", "state-dir", "runtime-dir", "public-dir", "xattrs", "push", "raw-id"}
    for setting in SETTINGS:
        if setting.name not in computed:
            assert setting.render(setting.default(environ)) == setting.default_text, setting.name
