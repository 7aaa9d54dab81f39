"""Where a question is asked: what can be said of it on the command line, and what is refused with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from readyfs.cli.command import GroupedOption
from readyfs.cli.main import cli
from readyfs.errors import ExitCode
from tests.cli.conftest import Run

QUESTIONS = ("ls", "latest", "gaps", "coverage", "why", "wait", "changes", "replay")
KEY = "001/daily/2024-06-01"


@pytest.mark.parametrize("command", QUESTIONS)
def test_help_is_about_a_command_and_help_all_about_every_setting(
    run: Run, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    _, short, _ = run(command, "--help")
    code, whole, _ = run(command, "--help-all")
    assert (code, whole.splitlines()[0]) == (0, short.splitlines()[0])
    assert len(short.splitlines()) <= 78
    assert short.index("\nOptions:\n") < short.index("\nWhere the data is:\n")
    assert "--column-customer-id" in short  # its name, which leads to the rest
    for parameter in cli.commands[command].params:
        if isinstance(parameter, GroupedOption) and parameter.folded:
            [line] = [one for one in whole.splitlines() if one.lstrip().startswith(f"{parameter.opts[0]} ")]
            assert line not in short.splitlines()


@pytest.mark.parametrize("command", QUESTIONS)
def test_questions_have_examples(command: str) -> None:
    text = cli.commands[command].help
    assert text is not None
    assert text.partition("\b\n")[2].lstrip().startswith(f"readyfs {command} ")


def test_command_without_folded_settings_has_one_help(run: Run) -> None:
    assert run("mount", "--help-all")[0] == ExitCode.USAGE
    assert run("status", "--help-all")[0] == ExitCode.USAGE


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("latest", ("--raw", "/x")),
        ("gaps", ("--raw", "/x")),
        ("gaps", ("--required-files", "a")),
        ("coverage", ("--raw", "/x")),
        ("changes", ("--files", "a")),
        ("replay", ("--required-files", "a")),
        *((one, ("--show-error-messages",)) for one in QUESTIONS),
    ],
)
def test_settings_that_do_nothing_in_a_command_are_no_options_of_it(
    run: Run, command: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    code, _, err = run(command, *flags)
    assert code == ExitCode.USAGE
    assert f"No such option '{flags[0]}'" in err
    # One file serves a mount and every question.
    file = tmp_path / "all.toml"
    file.write_text('raw = "/x"\nrequired-files = ["a"]\nfiles = ["a"]\nshow-error-messages = true\n')
    code, _, err = run(command, "--config", str(file), *([KEY] if command in ("why", "wait") else []))
    assert "raw" not in err
    assert "files" not in err.replace("--state-file", "")


@pytest.mark.parametrize(
    "words",
    [
        ("latest", "{place}", "--layout", "plain"),
        ("latest", "--mount", "{place}", "--state-table", "x"),
        ("why", KEY, "--mount", "{place}", "--raw", "/x"),
        ("wait", KEY, "--mount", "{place}", "--customer", "x"),
        ("changes", "{place}", "--layout", "plain", "--since", "beginning"),
        ("replay", "{place}", "--raw", "/x", "--", "true"),
    ],
)
@pytest.mark.parametrize("environment", ["", "state.db"])
def test_flags_that_do_nothing_beside_a_mount_are_refused(
    run: Run, words: tuple[str, ...], environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment and words[0] == "replay":
        return  # its backlog is of that state
    monkeypatch.setenv("READYFS_STATE", environment)
    code, out, err = run(*(word.format(place=tmp_path) for word in words))
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert "would do nothing: a mount has its own settings; " in err
    flag = next(word for word in words[2:] if word.startswith("--") and word not in ("--mount", "--since"))
    assert err.startswith(f"readyfs: {flag} would")


@pytest.mark.parametrize("words", [("latest",), ("why", KEY), ("wait", KEY)])
def test_who_names_nothing_is_told_of_both_ways(run: Run, words: tuple[str, ...]) -> None:
    assert run(*words) == (
        ExitCode.USAGE,
        "",
        "readyfs: neither a mount nor a state store is named; name a mount with --mount, or name the state store with "
        "--state, --state-file or --config\n",
    )


@pytest.mark.parametrize("command", ["why", "wait"])
@pytest.mark.parametrize("relative", [False, True])
def test_path_whose_mount_is_gone_is_told_so_and_not_taken_for_a_mistake(
    run: Run, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    """A scheduler asks again after 8, and gives up after 2."""
    monkeypatch.chdir(tmp_path)
    path = f"./{KEY}" if relative else f"{tmp_path}/{KEY}"
    code, out, err = run(command, path)
    assert (code, out, err.count("\n")) == (ExitCode.NOT_RUNNING, "", 1)
    assert err.startswith(f"readyfs: {path} lies in no mount of readyfs; mount it")
    assert "--state, --state-file or --config" in err


@pytest.mark.parametrize(
    "words",
    [("ls", "--mount", "{place}"), ("gaps", "{place}"), ("gaps", "--mount", "{place}"), ("coverage", "{place}")],
)
def test_what_a_mount_cannot_answer_is_said_with_what_it_can(run: Run, words: tuple[str, ...], tmp_path: Path) -> None:
    code, out, err = run(*(word.format(place=tmp_path) for word in words))
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert f"a mount does not answer this; ask `readyfs latest {tmp_path}` or `readyfs why PATH`" in err
    assert "--state, --state-file or --config" in err


@pytest.mark.parametrize("command", ["latest", "changes", "replay"])
def test_mount_point_is_an_argument_or_an_option_and_not_both(run: Run, command: str, tmp_path: Path) -> None:
    behind = ("--", "true") if command == "replay" else ("--since", "beginning") if command == "changes" else ()
    argument, option = run(command, str(tmp_path), *behind), run(command, "--mount", str(tmp_path), *behind)
    assert argument == option
    assert argument[0] == ExitCode.NOT_RUNNING
    code, _, err = run(command, str(tmp_path), "--mount", str(tmp_path), *behind)
    assert (code, "named twice" in err) == (ExitCode.USAGE, True)
