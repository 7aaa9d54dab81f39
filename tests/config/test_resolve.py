from __future__ import annotations

import os
from pathlib import Path

import pytest

from readyfs import privileges
from readyfs.config import Resolution, resolve_settings, table
from readyfs.errors import UsageError

HOME = {"HOME": "/home/me"}


def resolve(flags: dict[str, tuple[str, ...]] | None = None, **environ: str) -> Resolution:
    return resolve_settings(flags or {}, environ={**HOME, **environ})


def resolve_file(tmp_path: Path, text: str) -> Resolution:
    file = tmp_path / "readyfs.toml"
    file.write_text(text)
    return resolve_settings({}, environ=HOME, config_file=file)


def test_repeated_flag_gathers_every_word_once_and_keeps_commas() -> None:
    assert resolve({"customer": ("a,b", "c", "a,b")}).get(table.CUSTOMER) == ("a,b", "c")


def test_variable_of_a_repeatable_setting_is_split_at_commas() -> None:
    assert resolve(READYFS_CUSTOMER="00*, 01").get(table.CUSTOMER) == ("00*", "01")


def test_required_files_are_split_at_commas_in_flag_and_file(tmp_path: Path) -> None:
    assert resolve({"required-files": ("a,b", "c")}).get(table.REQUIRED_FILES) == ("a", "b", "c")
    assert resolve_file(tmp_path, 'required-files = "a, b"').get(table.REQUIRED_FILES) == ("a", "b")


@pytest.mark.parametrize("word", ["", "a/b", "..", "a,,b", "x" * 256])
def test_required_file_that_is_no_plain_name_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--required-files"):
        resolve({"required-files": (word,)})


def test_unknown_variable_suggests_the_near_one() -> None:
    with pytest.raises(UsageError, match=r"READYFS_INTERVALL; did you mean READYFS_INTERVAL\?"):
        resolve(READYFS_INTERVALL="3s")


def test_unknown_variable_far_from_any_is_still_refused() -> None:
    with pytest.raises(UsageError, match="READYFS_QQQ"):
        resolve(READYFS_QQQ="1")


def test_variables_of_others_are_none_of_our_business() -> None:
    resolve(READY="1", READYFSX="1")


@pytest.mark.parametrize(("key", "near"), [("intervall", "interval"), ("name_timeout", "name-timeout"), ("RAW", "raw")])
def test_unknown_key_suggests_the_near_one_and_names_the_file(tmp_path: Path, key: str, near: str) -> None:
    with pytest.raises(UsageError, match=rf"unknown key '{key}' in .*readyfs.toml; did you mean {near}\?"):
        resolve_file(tmp_path, f'{key} = "3s"\n')


@pytest.mark.parametrize("key", ["READYFS_STATE", "readyfs-state", "readyfs_state"])
def test_key_written_like_the_variable_suggests_the_setting(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError, match=r"did you mean state\?"):
        resolve_file(tmp_path, f'{key} = "x"\n')


def test_table_in_the_file_is_an_unknown_key_without_a_far_guess(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown key 'mount' in .*; `readyfs config show` lists every key"):
        resolve_file(tmp_path, '[mount]\ninterval = "3s"\n')


def test_unknown_names_are_passed_over_by_who_does_not_mind(tmp_path: Path) -> None:
    file = tmp_path / "readyfs.toml"
    file.write_text('intervall = "3s"\nruntime-dir = "/x"\n')
    environ = {**HOME, "READYFS_QQQ": "1"}
    resolution = resolve_settings(
        {}, environ=environ, config_file=file, settings=[table.RUNTIME_DIR], refuse_unknown=False
    )
    assert resolution.get(table.RUNTIME_DIR) == Path("/x")


@pytest.mark.parametrize(
    "line",
    [
        "file-mode = 0o444",
        "interval = 10",
        'raw-threads = "4"',
        "raw-threads = true",
        "xattrs = 1",
        'source = "google_ads"',
        "source = [1]",
        "since = 2024-06-01T00:00:00",
        'interval = ["1s"]',
    ],
)
def test_value_of_the_wrong_type_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match="wrong type"):
        resolve_file(tmp_path, line)


