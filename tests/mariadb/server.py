"""A real MariaDB server in a temporary directory, which tests may stop and start again.

Over its Unix socket its own user `admin` needs no password; on a port of the loopback interface everybody needs one. It
does not run as root, and ends with the thread that started it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import pymysql

from tests.postgres.server import PATIENCE_S, free_port

READER: Final = "reader"
READER_PASSWORD: Final = "p@ss:w/rd hunter2"
DIRECTORY_PREFIX: Final = "readyfs-mariadb-"
"""`.ci/run` knows a server that tests left behind by this word on its command line."""

_SCRIPTS: Final = Path("/usr/share/mysql")
_SYSTEM: Final = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")
_ACCOUNTS: Final = f"""\
CREATE USER IF NOT EXISTS admin@localhost IDENTIFIED BY '';
GRANT ALL ON *.* TO admin@localhost WITH GRANT OPTION;
CREATE USER IF NOT EXISTS {READER}@'127.0.0.1' IDENTIFIED BY '{READER_PASSWORD}';
"""
_OPTIONS: Final = (
    "--innodb-buffer-pool-size=32M",
    "--innodb-flush-log-at-trx-commit=0",
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--default-time-zone=+05:45",  # far from UTC, and not by whole hours
    "--character-set-server=utf8mb4",
    "--sql-mode=",  # lets zero dates in, as old servers did
)


def find_server() -> str:
    """Return the server's program; fail the test if there is none."""
    found = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert found is not None, "MariaDB's server is not installed (Debian's package is mariadb-server-core)"
    return found


class MariadbServer:
    """One server with its directory and its options; gone without a trace after `remove`. Used by one thread."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.program = find_server()
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX))
        self._process: subprocess.Popen[bytes] | None = None
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        try:
            self._make_tables()
        except BaseException:
            self.remove()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.remove()

    def start(self) -> Self:
        """Start the server and wait until it takes connections."""
        places = (
            f"--socket={self.directory / 'socket'}",
            f"--pid-file={self.directory / 'pid'}",
            f"--init-file={self.directory / 'accounts.sql'}",
            f"--port={self.port}",
        )
        with open(self.directory / "log", "wb") as log:
            self._process = subprocess.Popen(
                [*self._as_user("--pdeathsig", "TERM"), *self._command(), *places, *_OPTIONS, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self._takes_connections():
            assert time.monotonic() < deadline, f"the server takes no connections:\n{self.log_text()}"
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """Shut the server down in an orderly way."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            raise AssertionError(f"the server did not end:\n{self.log_text()}") from None
        finally:
            self._process = None

    def remove(self) -> None:
        """End the server and remove every file."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory)

    def log_text(self) -> str:
        """Return what the server logged since its start."""
        return (self.directory / "log").read_text("utf-8", "replace")

    def url(
        self, database: str, *, dialect: str = "mariadb", password: str = READER_PASSWORD, port: int | None = None
    ) -> str:
        """Return a state URL of the role that may read, by way of the loopback port or another one."""
        return f"{dialect}://{READER}:{quote(password, safe='')}@127.0.0.1:{port or self.port}/{database}"

    def connect(self, database: str | None = None) -> pymysql.Connection[Any]:
        """Return a session of `admin`, in autocommit; the caller closes it."""
        return pymysql.connect(
            unix_socket=str(self.directory / "socket"), user="admin", database=database, autocommit=True
        )

    def execute(self, statement: str, *values: object, database: str | None = None) -> Sequence[tuple[Any, ...]]:
        """Execute one statement in a session of its own, committed at once; return its rows."""
        with self.connect(database) as session, session.cursor() as cursor:
            cursor.execute(statement, values)
            rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def _make_tables(self) -> None:
        data = self.directory / "data"
        data.mkdir()
        (self.directory / "accounts.sql").write_text(_ACCOUNTS, encoding="utf-8")
        if self._user is not None:
            for path in (self.directory, data, self.directory / "accounts.sql"):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        script = "CREATE DATABASE mysql;\nUSE mysql;\n"
        script += "".join((_SCRIPTS / name).read_text("utf-8") for name in _SYSTEM)
        done = subprocess.run(
            [*self._as_user(), *self._command(), "--bootstrap"],
            input=script,
            capture_output=True,
            text=True,
            cwd="/",
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"the system tables could not be made:\n{done.stderr}"

    def _command(self) -> Sequence[str]:
        return (self.program, "--no-defaults", f"--datadir={self.directory / 'data'}", "--innodb-log-file-size=8M")

    def _as_user(self, *options: str) -> Sequence[str]:
        if self._user is None:
            return ("setpriv", *options) if options else ()
        return ("setpriv", "--reuid", "nobody", "--regid", str(self._user.pw_gid), "--clear-groups", *options)

    def _takes_connections(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended at once:\n{self.log_text()}"
        return "ready for connections" in self.log_text()
