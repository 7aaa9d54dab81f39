"""A real PostgreSQL server in a temporary directory, which tests may stop, kill, suspend and replicate.

It listens on a Unix socket, over which nobody needs a password and which only its own user and root can reach, and on
a port of the loopback interface, where everybody needs one. PostgreSQL refuses to run as root, so that tests that are
root have it run by a system user. It ends with the thread that started it, whatever ends that.
"""

from __future__ import annotations

import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import psycopg

from tests.adoption import adopting_orphans
from tests.isolation import worker_number

SUPERUSER: Final = "postgres"
PASSWORD: Final = "super secret"
PATIENCE_S: Final = 30.0
DIRECTORY_PREFIX: Final = "readyfs-postgres-"
"""`.ci/run` knows a server that tests left behind by this word on its command line."""

_UNPRIVILEGED: Final = ("postgres", "nobody")
_PORTS: Final = range(20_000 + 1000 * worker_number(), 21_000 + 1000 * worker_number())
"""Below those that the kernel hands out, and this process's own: nobody takes one while its server is down."""

_SETTINGS: Final = {
    "autovacuum": "off",  # which rows have which versions is the tests' business
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "logging_collector": "off",
    "max_connections": "60",
    "max_wal_senders": "4",
    "shared_buffers": "32MB",
    "timezone": "Asia/Kathmandu",  # far from UTC, and not by whole hours
    "unix_socket_permissions": "0777",
    "wal_level": "replica",
}
_ACCESS: Final = """\
local all         all              trust
local replication all              trust
host  all         all 127.0.0.1/32 scram-sha-256
"""


def find_programs() -> Path:
    """Return the directory of the newest server's programs; fail the test if there is none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if found:
        return max(found, key=lambda directory: float(directory.parent.name))
    on_path = shutil.which("postgres")
    assert on_path is not None, "PostgreSQL's server programs are not installed (Debian's package is postgresql)"
    return Path(on_path).resolve().parent


def free_port() -> int:
    """Return a port of the loopback interface on which nobody listens."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port was found")


