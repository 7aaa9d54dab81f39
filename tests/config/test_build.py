from __future__ import annotations

import re
from pathlib import Path

import pytest

from readyfs.config import build_config, find_state, find_warnings, resolve_settings
from readyfs.config.config import Config
from readyfs.errors import UsageError
from readyfs.state.store import StateTable

HOME = {"HOME": "/home/me"}
SECRET = "postgresql://me:s3cret@db/x"


def build(**flags: str) -> Config:
    return build_with({}, **flags)


def build_with(environ: dict[str, str], /, **flags: str) -> Config:
    given = {name.replace("_", "-"): (word,) for name, word in flags.items()}
    return build_config(resolve_settings(given, environ={**HOME, **environ}), Path("/mnt/ready"))


def test_state_and_raw_are_enough() -> None:
    config = build(state="/state.db", raw="/raw")
    assert (config.mountpoint, config.state, config.raw) == (Path("/mnt/ready"), "/state.db", "/raw")
    assert config.table == StateTable()
    assert config.required_files == ("payload.jsonl", "metadata.json")
    assert (config.interval_s, config.name_timeout_s, config.max_staleness_s) == (10.0, 60.0, None)


@pytest.mark.parametrize(("missing", "given"), [("state", {"raw": "/r"}), ("raw", {"state": "/s"})])
def test_missing_store_is_refused_with_the_three_names(missing: str, given: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=f"--{missing}, READYFS_{missing.upper()}, or `{missing}` in the file"):
        build(**given)


def test_column_settings_reach_the_table() -> None:
    config = build(
        state="/s",
        raw="/r",
        state_table="etl.runs",
        ready_status="ok",
        column_customer_id="cid",
        column_updated_at="at",
    )
    assert config.table == StateTable(table="etl.runs", ready="ok", customer_id="cid", updated_at="at")


def test_every_column_has_its_own_setting() -> None:
    names = [name for name in StateTable.__slots__ if name not in ("table", "ready", "failed")]
    flags = {f"column_{name}": f"{name}_x" for name in names}
    table = build(state="/s", raw="/r", **flags).table
    assert [getattr(table, name) for name in names] == [f"{name}_x" for name in names]


def test_a_lease_lasts_no_longer_of_itself_than_it_may() -> None:
    leases = {
        "10m": build(state="/s", raw="/r", pin_max="10m"),
        "1d": build(state="/s", raw="/r", pin_max="2d"),
        "1h": build(state="/s", raw="/r", pin_default="1h", pin_max="2d"),
    }
    assert {word: one.pin_default_s for word, one in leases.items()} == {"10m": 600.0, "1d": 86400.0, "1h": 3600.0}
    with pytest.raises(UsageError, match="--pin-default is longer than --pin-max"):
        build(state="/s", raw="/r", pin_default="1d", pin_max="10m")


def test_bad_template_is_refused() -> None:
    with pytest.raises(UsageError, match="layout"):
        build(state="/s", raw="/r", layout="{customer}/{logical_date}")


def test_dates_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(UsageError, match="swap"):
        build(state="/s", raw="/r", since="2024-06-02", until="2024-06-01")
    assert build(state="/s", raw="/r", since="2024-06-01", until="2024-06-01").filters.since is not None


def test_hiding_every_required_file_is_refused() -> None:
    """V10: a broken run must list something that fails."""
    with pytest.raises(UsageError, match="--files hides every file of --required-files; show at least one of them"):
        build(state="/s", raw="/r", files="*.csv")
    with pytest.raises(UsageError, match="--files hides every file of --required-files"):
        build(state="/s", raw="/r", required_files="_SUCCESS", files="payload.jsonl")
    assert build(state="/s", raw="/r", required_files="_SUCCESS", files="_*").required_files == ("_SUCCESS",)


@pytest.mark.parametrize(("name", "is_one"), [("c" * 63, True), ("c" * 64, False), ("ä" * 32, False)])
def test_channel_that_no_server_can_have_is_refused(name: str, is_one: bool) -> None:
    """PostgreSQL would cut it, and nobody would know who meant whom."""
    given = {"state": "postgresql://db/x", "raw": "/r", "state_listen": name}
    if is_one:
        assert build(**given).state_listen == name
    else:
        with pytest.raises(UsageError, match="is no name of a channel"):
            build(**given)


