"""The stem: a process that has imported the program, and forks a daemon whenever `forked.Stem` asks.

    python stem.py DESCRIPTOR -m readyfs

The descriptor is a socket to the parent. Each message on it holds arguments and environment of a daemon, as JSON, and
with it come the descriptors for its output and its errors; the answer is the daemon's process number. A daemon is
forked twice, so that it loses its parent and falls to whoever asked. The last two arguments are for those who look for
our processes in the process list.
"""

from __future__ import annotations

import array
import atexit
import gc
import json
import os
import runpy
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Final, NoReturn

PROGRAM: Final = (
    "encodings.ascii",
    "readyfs.check.run",
    "readyfs.cli.check",
    "readyfs.cli.main",
    "readyfs.cli.mount",
    "readyfs.cli.pin",
    "readyfs.cli.replay_source",
    "readyfs.cli.replay_text",
    "readyfs.cli.streams",
    "readyfs.cli.wait_mount",
    "readyfs.cli.wait_state",
    "readyfs.config.own_files",
    "readyfs.daemon.run",
    "readyfs.fuse.pyfuse3.engine",
    "readyfs.fuse.pyfuse3.notifier",
    "readyfs.state.sqlite.inspector",
    "readyfs.state.sqlite.reader",
    "readyfs.state.sqlite.store",
)
"""What daemons, checks and questions import. None of it starts a thread, opens a file or keeps anything of the
environment."""

DATABASES: Final = (
    "psycopg",
    "pymysql",
    "readyfs.state.database.store",
    "readyfs.state.postgres.store",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.postgresql.psycopg",
)
"""The same for those whose state is in a database: as much again, so that it is imported for the first that asks."""


def serve(connection: socket.socket) -> list[str] | None:
    """Fork whenever asked; return None when nobody asks any more, and in each new daemon its arguments."""
    while True:
        try:
            message, rights, _, _ = connection.recvmsg(1 << 20, socket.CMSG_SPACE(2 * 4))
        except ConnectionResetError:
            return None  # whoever asked is gone, and did not take the last answer
        if not message:
            return None
        outputs = array.array("i", rights[0][2])
        request = json.loads(message)
        if any(is_database(argument) for argument in request["arguments"]):
            prepare(DATABASES)
        ours, theirs = os.pipe()
        middle = os.fork()
        if middle == 0:
            daemon = os.fork()
            if daemon:
                os.write(theirs, str(daemon).encode())
                os._exit(0)
            for descriptor in (ours, theirs, connection.detach()):
                os.close(descriptor)
            return become(request, outputs)
        os.close(theirs)
        os.waitpid(middle, 0)  # only then has the daemon the parent that it is to have
        connection.send(os.read(ours, 64) or b"no process could be forked")
        for descriptor in (ours, *outputs):
            os.close(descriptor)


def is_database(argument: str) -> bool:
    """Tell whether an argument is the URL of a state in a database."""
    return argument.startswith(("mysql", "mariadb", "postgresql"))


def prepare(modules: Sequence[str]) -> None:
    """Import what is to be there in all that is forked from now on, and keep it out of their garbage collections."""
    if any(module not in sys.modules for module in modules):
        for module in modules:
            __import__(module)
        gc.freeze()


def become(request: dict[str, object], outputs: Sequence[int]) -> list[str]:
    """Make this process what `subprocess` would have made of it; return the daemon's arguments."""
    arguments, environment = request["arguments"], request["environment"]
    assert isinstance(arguments, list)
    assert isinstance(environment, dict)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests that nohup(1) started ignore it
    os.environ.clear()
    os.environ.update(environment)
    for number, output in enumerate(outputs, 1):
        os.dup2(output, number)
        os.close(output)
    # Those of the stem have seen other files there, and may take a terminal for one that seeks.
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    return arguments


def main() -> None:
    """Be a stem, and in each of its descendants the program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all, and our parent ends us
    del sys.path[0]  # the directory of this script, whose modules are the tests'
    prepare(PROGRAM)
    arguments = serve(socket.socket(fileno=int(sys.argv[1])))
    if arguments is not None:
        sys.argv = ["readyfs", *arguments]
        try:
            runpy.run_module("readyfs", run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            if isinstance(ended.code, int):
                end(ended.code)
            raise


def end(code: int) -> NoReturn:
    """End as the interpreter does, but for its last step: it would take every module apart, in memory of the stem's.

    That takes as long as all of a short life. A daemon that is started `afresh` does take it.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