def test_date_may_be_a_toml_date_or_a_string(tmp_path: Path) -> None:
    resolution = resolve_file(tmp_path, 'since = 2024-06-01\nuntil = "2024-06-02"\n')
    assert (resolution.get(table.UNTIL) or 0) - (resolution.get(table.SINCE) or 0) == 1


@pytest.mark.parametrize("word", ["2024-6-1", "20240601", "2024-W01-1", "2024-02-30", "yesterday", "\udcff"])
def test_date_in_another_form_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="YYYY-MM-DD"):
        resolve({"since": (word,)})


@pytest.mark.parametrize(
    ("text", "problem"),
    [("interval = ", "not TOML"), ("\xff", "not TOML"), (None, "No such file"), ("dir", "Is a directory")],
)
def test_file_that_cannot_be_read_is_one_error_naming_it(tmp_path: Path, text: str | None, problem: str) -> None:
    file = tmp_path / "readyfs.toml"
    if text == "dir":
        file.mkdir()
    elif text is not None:
        file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=f"readyfs.toml.*{problem}"):
        resolve_settings({}, environ=HOME, config_file=file)


def test_file_that_is_not_utf_8_is_refused_naming_the_line(tmp_path: Path) -> None:
    file = tmp_path / "readyfs.toml"
    file.write_bytes(b'interval = "3s"\nraw = "/d\xe4ta"\n')
    with pytest.raises(UsageError, match="line 2 is not UTF-8; mend that line"):
        resolve_settings({}, environ=HOME, config_file=file)


@pytest.mark.parametrize("name", ["source", "files", "required-files"])
def test_empty_list_is_refused_rather_than_taken_for_everything(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} in .*: the list is empty"):
        resolve_file(tmp_path, f"{name} = []\n")


def test_variable_can_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "readyfs.toml"
    file.write_text('interval = "3s"\n')
    assert resolve(READYFS_CONFIG=str(file)).get(table.INTERVAL) == 3.0


def test_bad_value_is_refused_naming_where_it_came_from(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--interval: the duration 3 has no unit; write 3s"):
        resolve({"interval": ("3",)})
    with pytest.raises(UsageError, match=r"^READYFS_INTERVAL: "):
        resolve(READYFS_INTERVAL="3")
    with pytest.raises(UsageError, match=r"^interval in .*readyfs.toml: "):
        resolve_file(tmp_path, 'interval = "3"')


@pytest.mark.parametrize("word", ["49ms", "0s", "-1s", "25h"])
def test_interval_out_of_bounds_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--interval"):
        resolve({"interval": (word,)})


def test_max_staleness_can_be_switched_off_again() -> None:
    assert resolve({"max-staleness": ("none",)}, READYFS_MAX_STALENESS="1m").get(table.MAX_STALENESS) is None


@pytest.mark.parametrize("word", ["0664", "0622", "4555", "1555", "2444", "777"])
def test_mode_with_which_others_write_and_set_id_or_sticky_bits_are_refused(word: str) -> None:
    """V9: of write bits the owner's alone, no set-id or sticky bit."""
    for name in ("file-mode", "dir-mode"):
        with pytest.raises(UsageError, match="lets group or others write, or has a set-id or sticky bit"):
            resolve({name: (word,)})


@pytest.mark.parametrize("word", ["0644", "755", "0o600"])
def test_mode_may_show_the_write_bit_of_the_owner(word: str) -> None:
    """V9."""
    assert resolve({"file-mode": (word,)}).get(table.FILE_MODE) == int(word.removeprefix("0o"), 8)


@pytest.mark.parametrize("word", ["", "rw", "0888", "0x1", "-444", "0o", "0000000444"])
def test_mode_that_is_not_octal_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--file-mode"):
        resolve({"file-mode": (word,)})


@pytest.mark.parametrize("word", ["440", "0440", "0o440"])
def test_mode_is_octal_however_it_is_written(word: str) -> None:
    assert resolve({"file-mode": (word,)}).get(table.FILE_MODE) == 0o440


def test_owner_can_be_a_name_or_a_number() -> None:
    assert resolve({"uid": ("root",), "gid": ("root",)}).get(table.UID) == 0
    assert resolve({"uid": ("4000000000",)}).get(table.UID) == 4_000_000_000


@pytest.mark.parametrize("word", ["nobody-of-that-name", "4294967295", "-1", ""])
def test_owner_that_does_not_exist_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--uid"):
        resolve({"uid": (word,)})


@pytest.mark.parametrize("word", ["0", "257", "4.0", "²", "9" * 5000])
def test_number_out_of_bounds_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--raw-threads"):
        resolve({"raw-threads": (word,)})


def test_unknown_choice_lists_the_choices() -> None:
    with pytest.raises(UsageError, match="--log-format: 'xml' is none of the choices; choose one of auto, human, json"):
        resolve({"log-format": ("xml",)})


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("OFF", False), ("1", True), ("false", False)])
def test_switch_understands_the_usual_words_in_a_variable(word: str, value: bool) -> None:
    assert resolve(READYFS_XATTRS=word).get(table.XATTRS) is value