def test_listening_without_the_driver_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a mount refuses it, so that `config check` never says OK to what a mount would not do."""
    monkeypatch.setattr("readyfs.state.postgres.listen.find_spec", lambda _: None)
    with pytest.raises(UsageError, match="--state-listen needs psycopg"):
        build(state="postgresql://db/x", raw="/r", state_listen="changes")


def test_state_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"  {SECRET}  \nsecond line\n")
    assert build(state_file=str(tmp_path / "url"), raw="/r").state == SECRET


def test_relative_path_in_the_state_file_is_seen_from_its_directory(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("state.db\n")
    assert build(state_file=str(tmp_path / "url"), raw="/r").state == f"{tmp_path}/state.db"


@pytest.mark.parametrize("content", [None, b"", b"\n/x\n", b"SQLite format 3\0\xff\xfe"])
def test_state_file_without_a_url_is_refused_naming_it(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "url"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(str(file))):
        build(state_file=str(file), raw="/r")


def test_state_and_state_file_from_one_origin_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both --state and --state-file are given"):
        build(state="/s", state_file="/f", raw="/r")
    with pytest.raises(UsageError, match="both READYFS_STATE and READYFS_STATE_FILE are given"):
        build_with({"READYFS_STATE": "/s", "READYFS_STATE_FILE": "/f"}, raw="/r")


def test_of_state_and_state_file_the_stronger_origin_counts(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("/from-file.db\n")
    assert build_with({"READYFS_STATE_FILE": "/none"}, state="/flag.db", raw="/r").state == "/flag.db"
    environ = {"READYFS_STATE": "/variable.db"}
    assert build_with(environ, state_file=str(tmp_path / "url"), raw="/r").state == "/from-file.db"


def test_at_sign_in_a_password_is_refused_before_the_rest_of_it_passes_for_a_host() -> None:
    with pytest.raises(UsageError, match=r"--state: .*write that one as %40") as caught:
        build(state="postgresql://me:s3cret@s3cret@db/x", raw="/r")
    assert "s3cret" not in str(caught.value)
    assert build(state="postgresql://me:pw@db/x?options=a@b@c", raw="/r").state


def test_secret_stays_out_of_the_repr() -> None:
    assert "s3cret" not in repr(build(state=SECRET, raw="/r"))


def warnings_of(
    flags: dict[str, str], environ: dict[str, str] | None = None, config_file: Path | None = None
) -> tuple[str, ...]:
    given = {name: (word,) for name, word in flags.items()}
    return find_warnings(resolve_settings(given, environ={**HOME, **(environ or {})}, config_file=config_file))


def test_password_on_the_command_line_is_warned_of_once_naming_both_ways_out() -> None:
    [warning] = warnings_of({"state": SECRET})
    assert "--state-file" in warning
    assert "READYFS_STATE" in warning
    assert "s3cret" not in warning


def test_password_in_a_variable_is_not_warned_of() -> None:
    assert warnings_of({}, {"READYFS_STATE": SECRET}) == ()


def test_state_without_a_password_is_not_warned_of(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("/state.db\n")
    (tmp_path / "url").chmod(0o644)
    assert warnings_of({"state": "/state.db"}) == ()
    assert warnings_of({"state": "postgresql://me@db/x"}) == ()
    assert warnings_of({"state-file": str(tmp_path / "url")}) == ()


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o604, True), (0o640, False), (0o600, False)])
def test_file_with_a_password_that_everyone_can_read_is_warned_of(tmp_path: Path, mode: int, warned: bool) -> None:
    url, toml = tmp_path / "url", tmp_path / "readyfs.toml"
    url.write_text(f"{SECRET}\n")
    toml.write_text(f'state = "{SECRET}"\n')
    url.chmod(mode)
    toml.chmod(mode)
    for found, name in ((warnings_of({"state-file": str(url)}), "url"), (warnings_of({}, None, toml), "readyfs.toml")):
        assert bool(found) is warned
        assert all(name in warning and "s3cret" not in warning for warning in found)


def test_state_path_with_a_control_character_is_not_taken_for_a_password() -> None:
    assert warnings_of({"state": "/d1/n\nl.db"}) == ()


def test_remedy_quotes_a_path_with_blanks(tmp_path: Path) -> None:
    url = tmp_path / "a url"
    url.write_text(f"{SECRET}\n")
    url.chmod(0o644)
    [warning] = warnings_of({"state-file": str(url)})
    assert f"`chmod o-r '{url}'`" in warning


def test_no_state_at_all_is_refused_before_anything_is_warned_of() -> None:
    with pytest.raises(UsageError, match="no state store is named"):
        find_state(resolve_settings({}, environ=HOME))
