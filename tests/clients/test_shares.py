"""A mount that is shared: what docs/clients.md says of Samba, and how far NFS goes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.clients.hostile_ids import IDS, fill
from tests.clients.shares import NfsExport, SambaShare, ganesha, leases_granted, recipe, samba, taken_view, windows
from tests.mount.daemon import Daemon, Place, mounted, partition, running, wait_until

pytestmark = pytest.mark.clients

ENGINES: Final = ("pyfuse3", "passthrough", "cached")
SPOTS: Final = tuple(
    partition(customer=customer, date=date) for customer in ("c1", "C1") for date in ("2024-06-01", "2024-06-02")
)
SPOT: Final = SPOTS[0]
FILE: Final = f"{SPOT.path}/payload.jsonl"


def records(run: str) -> bytes:
    """Return the records of a run; another one has as many and other bytes."""
    return f"{run}\n".encode() * 5000


@pytest.fixture(scope="module")
def smb_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with a client that can ask for leases, as Windows does."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = (environment / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, "smbprotocol"], check=True)
    return environment / "bin/python"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place() -> Iterator[Place]:
    """A place on a way that is open to all users, with four partitions."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        base = Path(directory) / "share"
        base.mkdir()
        found = Place(base)
        with closing(found.producer):
            publish(found, "r1")
            yield found


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Where a server keeps what it needs."""
    return tmp_path / "server"


def publish(place: Place, run: str) -> None:
    """Give each partition a run."""
    for spot in SPOTS:
        place.producer.write_and_publish(spot, run, records(run))


@pytest.fixture
def daemon(place: Place, engine: str) -> Iterator[Daemon]:
    with mounted(place, "--allow-other", engine=engine) as found:
        yield found


@pytest.fixture
def share(daemon: Daemon, own: Path) -> Iterator[SambaShare]:
    """The share of the documents."""
    with samba(own, daemon.place.base) as found:
        yield found


def files_of(top: Path) -> dict[str, bytes]:
    """Return the files below a directory."""
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_samba_takes_the_recipe_without_a_word(share: SambaShare) -> None:
    done = subprocess.run(["testparm", "-s", share.config], capture_output=True, text=True, timeout=30, check=True)
    words = [line for line in done.stderr.splitlines() if "Unknown" in line or "found in service section" in line]
    assert not words, done.stderr


def test_samba_gives_the_live_tree_and_a_view(daemon: Daemon, share: SambaShare, tmp_path: Path) -> None:
    """V1, V16: a copy of each has every file; after a switch the copy of the view is what it was."""
    view = taken_view(daemon.path)
    before = files_of(daemon.path)
    assert len(before) == 2 * len(SPOTS)
    publish(daemon.place, "r2")
    daemon.refresh()
    for top, expected in (("mnt", files_of(daemon.path)), (f"mnt/{view}", before)):
        copy = tmp_path / top.replace("/", "-")
        copy.mkdir()
        done = share.do(f'cd "{windows(top)}"', "recurse ON", "prompt OFF", "mget *", cwd=copy)
        assert done.returncode == 0, done.stdout
        assert files_of(copy) == expected


def test_samba_hides_the_control_directory(share: SambaShare) -> None:
    """V1: it is there, and not listed."""
    assert share.names("mnt") == {"c1", "C1"}
    assert {"status.json", "views"} <= share.names("mnt\\.readyfs")


def test_samba_session_sees_a_switch_and_a_retraction(daemon: Daemon, share: SambaShare, tmp_path: Path) -> None:
    """V3: in one session, on one path."""
    with share.session(tmp_path) as session:
        assert session.read(f"mnt/{FILE}") == records("r1")
        view = taken_view(daemon.path)
        publish(daemon.place, "r2")
        daemon.refresh()
        assert session.read(f"mnt/{FILE}") == records("r2")
        assert session.read(f"mnt/{view}/{FILE}") == records("r1")
        daemon.place.change("DELETE FROM partition_state WHERE customer_id = 'c1'")
        daemon.refresh()
        assert session.read(f"mnt/{FILE}") is None
        assert session.read(f"mnt/{view}/{FILE}") == records("r1")
    assert share.names("mnt") == {"C1"}


@pytest.mark.parametrize(
    "command",
    [
        f'put /etc/hostname "mnt\\{windows(FILE)}"',
        'mkdir "mnt\\new"',
        f'del "mnt\\{windows(FILE)}"',
        'rename "mnt\\c1" "mnt\\c2"',
    ],
    ids=["put", "mkdir", "del", "rename"],
)
@pytest.mark.parametrize("engine", ["passthrough"])
def test_samba_refuses_to_write(daemon: Daemon, share: SambaShare, command: str) -> None:
    done = share.do(command)
    assert "NT_STATUS_ACCESS_DENIED" in done.stdout + done.stderr or "NT_STATUS_MEDIA_WRITE_PROTECTED" in done.stdout
    assert daemon.is_all(*SPOTS)


def test_samba_get_of_a_broken_partition_is_an_error(daemon: Daemon, share: SambaShare, tmp_path: Path) -> None:
    """V10: another one beside it is read; what is gone is told from what is broken."""
    run = daemon.place.producer.run_directory(SPOT, "r1")
    run.rename(run.with_name("aside"))
    done = share.do(f'get "mnt\\{windows(FILE)}" "{tmp_path / "copy"}"')
    assert done.returncode != 0
    assert "NT_STATUS_IO_DEVICE_ERROR" in done.stdout + done.stderr
    assert share.read(f"mnt/{SPOTS[1].path}/payload.jsonl", tmp_path / "other") == records("r1")
    gone = share.do(f'get "mnt\\c1\\q1\\2024-06-09\\payload.jsonl" "{tmp_path / "none"}"')
    assert gone.returncode != 0
    assert "NT_STATUS_OBJECT_PATH_NOT_FOUND" in gone.stdout + gone.stderr


def test_samba_reads_every_id_under_the_name_it_lists(own: Path, tmp_path: Path) -> None:
    """V12: as many names as there are ids, each of them with its own record."""
    ids = (*IDS, "con", "a|b", "ends with a dot.", "UPPER", "upper")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        place = Place(Path(directory))
        with closing(place.producer):
            fill(place, ids)
            with (
                mounted(place, "--allow-other", "--raw-encoding", "hive", engine="passthrough"),
                samba(own, place.base) as share,
            ):
                names = sorted(share.names("mnt"))
                read = {share.read(f"mnt/{name}/q1/2024-06-01/payload.jsonl", tmp_path / "copy") for name in names}
    assert len(names) == len(ids)
    assert read == {b'{"number":%d}\n' % number for number in range(len(ids))}


def test_samba_session_outlives_a_restart(place: Place, own: Path, tmp_path: Path, engine: str) -> None:
    """The mount is let go at once, and the session sees the new one."""
    with samba(own, place.base) as share, share.session(tmp_path) as session:
        with mounted(place, "--allow-other", engine=engine) as daemon:
            assert session.read(f"mnt/{FILE}") == records("r1")
        assert not daemon.events("mount is in use")
        assert session.read(f"mnt/{FILE}") is None
        publish(place, "r2")
        with mounted(place, "--allow-other", engine=engine):
            assert session.read(f"mnt/{FILE}") == records("r2")


@pytest.mark.parametrize("engine", ["passthrough"])
def test_samba_session_in_the_mount_itself_keeps_it_busy(place: Place, own: Path, tmp_path: Path, engine: str) -> None:
    """Why the documents share the directory above."""
    with (
        running(place, "--allow-other", "--drain", "1s", engine=engine) as daemon,
        samba(own, place.mountpoint) as share,
        share.session(tmp_path) as session,
    ):
        assert session.read(FILE) == records("r1")
        daemon.stop()
        assert daemon.events("mount is busy, detached it and goes on for open files")


@pytest.mark.parametrize("engine", ["passthrough"])
def test_samba_grants_leases_unless_told(daemon: Daemon, own: Path, smb_python: Path, engine: str) -> None:
    """A client with a lease reads a path from its memory: docs/clients.md takes them away."""
    plain = recipe().replace("    oplocks = no\n", "")
    assert plain != recipe()
    for name, text, granted in (("plain", plain, True), ("recipe", recipe(), False)):
        with samba(own / name, daemon.place.base, text) as share:
            levels = leases_granted(smb_python, share, f"mnt/{FILE}")
            assert [level > 0 for level in levels] == [granted, granted]


@pytest.mark.parametrize("engine", ["passthrough"])
def test_samba_without_allow_other_is_no_empty_share(place: Place, own: Path, tmp_path: Path, engine: str) -> None:
    with mounted(place, "--no-allow-other", engine=engine), samba(own, place.base) as share:
        assert share.read(f"mnt/{FILE}", tmp_path / "copy") is None
        done = share.do("ls mnt\\*")
        assert "NT_STATUS_ACCESS_DENIED" in done.stdout + done.stderr


def is_read(export: NfsExport, path: str, expected: bytes) -> bool:
    """Whether a file is read; if so, it has the right bytes."""
    done = export.read(path)
    if b"Failed" in done.stderr:
        assert b"NFS4ERR_STALE" in done.stderr
        return False
    assert done.stdout == expected
    return True


@pytest.mark.parametrize("engine", ["pyfuse3", "passthrough"])
def test_nfs_that_keeps_nothing_sees_a_switch_and_a_view(daemon: Daemon, own: Path) -> None:
    """V3, V16: with `Attr_Expiration_Time = 0`, as docs/clients.md says."""
    view = taken_view(daemon.path)
    with ganesha(own, daemon.path, kept_s=0) as export:
        assert export.names() == {"c1", "C1"}
        assert export.read(FILE).stdout == records("r1")
        publish(daemon.place, "r2")
        daemon.refresh()
        assert export.read(FILE).stdout == records("r2")
        assert export.read(f"{view}/{FILE}").stdout == records("r1")


@pytest.mark.parametrize("engine", ["pyfuse3", "passthrough"])
def test_nfs_handle_of_a_forgotten_inode_is_stale_and_never_another_file(daemon: Daemon, own: Path) -> None:
    with ganesha(own, daemon.path, kept_s=0) as export:
        assert is_read(export, FILE, records("r1"))
        Path("/proc/sys/vm/drop_caches").write_text("2\n", "ascii")
        wait_until(lambda: is_read(export, FILE, records("r1")), "the server has looked the name up again")
