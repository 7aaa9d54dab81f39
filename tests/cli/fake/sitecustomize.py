"""Puts a stand-in for `readyfs.daemon.run` into a child process: a control socket without a mount.

It proves the plumbing between command and daemon, failures included that a real daemon is too good for.
What it does is told by the variable FAKE_DAEMON.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from readyfs.config.config import Config


def run(config: Config, on_ready: Callable[[], None]) -> int:
    from readyfs.errors import RawRootError, StateError

    match os.environ["FAKE_DAEMON"]:
        case "refuse":
            raise StateError("the state is locked\nfor good", "wait")
        case "refuse in a nursery":
            raise ExceptionGroup("nursery", [ExceptionGroup("inner", [RawRootError("no raw root", "make it")])])
        case "bug":
            raise RuntimeError("password=s3cret")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            print("first words", file=sys.stderr)
            print("last words", file=sys.stderr, flush=True)
            os._exit(7)
        case "leave a helper":
            quiet = subprocess.DEVNULL
            helper = subprocess.Popen(["sleep", "300"], close_fds=False, stdin=quiet, stdout=quiet, stderr=quiet)
            print(helper.pid, file=sys.stderr, flush=True)
            os._exit(7)
        case "say nothing and exit":
            os._exit(0)
        case "never ready":
            print("starting", file=sys.stderr, flush=True)
            with open(os.environ["FAKE_DAEMON_PID"], "w") as file:
                file.write(f"{os.getpid()}\n")
            signal.pause()
        case "fail later":
            on_ready()
            raise StateError("lost", "wait")
    import trio

    return trio.run(_serve, config, on_ready)


async def _serve(config: Config, on_ready: Callable[[], None]) -> int:
    import structlog
    import trio

    from readyfs.control.protocol import socket_path
    from readyfs.control.server import serve_control

    stopped = trio.Event()

    class Handlers:
        def status(self) -> dict[str, object]:
            return {
                "mountpoint": str(config.mountpoint),
                "pid": os.getpid(),
                "revision": 1,
                "partitions": 12345,
                "withheld": {"bad_row": 2, "no_run_id": 0},
                "age_seconds": 3.21,
                "interval_seconds": 10.0,
                "stale": False,
                "state_error": None,
                "raw": config.raw,
                "phase": "draining" if stopped.is_set() else "serving",
                "draining_seconds_left": 12.0 if stopped.is_set() else None,
                "holders": ["pid 12 bash (cwd)", "pid 13 less (open file)"] if stopped.is_set() else [],
                "cwd": os.getcwd(),
                "session": os.getsid(0),
                "stdio": [os.readlink(f"/proc/self/fd/{number}") for number in range(3)],
                "environment": sorted(name for name in os.environ if "READYFS" in name),
                "pipes": [
                    number
                    for number in os.listdir("/proc/self/fd")
                    if os.path.exists(f"/proc/self/fd/{number}")
                    and os.readlink(f"/proc/self/fd/{number}").startswith("pipe:")
                ],
            }

        async def refresh(self, wait: bool, accept: str | None) -> dict[str, object]:
            if os.environ["FAKE_DAEMON"] == "outage":
                from readyfs.errors import RefreshFailedError

                raise RefreshFailedError("the state cannot be read", "the last good catalog is still served")
            if accept is not None:
                return {"waited": wait, "revision": 7, "retracted": int(accept, 16)}
            return {"waited": wait, "revision": 2, "appeared": 3, "switched": 0, "retracted": 1}

        def stop(self) -> None:
            stopped.set()

    structlog.get_logger("fake").info("serving", mountpoint=str(config.mountpoint))
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, socket_path(config.runtime_dir, config.mountpoint), Handlers())
        on_ready()
        structlog.get_logger("fake").info("after ready")
        await stopped.wait()
        if os.environ["FAKE_DAEMON"] == "deaf":
            await trio.sleep_forever()
        nursery.cancel_scope.cancel()
    return 0


_module = types.ModuleType("readyfs.daemon.run")
vars(_module)["run"] = run
sys.modules["readyfs.daemon.run"] = _module