def test_relative_paths_are_seen_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    resolution = resolve({"raw": ("raw",), "log-file": ("x.log",)}, READYFS_STATE="state.db")
    assert resolution.get(table.RAW) == f"{tmp_path}/raw"
    assert resolution.get(table.LOG_FILE) == tmp_path / "x.log"
    assert resolution.get(table.STATE) == f"{tmp_path}/state.db"


def test_relative_paths_in_the_file_are_seen_from_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    resolution = resolve_file(tmp_path, 'raw = "raw"\nstate = "sqlite:///state.db"\n')
    assert resolution.get(table.RAW) == f"{tmp_path}/raw"
    assert resolution.get(table.STATE) == f"sqlite:///{tmp_path}/state.db"


def test_absolute_paths_work_where_the_working_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert resolve({"raw": ("/raw",)}).get(table.RAW) == "/raw"
    with pytest.raises(UsageError, match="working directory"):
        resolve({"raw": ("raw",)})


def test_settings_not_asked_for_cannot_fail() -> None:
    resolution = resolve_settings({}, environ={**HOME, "READYFS_INTERVAL": "bad"}, settings=[table.RUNTIME_DIR])
    assert resolution.get(table.RUNTIME_DIR).is_absolute()


def test_places_of_our_own_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(STATE_DIRECTORY="/var/lib/readyfs:/other").get(table.STATE_DIR) == Path("/var/lib/readyfs")
    assert resolve(XDG_STATE_HOME="/xdg").get(table.STATE_DIR) == Path("/xdg/readyfs")
    assert resolve(XDG_STATE_HOME="relative").get(table.STATE_DIR) == Path("/home/me/.local/state/readyfs")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert resolve(XDG_RUNTIME_DIR="/run/user/0").get(table.RUNTIME_DIR) == Path("/run/readyfs")
    assert resolve().get(table.PUBLIC_DIR) == Path("/run/readyfs-public")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert resolve(XDG_RUNTIME_DIR="/run/user/1000").get(table.RUNTIME_DIR) == Path("/run/user/1000/readyfs")
    assert resolve().get(table.RUNTIME_DIR) == Path("/tmp/readyfs-1000")
    assert resolve(XDG_RUNTIME_DIR="/run/user/1000").get(table.PUBLIC_DIR) == Path("/tmp/readyfs-public-1000")


@pytest.mark.parametrize("capable", [True, False])
def test_whoever_can_mount_shows_it_to_others(monkeypatch: pytest.MonkeyPatch, capable: bool) -> None:
    monkeypatch.setattr(privileges, "has_capability", lambda capability: capable)
    assert resolve().get(table.ALLOW_OTHER) is capable


def test_example_file_that_is_shipped_holds_only_settings() -> None:
    example = Path(__file__).parents[2] / "systemd" / "readyfs.example.toml"
    resolve_settings({}, environ=HOME, config_file=example)
