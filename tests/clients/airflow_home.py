"""A real Airflow, installed for the tests, with a home, a scheduler and an API server of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.postgres.server import free_port

VERSION: Final = "3.3.2"
PATIENCE_S: Final = 600.0
"""Processes of Airflow import for many seconds on a busy machine."""


def wait_slowly(condition: Callable[[], bool], what: str) -> None:
    """Return once the condition holds. It is looked at once a second: what is asked holds up what is waited for."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(1)


def install(directory: Path) -> Path:
    """Install Airflow into a directory; return where its commands are."""
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    pip = (directory / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, f"apache-airflow=={VERSION}", "psycopg2-binary", "asyncpg"], check=True)
    return directory / "bin"


def specification(programs: Path) -> Path:
    """Return the description of the API that the package carries."""
    return next(programs.parent.rglob("v2-rest-api-generated.yaml"))


@dataclass
class Home:
    """One home, with a folder of DAGs."""

    programs: Path
    directory: Path
    database: str = ""
    """A URL, where it is not SQLite's file in the home."""
    port: int = 0

    @property
    def dags(self) -> Path:
        """Where DAG files are looked for."""
        return self.directory / "dags"

    @property
    def file(self) -> Path:
        """The database of SQLite."""
        return self.directory / "airflow.db"

    @property
    def environment(self) -> dict[str, str]:
        """What its commands are told."""
        names = {
            "core__dags_folder": str(self.dags),
            "core__load_examples": "False",
            "core__parallelism": "2",
            "core__simple_auth_manager_all_admins": "True",
            "core__execution_api_server_url": f"http://localhost:{self.port}/execution/",
            "api__port": str(self.port),
            "api__workers": "1",
            "database__sql_alchemy_conn": self.database or f"sqlite:///{self.file}",
            "logging__worker_log_server_port": str(free_port()),
            "logging__trigger_log_server_port": str(free_port()),
            "scheduler__task_instance_heartbeat_timeout": "900",
            "usage_data_collection__enabled": "False",
            "workers__execution_api_retries": "10",
            "workers__execution_api_timeout": "60",
        }
        told = {f"AIRFLOW__{name.upper()}": value for name, value in names.items()}
        path = f"{self.programs}:{os.environ['PATH']}"
        return {**os.environ, **told, "AIRFLOW_HOME": str(self.directory), "PATH": path, "no_proxy": "*"}

    def run(self, *words: str) -> str:
        """Run a command of Airflow to its end; return what it prints."""
        command = [str(self.programs / "airflow"), *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@dataclass
class Airflow:
    """One that runs."""

    url: str
    token: str = ""

    def call(self, path: str, body: object = None, *, method: str | None = None) -> Any:
        """Ask the API, or post to it."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def pause(self, dag: str, is_paused: bool) -> None:
        """Pause a DAG, or let it run, once it is known."""

        def is_done() -> bool:
            try:
                self.call(f"/api/v2/dags/{dag}", {"is_paused": is_paused}, method="PATCH")
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
                return False
            return True

        wait_slowly(is_done, f"{dag} is known")

    def trigger(self, dag: str, day: str) -> str:
        """Have a DAG run for a day; return the id of the run."""
        made = self.call(f"/api/v2/dags/{dag}/dagRuns", {"logical_date": f"{day}T00:00:00Z"})
        return str(made["dag_run_id"])

    def task(self, dag: str, run: str, task: str) -> dict[str, Any]:
        """Return a task's instance."""
        found: dict[str, Any] = self.call(f"{self._run(dag, run)}/taskInstances/{task}")
        return found

    def await_state(self, dag: str, run: str, task: str, *states: str) -> dict[str, Any]:
        """Return a task's instance once it is in one of the states."""
        last: dict[str, Any] = {}

        def is_there() -> bool:
            last.update(self.task(dag, run, task))
            return last["state"] in states

        wait_slowly(is_there, f"{task} of {run} is {' or '.join(states)}")
        return last

    def await_end(self, dag: str, run: str) -> None:
        """Return once a run has ended well."""
        wait_slowly(lambda: bool(self.call(self._run(dag, run))["state"] == "success"), f"{run} ends")

    def mark(self, dag: str, run: str, task: str, state: str) -> None:
        """Mark a task as in a state."""
        self.call(f"{self._run(dag, run)}/taskInstances/{task}", {"new_state": state}, method="PATCH")

    def mark_run(self, dag: str, run: str, state: str) -> None:
        """Mark a run as in a state."""
        self.call(self._run(dag, run), {"state": state}, method="PATCH")

    def clear(self, dag: str, run: str) -> None:
        """Clear all tasks of a run."""
        how = {"dry_run": False, "dag_run_id": run, "only_failed": False, "reset_dag_runs": True}
        self.call(f"/api/v2/dags/{dag}/clearTaskInstances", how)

    def delete(self, dag: str, run: str) -> None:
        """Delete a run."""
        self.call(self._run(dag, run), method="DELETE")

    def backfill(self, dag: str, first: str, last: str) -> None:
        """Have the days run, also those that have."""
        dates = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
        self.call("/api/v2/backfills", {"dag_id": dag, **dates, "reprocess_behavior": "completed"})

    def _run(self, dag: str, run: str) -> str:
        return f"/api/v2/dags/{dag}/dagRuns/{urllib.parse.quote(run, safe='')}"


def _ends(call: Callable[[], object]) -> bool:
    try:
        call()
    except OSError:
        return False
    return True


@contextmanager
def standing(home: Home) -> Iterator[Airflow]:
    """Start all of Airflow, and end it with every process that it has started."""
    home.port = free_port()
    with (home.directory / "standalone.log").open("wb") as log:
        process = subprocess.Popen(
            [home.programs / "airflow", "standalone"],
            env=home.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        airflow = Airflow(f"http://localhost:{home.port}")

        def answers() -> bool:
            assert process.poll() is None, log.name
            return _ends(lambda: setattr(airflow, "token", airflow.call("/auth/token")["access_token"]))

        wait_slowly(answers, "the API answers")
        yield airflow
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all of its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                return
            process.poll()
            time.sleep(0.2)
