"""What docs/schedulers/cron.md has to copy: scripts, a crontab and units, with the places of a test in them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

PAGE: Final = Path(__file__).parents[2] / "docs" / "schedulers" / "cron.md"
_FILE: Final = re.compile(r"^\*\*`([\w.@-]+)`\*\*\n\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES: Final = {name: text for name, _, text in _FILE.findall(PAGE.read_text(encoding="utf-8"))}
SCRIPTS: Final = [name for name, kind, _ in _FILE.findall(PAGE.read_text(encoding="utf-8")) if kind == "sh"]
UNITS: Final = [name for name in FILES if name.endswith((".service", ".timer"))]
CRONTAB: Final = FILES["readyfs-sales"]


class Line(NamedTuple):
    """A line of a crontab in /etc/cron.d, crontab(5)."""

    fields: list[str]
    user: str
    command: str


def crontab_lines() -> list[Line]:
    """Return the lines that start something."""
    words = [line.split(maxsplit=6) for line in CRONTAB.splitlines() if line and not re.match(r"#|\w+=", line)]
    return [Line(found[:5], *found[5:]) for found in words]


def crontab_variables() -> dict[str, str]:
    """Return what a crontab sets."""
    return dict(re.findall(r"^(\w+)=(.*)$", CRONTAB, re.MULTILINE))


@dataclass(frozen=True, slots=True)
class Desk:
    """A directory that has the scripts in `bin`, in the place of /usr/local/bin, and what they remember in `var`."""

    directory: Path
    mountpoint: Path

    @classmethod
    def at(cls, directory: Path, mountpoint: Path, state: Path, raw: Path) -> Desk:
        """Write the scripts, and the settings of a mount."""
        desk = cls(directory, mountpoint)
        for made in (desk.bin, desk.var, desk.www):
            made.mkdir(parents=True)
        desk.config.write_text(f'state = "{state}"\nraw = "{raw}"\n')
        (desk.bin / "readyfs").symlink_to(Path(sys.executable).with_name("readyfs"))
        for name in SCRIPTS:
            desk.add(name, FILES[name])
        return desk

    @property
    def bin(self) -> Path:
        """Where commands are."""
        return self.directory / "bin"

    @property
    def var(self) -> Path:
        """What they remember."""
        return self.directory / "var"

    @property
    def www(self) -> Path:
        """What a web server shows."""
        return self.directory / "www"

    @property
    def config(self) -> Path:
        """The settings."""
        return self.directory / "sales.toml"

    def add(self, name: str, text: str) -> Path:
        """Put a script beside the others."""
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def here(self, text: str) -> str:
        """Return a text of the page with the places of this desk."""
        for there, here in (
            ("/var/lib/load", self.var),
            ("/var/lib/readyfs", self.var),
            ("/srv/www/coverage", self.www),
            ("/etc/readyfs/sales.toml", self.config),
            ("/mnt/ready", self.mountpoint),
            ("/usr/local/bin", self.bin),
        ):
            text = text.replace(there, str(here))
        return text

    @property
    def environment(self) -> dict[str, str]:
        """What cron gives a job, crontab(5): no variable of a shell's."""
        given = {"HOME": "/", "LOGNAME": "readyfs", **crontab_variables()}
        given["PATH"] = self.here(given["PATH"])
        return given

    @contextmanager
    def start(self, *words: str | Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command as cron does; whatever it has started is ended."""
        with subprocess.Popen(
            [*map(str, words)],
            cwd="/",
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            umask=0o022,
        ) as process:
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def run(self, *words: str | Path, **variables: str) -> tuple[int, str]:
        """Run a command as cron does; return its exit code and what it prints, which cron would mail."""
        with self.start(*words, **variables) as process:
            printed, _ = process.communicate(timeout=60)
            return process.returncode, printed

    def run_line(self, line: Line) -> tuple[int, str]:
        """Run a line of the crontab."""
        return self.run("/bin/sh", "-c", self.here(line.command))


def words_of(command: str) -> list[str]:
    """Return the words of a command that has nothing of a shell's in it."""
    return shlex.split(command)
