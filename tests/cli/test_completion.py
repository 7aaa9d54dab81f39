"""Completion, as a shell asks for it: click's own scripts, and what our words add."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from readyfs.cli.completions import complete_cadence, complete_consumer
from readyfs.consumer.cadence import parse_cadence
from readyfs.control.public_client import PublicClient
from readyfs.fuse import mount_table
from readyfs.fuse.mount_table import Mount
from tests.cli.conftest import SOURCE

PROGRAM = f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {sys.executable} -m readyfs "$@"\n'
ASK = """
source /dev/stdin <<<"$(_READYFS_COMPLETE=bash_source readyfs)"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { echo "compopt $1 $2"; }
_readyfs_completion readyfs
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "bin/readyfs"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}


def complete(environment: dict[str, str], *words: str) -> list[str]:
    """Return what bash is told, with the script that a user of bash has."""
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "bash", "readyfs", *words],
        env=environment, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_commands_and_options_are_completed(environment: dict[str, str]) -> None:
    assert complete(environment, "st") == ["status"]
    assert complete(environment, "config", "sh") == ["show"]
    assert "--required-files" in complete(environment, "mount", "--requ")


def test_values_are_completed(environment: dict[str, str]) -> None:
    assert complete(environment, "ls", "--status", "ready,mis") == ["ready,missing"]
    assert complete(environment, "mount", "--engine", "d") == ["direct"]
    assert complete(environment, "status", "--format", "p") == ["prometheus"]
    assert complete(environment, "mount", "--state-file", "/et") == ["compopt -o default", ""]
    assert complete(environment, "mount", "--raw", "/et") == ["compopt -o dirnames", ""]


def test_words_of_the_questions_are_completed(environment: dict[str, str]) -> None:
    days = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
    assert complete(environment, "ls", "--cadence", "week") == ["weekdays", *(f"weekly:{day}" for day in days)]
    assert complete(environment, "replay", "--cadence", "dai") == ["daily"]
    for command in ("latest", "gaps", "coverage"):
        assert complete(environment, command, "--cadence", "a") == ["auto"]
        assert complete(environment, command, "--tz", "Europe/Berl") == ["Europe/Berlin"]
    assert complete(environment, "coverage", "--by", "q") == ["quarter"]
    for command in ("ls", "latest", "gaps"):
        assert complete(environment, command, "--day-tz", "Europe/Berl") == ["Europe/Berlin"]
    assert complete(environment, "changes", "--since", "") == ["beginning"]
    assert complete(environment, "changes", "/nowhere", "--consumer", "") == [""]  # printf ends a line all the same


def test_every_cadence_that_is_completed_is_one() -> None:
    context, parameter = click.Context(click.Command("x")), click.Option(["--cadence"])
    for item in complete_cadence(context, parameter, ""):
        assert parse_cadence(item.value).text == item.value


def test_consumers_are_those_that_a_mount_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    pins = [{"name": "view"}, {"name": "job", "acknowledged": "beginning"}, {"name": "night", "acknowledged": "f"}]
    monkeypatch.setattr(PublicClient, "__init__", lambda self, mountpoint, socket: None)
    monkeypatch.setattr(PublicClient, "pins", lambda self: pins)
    context, parameter = click.Context(click.Command("x")), click.Option(["--consumer"])
    assert complete_consumer(context, parameter, "") == []
    context.params["mountpoint"] = "/mnt/ready"
    assert [item.value for item in complete_consumer(context, parameter, "")] == ["job", "night"]
    assert [item.value for item in complete_consumer(context, parameter, "n")] == ["night"]


def test_mount_points_are_those_of_readyfs_or_else_directories(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    assert complete(environment, "umount", "/nowhe") == ["compopt -o dirnames", ""]
    from readyfs.cli.umount import umount

    [argument] = [one for one in umount.params if one.name == "mountpoint"]
    context = click.Context(click.Command("other"))  # a context of a command's own would leave its mark on it
    ours = Mount(1, 0, (0, 1), Path("/"), Path("/mnt/ready"), mount_table.READYFS_TYPE, "readyfs", (), ())
    monkeypatch.setattr(mount_table, "read_mount_table", lambda: (ours,))
    assert [one.value for one in argument.type.shell_complete(context, argument, "/m")] == ["/mnt/ready"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["readyfs"], env={**environment, "_READYFS_COMPLETE": f"{shell}_source"},
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert f"_READYFS_COMPLETE={shell}_complete" in done.stdout
