"""Servers that share a directory with machines that have no mount, on the loopback, and their clients.

Each server is a group of processes of its own, listens at a port that was free, and keeps all its files in a directory.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.clients.trees import readyfs
from tests.docs.test_docs import section
from tests.mount.daemon import wait_until

PATIENCE_S: Final = 30
SHARE: Final = "ready"
_LISTED: Final = re.compile(r"^  (.+?) +([A-Z]+) +(\d+)  [A-Z][a-z]{2} [A-Z][a-z]{2} .*$", re.MULTILINE)
_SAMBA: Final = """
[global]
    server role = standalone server
    interfaces = lo
    bind interfaces only = yes
    smb ports = {port}
    disable netbios = yes
    disable spoolss = yes
    load printers = no
    map to guest = Bad User
    guest account = nobody
    private dir = {own}/private
    lock directory = {own}/lock
    state directory = {own}/state
    cache directory = {own}/cache
    pid directory = {own}/pid
    ncalrpc dir = {own}/ncalrpc
    log file = {own}/log

{share}
    guest ok = yes
"""
_GANESHA: Final = """
NFS_CORE_PARAM {{
    NFS_Port = {port}; Protocols = 4; Bind_addr = 127.0.0.1; Enable_NLM = false; Enable_RQUOTA = false;
    Plugins_Dir = "{plugins}";
}}
NFSV4 {{ Graceless = true; RecoveryBackend = fs; RecoveryRoot = "{own}"; }}
EXPORT {{
    Export_Id = 77; Path = "{path}"; Pseudo = /{share}; Access_Type = RO; Squash = No_Root_Squash; SecType = sys;
    Protocols = 4; Transports = TCP; Attr_Expiration_Time = {kept_s}; FSAL {{ Name = VFS; }}
}}
"""


def recipe() -> str:
    """Return the share of docs/clients.md as it stands there, but for its path."""
    (block,) = re.findall(r"^```ini\n(.*?)^```$", section("docs/clients.md", "Samba"), re.MULTILINE | re.DOTALL)
    assert isinstance(block, str)
    return block


@dataclass(frozen=True, slots=True)
class SambaShare:
    """A share of smbd, and its client smbclient(1)."""

    config: Path
    port: int

    @property
    def command(self) -> list[str]:
        """The client without its commands."""
        return ["smbclient", "-s", str(self.config), "-p", str(self.port), "-N", f"//127.0.0.1/{SHARE}"]

    def do(self, *commands: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run commands in a session of their own."""
        return subprocess.run(
            [*self.command, "-c", "; ".join(commands)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            cwd=cwd,
            check=False,
        )

    def names(self, directory: str = "") -> set[str]:
        """Return what the client lists of a directory."""
        done = self.do(f'ls "{directory}\\*"')
        assert done.returncode == 0, done.stdout + done.stderr
        return {name for name, *_ in _LISTED.findall(done.stdout)} - {".", ".."}

    def read(self, path: str, copy: Path) -> bytes | None:
        """Return what the client gets of a file, None if it ends with an error."""
        done = self.do(f'get "{windows(path)}" "{copy}"')
        return copy.read_bytes() if done.returncode == 0 else None

    @contextmanager
    def session(self, own: Path) -> Iterator[SambaSession]:
        """A session that stays open for several commands."""
        with (own / "session.log").open("wb") as log:
            process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=own)
        try:
            yield SambaSession(process, own)
        finally:
            process.kill()
            process.communicate()


@dataclass(slots=True)
class SambaSession:
    """One session of smbclient."""

    process: subprocess.Popen[bytes]
    own: Path
    number: int = 0

    def read(self, path: str) -> bytes | None:
        """Return what the session gets of a file, None if it gets none."""
        self.number += 1
        copy, done = self.own / f"copy-{self.number}", self.own / f"done-{self.number}"
        self._send(f'get "{windows(path)}" "{copy}"\n!touch "{done}"\n')

        def has_read() -> bool:
            self._send("\n")  # it waits for input even if it has read a line ahead
            return done.exists()

        wait_until(has_read, "the session has read", PATIENCE_S)
        return copy.read_bytes() if copy.exists() else None

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()


def windows(path: str) -> str:
    """Return a path as clients of SMB write it."""
    return path.replace("/", "\\")


@contextmanager
def samba(own: Path, path: Path, share: str | None = None) -> Iterator[SambaShare]:
    """Share a directory as docs/clients.md says, or by another section of smb.conf."""
    for name in ("private", "lock", "state", "cache", "pid", "ncalrpc"):
        (own / name).mkdir(parents=True)
    port = free_port()
    text = re.sub(r"(?m)^( *path = ).*$", rf"\g<1>{path}", share or recipe())
    config = own / "smb.conf"
    config.write_text(_SAMBA.format(port=port, own=own, share=text))
    words = ["smbd", "--foreground", "--no-process-group", f"--configfile={config}"]
    with _serving(words, port, own / "smbd.out"):
        yield SambaShare(config, port)


@dataclass(frozen=True, slots=True)
class NfsExport:
    """An export of nfs-ganesha, and the clients of libnfs."""

    port: int

    def read(self, path: str) -> subprocess.CompletedProcess[bytes]:
        """Have a file read by its path below the export; it says with "Failed" that it was not."""
        return self._ask("nfs-cat", path)

    def names(self, path: str = "") -> set[str]:
        """Return what a directory lists."""
        lines = self._ask("nfs-ls", path).stdout.decode().splitlines()
        return {line.split(maxsplit=5)[5] for line in lines}

    def _ask(self, program: str, path: str) -> subprocess.CompletedProcess[bytes]:
        url = f"nfs://127.0.0.1/{SHARE}/{path}?version=4&nfsport={self.port}"
        return subprocess.run([program, url], capture_output=True, timeout=PATIENCE_S, check=False)


@contextmanager
def ganesha(own: Path, path: Path, kept_s: int) -> Iterator[NfsExport]:
    """Export a mount, of whose names and attributes the server keeps what it knows for some seconds."""
    own.mkdir()
    port = free_port()
    (plugins,) = Path("/usr/lib").glob("*/ganesha/libfsalvfs.so")
    config = own / "ganesha.conf"
    config.write_text(
        _GANESHA.format(port=port, plugins=plugins.parent, own=own, path=path, share=SHARE, kept_s=kept_s)
    )
    words = ["ganesha.nfsd", "-F", "-f", str(config), "-L", str(own / "log"), "-p", str(own / "pid")]
    with _serving(words, port, own / "ganesha.out"):
        yield NfsExport(port)


@contextmanager
def _serving(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """Run a server until the body has ended, from when on it takes connections."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=log.parent
        )

    def is_serving() -> bool:
        assert process.poll() is None, log.read_text("utf-8", "replace")
        with socket.socket() as client:
            client.settimeout(PATIENCE_S)
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(is_serving, f"{command[0]} serves", PATIENCE_S)
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S / 3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        try:
            os.killpg(process.pid, signal.SIGKILL)  # its children that still serve somebody
        except ProcessLookupError:
            pass


def free_port() -> int:
    """Return a port of the loopback at which nobody listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def taken_view(mountpoint: Path) -> str:
    """Pin what is in force; return the path of its view below the mount point."""
    return os.path.relpath(readyfs("pin", str(mountpoint)), mountpoint)


def leases_granted(python: Path, share: SambaShare, path: str) -> list[int]:
    """Ask for an oplock and for a lease on a file; return the levels that are granted, 0 for none."""
    script = Path(__file__).with_name("ask_leases.py")
    command = [str(python), str(script), str(share.port), SHARE, windows(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]