def execute(session: psycopg.Connection[Any], statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Execute one statement; return its rows."""
    result = session.execute(statement.encode(), values or None)
    return result.fetchall() if result.description is not None else []


class PostgresServer:
    """One server with its directory; started by `start`, gone without a trace after `remove`.

    Methods return once their effect is there. Used by one thread.
    """

    def __init__(self) -> None:
        """Take a directory and a port; `make`, `copy` and `standby` are how tests get a server."""
        self.programs = find_programs()
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX))
        self._process: subprocess.Popen[bytes] | None = None
        self._suspended: list[int] = []
        self._user = next(filter(None, map(_account, _UNPRIVILEGED))) if os.geteuid() == 0 else None
        self._give_away(self.directory)

    @classmethod
    def make(cls, **settings: str) -> Self:
        """Make a server with an empty database cluster; it is not started."""
        with cls()._or_remove() as server:
            server._make_cluster()
            server.configure(**{**_SETTINGS, **settings})
        return server

    def copy(self, **settings: str) -> PostgresServer:
        """Make a server of the same content as this one, which is stopped: faster than making one anew."""
        assert not self.is_running
        with PostgresServer()._or_remove() as server:
            shutil.copytree(self.data, server.data, symlinks=True)
            server._give_away(server.data)
            server.configure(**settings)
        return server

    @contextmanager
    def _or_remove(self) -> Iterator[Self]:
        try:
            yield self
        except BaseException:
            self.remove()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.remove()

    # ---- its life ---------------------------------------------------------------------------------------------

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def pid(self) -> int:
        """The postmaster's process; the server must be running."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the server was started and neither stopped nor killed; one that is suspended counts."""
        return self._process is not None

    def configure(self, **settings: str) -> None:
        """Set settings for the next start, or for the next `reload` where PostgreSQL can do that."""
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.writelines(f"{name} = {_literal(value)}\n" for name, value in settings.items())

    def reload(self) -> None:
        """Have the running server read its settings again; running sessions learn of it a moment later."""
        self.execute("SELECT pg_reload_conf()")

    def start(self) -> Self:
        """Start the server and wait until it takes connections."""
        assert self._process is None, "the server is running"
        command = [
            str(self.programs / "postgres"),
            "-D",
            str(self.data),
            "-p",
            str(self.port),
            "-k",
            str(self.directory),
        ]
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user("--pdeathsig", "QUIT"), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
            )
        self._wait(self._takes_connections, "the server takes connections")
        return self

    def stop(self) -> None:
        """Shut the server down in an orderly way, sessions or not; suspended processes are resumed for it."""
        self.resume()
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the postmaster and all its processes at once, as a crash of the machine would."""
        if self._process is None:
            return
        os.kill(self.pid, signal.SIGSTOP)  # so that it makes no more
        children = [pid for pid in self.processes() if pid != self.pid]
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        with adopting_orphans():
            self._end(signal.SIGKILL)
            for pid in children:
                os.waitpid(pid, 0)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Suspend the postmaster and all its processes: connections are taken by the kernel and never answered."""
        self._suspended.append(self.pid)
        os.kill(self.pid, signal.SIGSTOP)
        for pid in self.processes():
            if pid != self.pid:
                self._suspended.append(pid)
                _send(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let suspended processes go on; does nothing if there are none."""
        while self._suspended:
            _send(self._suspended.pop(), signal.SIGCONT)

    def processes(self) -> list[int]:
        """Return the postmaster and its children."""
        found = [self.pid]
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text("utf-8", "replace").rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended meanwhile
            if int(fields[1]) == self.pid:
                found.append(int(status.parent.name))
        return found

    def remove(self) -> None:
        """End every process and remove every file, whatever state they are in."""
        try:
            self.resume()
            self.kill()
            self._free_shared_memory()
        finally:
            shutil.rmtree(self.directory)

    def log_text(self) -> str:
        """Return what the server logged."""
        return (self.directory / "log").read_text("utf-8", "replace")

    # ---- sessions ---------------------------------------------------------------------------------------------

    def url(self, database: str = "postgres", *, user: str = SUPERUSER, password: str = PASSWORD, port: int = 0) -> str:
        """Return a state URL by way of the loopback port, or of another that leads there."""
        secret = quote(password, safe="")
        return f"postgresql://{quote(user, safe='')}:{secret}@127.0.0.1:{port or self.port}/{quote(database, safe='')}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Return a session of the superuser by way of the socket, in autocommit; the caller closes it."""
        return psycopg.connect(
            host=str(self.directory),
            port=self.port,
            dbname=database,
            user=SUPERUSER,
            autocommit=True,
            connect_timeout=5,
            application_name="test",
        )

    def execute(self, statement: str, *values: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute one statement in a session of its own, committed at once; return its rows."""
        with self.connect(database) as session:
            return execute(session, statement, *values)

    def sessions(self, database: str) -> list[int]:
        """Return the processes of all sessions in a database, the tests' own left out."""
        rows = self.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name <> 'test' ORDER BY pid", database
        )
        return [int(pid) for (pid,) in rows]

    def end_sessions(self, database: str) -> None:
        """End all sessions in a database, as an administrator does."""
        for pid in self.sessions(database):
            self.execute("SELECT pg_terminate_backend(%s, 5000)", pid)

    # ---- replicas ---------------------------------------------------------------------------------------------

    def standby(self, **settings: str) -> PostgresServer:
        """Return a started replica that follows this server by streaming; the caller removes it.

        `recovery_min_apply_delay` makes it lag for ever; `pause_replay` for a while.
        """
        with PostgresServer()._or_remove() as replica:
            replica.run(
                *("pg_basebackup", "--pgdata", str(replica.data), "--host", str(self.directory)),
                *("--port", str(self.port), "--username", SUPERUSER, "--write-recovery-conf"),
                *("--checkpoint", "fast", "--no-sync"),
            )
            replica.configure(**settings)
            replica.start()
        return replica

    def pause_replay(self) -> None:
        """Have this replica stay where it is, while it goes on receiving."""
        self.execute("SELECT pg_wal_replay_pause()")
        self._wait(
            lambda: self.execute("SELECT pg_get_wal_replay_pause_state()") == [("paused",)], "the replay is paused"
        )

    def resume_replay(self) -> None:
        """Have this replica follow again."""
        self.execute("SELECT pg_wal_replay_resume()")

    def wait_replayed(self, primary: PostgresServer) -> None:
        """Wait until this replica has all that its primary has now."""
        ((position,),) = primary.execute("SELECT pg_current_wal_lsn()::text")
        self._wait(
            lambda: self.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", position) == [(True,)],
            "the replica has caught up",
        )

    def stop_receiving(self) -> None:
        """Have this replica stay where it is for good: what its primary commits from here on never comes."""
        self.execute("ALTER SYSTEM SET primary_conninfo = ''")
        self.reload()
        self._wait(lambda: self.execute("SELECT * FROM pg_stat_wal_receiver") == [], "nothing is received")

    def promote(self) -> None:
        """Make this replica a primary with a timeline of its own."""
        assert self.execute("SELECT pg_promote(true, 30)") == [(True,)]

    # ---- details ----------------------------------------------------------------------------------------------

    def _make_cluster(self) -> None:
        password_file = self.directory / "password"
        password_file.write_text(f"{PASSWORD}\n", encoding="utf-8")
        self._give_away(password_file)
        self.run(
            *("initdb", "--pgdata", str(self.data), "--username", SUPERUSER, "--pwfile", str(password_file)),
            *("--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions"),
            *("--auth-local", "trust", "--auth-host", "scram-sha-256"),
        )
        password_file.unlink()
        (self.data / "pg_hba.conf").write_text(_ACCESS, encoding="utf-8")

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the server's user; fail the test if it fails."""
        command = [*self._as_user(), str(self.programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=60, check=False)
        assert done.returncode == 0, f"{program} failed:\n{done.stdout}{done.stderr}"

    def _as_user(self, *options: str) -> Sequence[str]:
        if self._user is None:
            return ("setpriv", *options) if options else ()
        identity = ("--reuid", str(self._user.pw_uid), "--regid", str(self._user.pw_gid), "--clear-groups")
        return ("setpriv", *identity, *options)

    def _give_away(self, top: Path) -> None:
        if self._user is None:
            return
        os.chown(top, self._user.pw_uid, self._user.pw_gid)
        for directory, directories, files in os.walk(top):
            for name in (*directories, *files):
                os.chown(Path(directory, name), self._user.pw_uid, self._user.pw_gid, follow_symlinks=False)

    def _takes_connections(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended at once:\n{self.log_text()}"
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        try:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            raise AssertionError(f"the server did not end:\n{self.log_text()}") from None
        finally:
            self._process = None

    def _free_shared_memory(self) -> None:
        """Remove the segment that a killed server left; its next start would have done so."""
        try:
            lines = (self.data / "postmaster.pid").read_text("ascii").splitlines()
        except FileNotFoundError:
            return
        if len(lines) > 6 and (match := re.fullmatch(r"\s*\d+\s+(\d+)\s*", lines[6])):
            subprocess.run(["ipcrm", "--shmem-id", match.group(1)], capture_output=True, timeout=10, check=False)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE_S} s: {what}:\n{self.log_text()}")
            time.sleep(0.01)


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # ended by itself
