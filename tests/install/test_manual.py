"""The man pages and the scripts of shells that `make install` puts in place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from readyfs.cli.main import INTERRUPTED, cli
from readyfs.errors import ExitCode

PROJECT = Path(__file__).parents[2]
PAGES = Path("share/man/man1")


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("manual")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    script = PROJECT / ".ci/manual"
    subprocess.run([sys.executable, "-B", script, place], env=environment, timeout=60, check=True)
    return place


def commands(command: click.Command = cli, name: str = "readyfs") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for word, child in command.commands.items():
            yield from commands(child, f"{name}-{word}")


def test_every_command_has_a_page_and_there_is_no_other(prefix: Path) -> None:
    assert {path.name for path in (prefix / PAGES).iterdir()} == {f"{name}.1" for name, _ in commands()}


def test_pages_name_every_option_and_are_sound(prefix: Path) -> None:
    paths = [prefix / PAGES / f"{name}.1" for name, _ in commands()]
    for path, (name, command) in zip(paths, commands(), strict=True):
        text = path.read_text(encoding="utf-8")
        assert command.short_help is not None
        assert f"{name} \\- {command.short_help}".replace("-", "").replace("\\", "") in text.replace("-", "").replace(
            "\\", ""
        )
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[0].replace("-", "\\-") in text
        # Control characters, and backslashes that would not be read as such.
        assert not re.search(r"[\x00-\x09\x0b-\x1f]|\\[^-f]", text), path
    done = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", *paths], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert "readyfs mount /mnt/ready --state state.db --raw /data/raw\n" in re.sub("\x1b\\[\\d*m", "", done.stdout)


def test_every_page_says_how_a_command_ends_and_names_the_others(prefix: Path) -> None:
    names = [name for name, _ in commands()]
    for name in names:
        text = (prefix / PAGES / f"{name}.1").read_text(encoding="utf-8")
        status, _, others = text.partition(".SH EXIT STATUS\n")[2].partition(".SH SEE ALSO\n")
        codes = [int(code) for code in re.findall(r"\\fB(\d+)\\fP\n\S", status)]
        assert sorted(codes) == sorted([*map(int, ExitCode), INTERRUPTED]), name
        assert re.findall(r"\\fB(\S+)\\fP\(1\)", others.replace("\\-", "-")) == [one for one in names if one != name]


def test_the_makefile_removes_what_is_written(prefix: Path) -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    listed = re.search(r"^MANUAL := (.*)$", makefile, re.MULTILINE)
    assert listed is not None
    written = {str(path.relative_to(prefix / "share")) for path in prefix.rglob("*") if path.is_file()}
    assert {path for path in written if not re.fullmatch(r"man/man1/readyfs-[a-z-]+\.1", path)} == set(
        listed.group(1).split()
    )


def test_script_for_bash_is_sound(prefix: Path) -> None:
    script = prefix / "share/bash-completion/completions/readyfs"
    subprocess.run(["bash", "-n", script], timeout=10, check=True)
    done = subprocess.run(
        ["bash", "--norc", "-c", f"source {script}; complete -p readyfs"],
        capture_output=True, text=True, timeout=10, check=True,
    )  # fmt: skip
    assert "_readyfs_completion readyfs" in done.stdout
