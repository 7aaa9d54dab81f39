"""The programs of docs/schedulers/airflow.md as they stand there, in a directory of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.flows.page import ROOT, programs_of

PROGRAMS: Final = programs_of("docs/schedulers/airflow.md")
"""The text of each program, by its name."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A working directory with all programs, where the mount and the warehouse are those of a test."""

    directory: Path

    @classmethod
    def at(cls, directory: Path, mountpoint: Path) -> Desk:
        """Write the programs into a directory."""
        (directory / "bin").mkdir(parents=True)
        desk = cls(directory)
        for name, text in PROGRAMS.items():
            (directory / name).write_text(
                text.replace("/mnt/ready", str(mountpoint)).replace("/opt/warehouse", str(directory / "bin"))
            )
        return desk

    @property
    def environment(self) -> dict[str, str]:
        """An environment in which `readyfs` is ours; commands of the desk itself come first."""
        path = f"{self.directory / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "no_proxy": "*"}

    def command(self, name: str, text: str) -> Path:
        """Give the desk a shell script, which takes the place of a command of that name."""
        script = self.directory / "bin" / name
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        return script

    def start(self, name: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a program."""
        return subprocess.Popen(
            [sys.executable, name, *arguments],
            cwd=self.directory,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
