"""A Dagster of the tests' own: its environment, its home, and a process that works in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.flows.page import programs_of

PACKAGES: Final = ("dagster>=1.13", "dagster-webserver>=1.13", "dagster-postgres>=0.29")
PROGRAMS: Final = programs_of("docs/schedulers/dagster.md")
EXTRACT: Final = """
import dagster as dg

def extract(customer, day, path):
    path.write_text('{"clicks":1}\\n')
    if customer == "retried" and path.parent.name.endswith("-0"):
        raise dg.RetryRequested()
    return 1
"""
"""What the page leaves to its reader: one customer's first attempt of each run fails after it has written."""
_WORK: Final = Path(__file__).with_name("dagster_work.py")


def make_environment(directory: Path) -> Path:
    """Install Dagster; return the directory of its programs."""
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    programs = directory / "bin"
    pip = (programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, *PACKAGES], check=True)
    return programs


@dataclass(frozen=True, slots=True)
class Home:
    """A directory with the page's programs and a configuration of Dagster."""

    directory: Path
    programs: Path

    @classmethod
    def make(cls, directory: Path, programs: Path, raw: Path, storage: str = "") -> Home:
        """Write the programs and the configuration; without a storage Dagster takes SQLite."""
        directory.mkdir()
        for name, text in PROGRAMS.items():
            (directory / name).write_text(text.replace("/data/raw", str(raw)))
        (directory / "extract.py").write_text(EXTRACT)
        (directory / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{storage}")
        return cls(directory, programs)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of Dagster's programs."""
        return {"DAGSTER_HOME": str(self.directory)}

    @property
    def index(self) -> Path:
        """Where SQLite has the events of all assets."""
        return self.directory / "history" / "runs" / "index.db"

    @contextmanager
    def working(self) -> Iterator[Worker]:
        """Start a process that works in it."""
        with (
            (self.directory / "work.log").open("ab") as log,
            subprocess.Popen(
                [self.programs / "python", _WORK],
                cwd=self.directory,
                env={**os.environ, **self.variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            yield Worker(process)


@dataclass(frozen=True, slots=True)
class Worker:
    """The process that works in a home; see `dagster_work.py` for what it does."""

    process: subprocess.Popen[str]

    def do(self, name: str, *words: object) -> Any:
        """Have one thing done; return the answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, words]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"{name} failed: its log says why"
        return json.loads(line)

    def materialize(self, partition: str, version: str) -> str:
        """Run the asset for a partition; return the id of the run."""
        return str(self.do("materialize", partition, version))

    def materialize_range(self, partitions: list[str], version: str) -> str:
        """Run the asset once for several partitions; return the id of the run."""
        return str(self.do("materialize_range", partitions, version))

    def fail(self, partition: str) -> str:
        """Run the asset for a partition, in vain; return the id of the run."""
        return str(self.do("fail", partition))

    def report(self, partition: str, version: str | None) -> None:
        """Report a materialization that no run of Dagster made."""
        self.do("report", partition, version)

    def wipe(self) -> None:
        """Wipe the asset."""
        self.do("wipe")

    def delete(self, run: str) -> None:
        """Delete a run."""
        self.do("delete", run)
