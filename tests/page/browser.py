"""A real Chromium without a window, which tests steer over a pair of pipes by the Chrome DevTools Protocol.

The protocol is Chromium's own: one JSON object a message, ended by a NUL byte. No driver stands between and no port is
opened, so that nothing else on the machine can reach the browser.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

Message = dict[str, Any]

ANSWER_S: Final = 60.0
"""How long an answer of the browser may take, on a machine that is busy with other tests."""

_FLAGS: Final = (
    "--headless=new",
    # Root may not have the sandbox; the pages are our own.
    "--no-sandbox",
    "--no-zygote",
    # Containers have little shared memory.
    "--disable-dev-shm-usage",
    "--disable-gpu",
    # Nothing of the browser's own goes to the network, and nothing asks or warns.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    # A page that is not in front is drawn at the same pace.
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--lang=en-US",
    "--remote-debugging-pipe",
)


class BrowserError(Exception):
    """The browser refused a command, ended, or did not answer."""


def find_chromium() -> str:
    """Return the path of Chromium, whatever the distribution calls it; the one first that starts with least work."""
    for name in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"):
        if (path := shutil.which(name)) is not None:
            return path
    raise BrowserError("there is no Chromium; .ci/setup dev installs it")


class Connection:
    """The pipes to one browser: commands go out, answers and events come in.

    Events are kept by the session of their tab until somebody asks for them. One thread uses it.
    """

    def __init__(self, commands: int, answers: int, log: Path) -> None:
        self._commands = commands
        self._answers = answers
        self._log = log
        self._buffer = bytearray()
        self._last = 0
        self._events: dict[str, deque[Message]] = {}

    def call(self, method: str, session: str = "", /, **parameters: Any) -> Message:
        """Send a command and return its result."""
        self._last += 1
        number = self._last
        message: Message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        deadline = time.monotonic() + ANSWER_S
        while True:
            answer = self._read(deadline, method)
            if answer.get("id") == number:
                break
            self._keep(answer)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error'].get('message')}")
        result: Message = answer["result"]
        return result

    def events(self, session: str) -> list[Message]:
        """Take all events of a tab that came since the last time."""
        kept = self._events.pop(session, None)
        return list(kept or ())

    def wait_for_event(self, session: str, wanted: Callable[[Message], bool], what: str) -> Message:
        """Return the first event of a tab that is wanted, and keep the others."""
        deadline = time.monotonic() + ANSWER_S
        kept = self._events.setdefault(session, deque())
        for event in kept:
            if wanted(event):
                kept.remove(event)
                return event
        while True:
            message = self._read(deadline, what)
            if message.get("sessionId", "") == session and wanted(message):
                return message
            self._keep(message)

    def close(self) -> None:
        """Close both pipes, at which the browser ends."""
        os.close(self._commands)
        os.close(self._answers)

    def _keep(self, message: Message) -> None:
        if "method" in message:
            self._events.setdefault(message.get("sessionId", ""), deque()).append(message)

    def _read(self, deadline: float, what: str) -> Message:
        while (end := self._buffer.find(0)) < 0:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise BrowserError(f"the browser did not answer within {ANSWER_S:.0f} s: {what}")
            # An answer may be an image of megabytes.
            data = os.read(self._answers, 1 << 20)
            if not data:
                raise BrowserError(f"the browser ended: {what}\n{self._log.read_text(errors='replace')[-2000:]}")
            self._buffer += data
        message: Message = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        return message


@contextmanager
def running_browser(*flags: str) -> Iterator[Connection]:
    """Start a browser with a profile of its own, and end it with all its processes and files."""
    directory = Path(tempfile.mkdtemp(prefix="readyfs-browser-"))
    try:
        process, connection = _start(directory, flags)
        try:
            yield connection
        finally:
            connection.close()
            _end(process)
    finally:
        shutil.rmtree(directory)


def _start(directory: Path, flags: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start Chromium, which reads commands from descriptor 3 and writes answers to descriptor 4."""
    commands_out, commands = os.pipe()
    answers, answers_in = os.pipe()
    # Out of the way of 3 and 4.
    theirs = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10) for descriptor in (commands_out, answers_in)]
    script = f'exec 3<&{theirs[0]} 4>&{theirs[1]} {theirs[0]}<&- {theirs[1]}>&-; exec "$@"'
    environment = {
        **os.environ,
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "XDG_CONFIG_HOME": str(directory / "config"),
        "XDG_CACHE_HOME": str(directory / "cache"),
        "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        "DBUS_SYSTEM_BUS_ADDRESS": "disabled:",
        "TZ": "UTC",
    }
    profile = f"--user-data-dir={directory / 'profile'}"
    log = directory / "stderr"
    with open(log, "wb") as stderr:
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", find_chromium(), *_FLAGS, profile, *flags, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            pass_fds=theirs,
            env=environment,
            start_new_session=True,
        )
    for descriptor in (commands_out, answers_in, *theirs):
        os.close(descriptor)
    return process, Connection(commands, answers, log)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the browser, whose pipes are closed; then end what is left of its session, which may still write."""
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.monotonic() + ANSWER_S
    while left := _members_of(process.pid):
        if time.monotonic() > deadline:
            raise BrowserError(f"processes of the browser do not end: {left}")
        for one in left:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        time.sleep(0.01)


def _members_of(session: int) -> list[int]:
    """Return the processes of a session that have not ended."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # proc_pid_stat(5): the name may hold anything; after it come state, parent, group, session.
            state, _, _, of = path.read_text(errors="replace").rpartition(")")[2].split()[:4]
            if int(of) == session and state not in "ZX":
                members.append(int(path.parent.name))
    return members
