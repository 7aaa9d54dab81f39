"""The programs of a page, by default of docs/flows.md, as they stand there, in a directory of their own."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast
from unittest.mock import patch

import duckdb

ROOT: Final = Path(__file__).parents[2]
_PROGRAM: Final = re.compile(r"^\*\*`([\w.]+)`\*\*\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs_of(page: str) -> dict[str, str]:
    """Return the text of each program of a page, by its name."""
    return dict(_PROGRAM.findall((ROOT / page).read_text(encoding="utf-8")))


PROGRAMS: Final = programs_of("docs/flows.md")


@dataclass(frozen=True, slots=True)
class Desk:
    """A working directory with all programs, where the mount and its configuration are those of a test."""

    directory: Path

    @classmethod
    def at(cls, directory: Path, mountpoint: Path, config: Path, programs: Mapping[str, str] = PROGRAMS) -> Desk:
        """Write the programs into a directory."""
        directory.mkdir(exist_ok=True)
        for name, text in programs.items():
            text = text.replace("/mnt/ready", str(mountpoint)).replace("/etc/readyfs/sales.toml", str(config))
            (directory / name).write_text(text)
        return cls(directory)

    @property
    def environment(self) -> dict[str, str]:
        """An environment in which `readyfs` and `python` are ours; commands of the desk itself come first."""
        path = f"{self.directory / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src")}

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of a program."""
        return ["sh" if name.endswith(".sh") else sys.executable, name, *arguments]

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            self.command(name, *arguments),
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def run_here(self, name: str, *arguments: str) -> None:
        """Run a Python program in this process, which has imported what each one of its own would have to."""
        names: dict[str, object] = {"__name__": "__main__"}
        with (
            contextlib.chdir(self.directory),
            patch.dict(os.environ, self.environment),
            patch.dict(sys.modules),
            patch.object(sys, "argv", [name, *arguments]),
            patch.object(sys, "path", [str(self.directory), *sys.path]),
        ):
            sys.modules.pop("warehouse", None)
            try:
                exec(compile((self.directory / name).read_text(), name, "exec"), names)
            finally:
                if "warehouse" in names:
                    cast(duckdb.DuckDBPyConnection, names["warehouse"]).close()

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Ask the warehouse."""
        with duckdb.connect(str(self.directory / "warehouse.duckdb"), read_only=True) as warehouse:
            return [tuple(row) for row in warehouse.execute(statement).fetchall()]

    def change(self, statement: str, *values: object) -> None:
        """Change the warehouse."""
        with duckdb.connect(str(self.directory / "warehouse.duckdb")) as warehouse:
            warehouse.execute(statement, values)

    def loaded(self, table: str = "records") -> list[tuple[object, ...]]:
        """Return what is in a table: customer, day, run and record."""
        columns: Sequence[str] = ("customer_id", "CAST(logical_date AS VARCHAR)", "run_id", "CAST(record AS VARCHAR)")
        return self.query(f"SELECT {', '.join(columns)} FROM {table} ORDER BY ALL")
