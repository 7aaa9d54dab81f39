"""One way to say how an answer is printed, in every command that has one."""

from __future__ import annotations

import json
import os
import pty
from collections.abc import Iterator

import click
import pytest

from readyfs.cli.main import cli
from readyfs.cli.output import Form, has_colours, print_json


def leaves(command: click.Command = cli, name: str = "readyfs") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for word, child in command.commands.items():
            yield from leaves(child, f"{name} {word}")
    else:
        yield name, command


LEAVES = dict(leaves())


@pytest.mark.parametrize("name", LEAVES)
def test_output_options_are_spelled_alike_in_every_command(name: str) -> None:
    """A manifest has forms of its own, which programs read that know nothing of ours."""
    found = {one.name: one for one in LEAVES[name].params if isinstance(one, click.Option)}
    spelled = {flag for one in found.values() for flag in one.opts if flag in ("--json", "--format", "--output")}
    if name == "readyfs manifest":
        assert spelled == {"--format", "--output"}
        return
    assert spelled in (set(), {"--json", "--format"})
    if spelled:
        kind = found["format_"].type
        assert isinstance(kind, click.Choice)
        assert tuple(kind.choices)[:2] == (Form.TEXT, Form.JSON)
        assert set(kind.choices) <= set(Form)
        assert found["as_json"].help == "The same as --format json."


def test_json_is_one_object_a_line_whatever_a_path_holds(capfd: pytest.CaptureFixture[str]) -> None:
    path = os.fsdecode(b"/mnt/\xff\n")
    print_json({"path": path}, {"path": "é\n"})
    first, second = capfd.readouterr().out.splitlines()
    assert json.loads(first)["path"] == path
    assert json.loads(second)["path"] == "é\n"


def test_colours_are_for_terminals_and_for_those_who_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_colours()
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal, open(ours):
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.delenv("NO_COLOR", raising=False)
        assert has_colours()
        monkeypatch.setenv("NO_COLOR", "1")
        assert not has_colours()
