"""The terminal runs what is typed in one shell, and never waits longer than it was told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from readyfs.demo.terminal import CommandTimeoutError, Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    scratch, place = tmp_path / "bin", tmp_path / "place"
    scratch.mkdir()
    place.mkdir()
    with Terminal(place, scratch) as terminal:
        yield terminal


def test_output_of_both_streams_and_status_come_back(terminal: Terminal) -> None:
    assert terminal.run("echo out; echo err >&2; false") == ("out\nerr\n", 1)


def test_output_without_a_newline_at_its_end_is_kept(terminal: Terminal) -> None:
    assert terminal.run("printf x") == ("x", 0)


def test_open_file_lasts_from_command_to_command(terminal: Terminal) -> None:
    terminal.run("echo kept >file; exec 3<file; rm file")
    assert terminal.run("cat <&3").text == "kept\n"


def test_command_that_reads_its_input_finds_none(terminal: Terminal) -> None:
    assert terminal.run("cat") == ("", 0)
    assert terminal.run("echo next").text == "next\n"


def test_commands_run_in_the_given_directory(terminal: Terminal, tmp_path: Path) -> None:
    assert terminal.run("pwd -P").text == f"{(tmp_path / 'place').resolve()}\n"


def test_python_is_the_one_that_can_import_readyfs(terminal: Terminal) -> None:
    assert terminal.run("python -c 'import readyfs; print(readyfs.__version__)'").status == 0


def test_settings_of_the_environment_do_not_reach_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READYFS_INTERVAL", "1h")
    with Terminal(tmp_path, tmp_path) as terminal:
        assert terminal.run("env | grep READYFS_").text == ""


def test_command_over_its_time_is_ended_with_what_it_had_printed(terminal: Terminal) -> None:
    with pytest.raises(CommandTimeoutError, match="begun"):
        terminal.run("echo begun; sleep 60", timeout_s=0.3)


def test_command_that_ends_the_shell_gives_its_status(terminal: Terminal) -> None:
    assert terminal.run("echo bye; exit 3") == ("bye\n", 3)
