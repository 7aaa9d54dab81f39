"""A PostgreSQL server that speaks TLS, and a user whose HOME is somebody else's."""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from readyfs.errors import StateError
from readyfs.state.filters import Filters
from readyfs.state.open import open_state
from readyfs.state.store import StateTable
from tests.postgres.database import StateDatabase
from tests.postgres.server import PostgresServer

NOBODY = 65534


def write_certificate(directory: Path) -> None:
    """Write `server.crt` and `server.key` for whoever owns the directory."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    for file, text in (
        ("server.crt", made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)),
        ("server.key", key.private_bytes(*form)),
    ):
        (directory / file).write_bytes(text)
        (directory / file).chmod(0o600)
        shutil.chown(directory / file, directory.stat().st_uid, directory.stat().st_gid)


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Be a user whom a directory can be closed to; what was imported by now is all that can be."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_home_of_somebody_else_is_named_with_a_remedy_that_works(
    postgres_template: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V11: libpq looks there for a certificate of ours, and gives up if it may not look."""
    closed = tmp_path / "home" / ".postgresql"
    closed.mkdir(parents=True)
    with postgres_template.copy(ssl="on") as server:
        write_certificate(server.data)
        database = StateDatabase.create(server.start(), "state")
        url = f"{database.url()}?sslmode=require"
        open_state(url, StateTable(), Filters(), 5).close()
        closed.parent.chmod(0)
        monkeypatch.setenv("HOME", str(closed.parent))
        try:
            with as_ordinary_user():
                with pytest.raises(StateError, match="PGSSLCERT=/nonexistent") as refused:
                    open_state(url, StateTable(), Filters(), 5)
                assert "set HOME" in refused.value.remedy
                with closing(open_state(f"{url}&sslcert=/nonexistent", StateTable(), Filters(), 5)) as store:
                    assert store.load().rows == 0
                monkeypatch.setenv("PGSSLCERT", "/nonexistent")
                open_state(url, StateTable(), Filters(), 5).close()
        finally:
            closed.parent.chmod(0o700)
