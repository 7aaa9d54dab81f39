from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from readyfs import __version__
from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.failure import find_user_error
from readyfs.cli.main import cli, main
from readyfs.config.table import SETTINGS
from readyfs.errors import ExitCode, StateError
from tests.cli.conftest import SOURCE, Run


def leaf_commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(command, click.Group):
        return [leaf for name, one in command.commands.items() for leaf in leaf_commands(one, (*path, name))]
    return [path]


def test_version_is_printed(run: Run) -> None:
    assert run("--version") == (0, f"readyfs, version {__version__}\n", "")


def test_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "readyfs", "--version"],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert __version__ in done.stdout


@pytest.mark.parametrize("path", [(), ("config",), *leaf_commands(cli)], ids=" ".join)
def test_every_command_has_help_under_both_flags(run: Run, path: tuple[str, ...]) -> None:
    code, out, err = run(*path, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: {' '.join(('readyfs', *path))} ")
    assert run(*path, "-h") == (0, out, "")


@pytest.mark.parametrize("path", leaf_commands(cli), ids=" ".join)
def test_every_option_is_explained(path: tuple[str, ...]) -> None:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_mount_help_shows_every_setting_and_its_default_under_a_heading(run: Run) -> None:
    _, out, _ = run("mount", "--help")
    flat = "".join(out.split())  # However the lines are wrapped.
    for setting in SETTINGS:
        assert f"{setting.flag} " in out or f"{setting.flag}\n" in out, setting.name
        assert str(setting.group) + ":\n" in out
        assert "".join(f"[default: {setting.default_text}]".split()) in flat


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["mout"], "readyfs: No such command 'mout'. (Did you mean one of: 'mount', 'umount'?); see `readyfs --help`"),
        (["mount"], "readyfs: Missing argument 'MOUNTPOINT'; see `readyfs mount --help`"),
        (["status", "a", "b"], "readyfs: Got unexpected extra argument (b); see `readyfs status --help`"),
    ],
)
def test_usage_error_is_one_line(run: Run, arguments: list[str], line: str) -> None:
    assert run(*arguments) == (2, "", line + "\n")


def test_unknown_flag_suggests_the_near_one(run: Run) -> None:
    code, _, err = run("mount", "m", "--intervall", "3s")
    assert code == 2
    assert "Did you mean '--interval'?" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("command", "flag"), [("mount", "--nope"), ("mount", "--json"), ("status", "--q")])
def test_unknown_flag_far_from_any_suggests_nothing(run: Run, command: str, flag: str) -> None:
    assert run(command, "m", flag) == (2, "", f"readyfs: No such option '{flag}'; see `readyfs {command} --help`\n")


@pytest.mark.parametrize("arguments", [["mount", "m", "--files"], ["mount", "--state"], ["demo", "--seed"]])
def test_option_without_its_value_points_to_the_help_of_its_command(run: Run, arguments: list[str]) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert err.endswith(f"requires an argument; see `readyfs {arguments[0]} --help`\n")


def test_long_default_is_broken_between_directories(run: Run) -> None:
    lines = [line.strip() for line in run("mount", "--help")[1].splitlines()]
    assert "[default: {source}/customer_id={customer_id}/" in lines
    assert "logical_date={logical_date}/run_id={run_id}]" in lines


@pytest.mark.parametrize("command", ["status", "refresh", "umount"])
def test_unknown_variable_does_not_keep_anyone_from_a_mount_that_stands(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("READYFS_QQQ", "1")
    assert run(command, str(tmp_path))[0] == ExitCode.NOT_RUNNING
    assert run("mount", str(tmp_path))[0] == ExitCode.USAGE
    assert run("config", "show")[0] == ExitCode.USAGE


def test_no_command_prints_the_help_and_is_a_usage_error(run: Run) -> None:
    code, _, err = run()
    assert code == 2
    assert "Commands:" in err


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `readyfs broken` whose only option names the exception that it raises."""

    @click.command(cls=ReadyfsCommand)
    @click.option("--error")
    def command(error: str) -> None:
        kinds: dict[str, BaseException] = {
            "bug": KeyError("s3cret"),
            "group": ExceptionGroup("", [KeyError("s3cret")]),
            "interrupt": KeyboardInterrupt(),
            "pipe": BrokenPipeError(),
            "user": StateError("a\nb\x1b", "c"),
        }
        raise kinds[error]

    monkeypatch.setitem(cli.commands, "broken", command)


@pytest.mark.usefixtures("broken")
def test_bug_is_one_line_with_type_and_place_but_not_its_text(run: Run) -> None:
    for kind in ("bug", "group"):
        code, _, err = run("broken", "--error", kind)
        assert code == ExitCode.INTERNAL
        assert err.startswith("readyfs: internal error: KeyError")
        assert err.count("\n") == 1
        assert "s3cret" not in err


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    "arguments", [("--debug", "broken", "--error", "bug"), ("broken", "--error", "bug", "--debug")]
)
def test_debug_adds_the_traceback_wherever_it_stands(run: Run, arguments: tuple[str, ...]) -> None:
    code, _, err = run(*arguments)
    assert code == ExitCode.INTERNAL
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("readyfs: internal error: KeyError")


@pytest.mark.usefixtures("broken")
def test_user_error_is_one_escaped_line_and_its_exit_code(run: Run) -> None:
    assert run("broken", "--error", "user") == (3, "", "readyfs: a\\nb\\x1b; c\n")


@pytest.mark.usefixtures("broken")
def test_interrupt_is_130(run: Run) -> None:
    code, _, err = run("broken", "--error", "interrupt")
    assert code == 130
    assert "Traceback" not in err


def test_reader_that_has_enough_causes_no_complaint() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "readyfs", "config", "show"],
        env={"PYTHONPATH": str(SOURCE), "HOME": "/"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(30)


def test_mistake_and_bug_in_one_group_are_a_bug() -> None:
    mistake = StateError("a", "b")
    assert find_user_error(mistake) is mistake
    assert find_user_error(ExceptionGroup("", [ExceptionGroup("", [mistake])])) is mistake
    assert find_user_error(ExceptionGroup("", [mistake, KeyError()])) is None
    assert find_user_error(KeyError()) is None


def test_main_takes_the_process_arguments_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["readyfs", "--version"])
    assert main() == 0
    assert __version__ in capsys.readouterr().out


def test_demo_without_a_mount_only_writes_the_world(run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "world"
    arguments = ["--no-mount", "--customers", "1", "--queries", "1", "--days", "3", "--seed", "1"]
    code, _, err = run("demo", str(directory), *arguments)
    assert (code, err) == (0, "")
    assert (directory / "state.db").is_file()
