"""Asks a share of SMB for an oplock and then for a lease on a file, and prints the levels that were granted.

Run as a program of the environment that has `smbprotocol`: PORT SHARE PATH.
"""

from __future__ import annotations

import sys
import uuid

from smbprotocol.connection import Connection  # type: ignore[import-not-found]
from smbprotocol.create_contexts import (  # type: ignore[import-not-found]
    CreateContextName,
    LeaseState,
    SMB2CreateContextRequest,
    SMB2CreateRequestLease,
)
from smbprotocol.open import (  # type: ignore[import-not-found]
    CreateDisposition,
    CreateOptions,
    FileAttributes,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    RequestedOplockLevel,
    ShareAccess,
)
from smbprotocol.session import Session  # type: ignore[import-not-found]
from smbprotocol.tree import TreeConnect  # type: ignore[import-not-found]


def main(port: str, share: str, path: str) -> None:
    """Open the file twice."""
    connection = Connection(uuid.uuid4(), "127.0.0.1", int(port), require_signing=False)
    connection.connect()
    session = Session(connection, "guest", "", require_encryption=False)
    session.connect()
    tree = TreeConnect(session, rf"\\127.0.0.1\{share}")
    tree.connect(require_secure_negotiate=False)
    lease = SMB2CreateRequestLease()
    lease["lease_key"] = uuid.uuid4().bytes
    lease["lease_state"] = LeaseState.SMB2_LEASE_READ_CACHING | LeaseState.SMB2_LEASE_HANDLE_CACHING
    context = SMB2CreateContextRequest()
    context["buffer_name"] = CreateContextName.SMB2_CREATE_REQUEST_LEASE
    context["buffer_data"] = lease
    for level, contexts in (
        (RequestedOplockLevel.SMB2_OPLOCK_LEVEL_BATCH, None),
        (RequestedOplockLevel.SMB2_OPLOCK_LEVEL_LEASE, [context]),
    ):
        file = Open(tree, path)
        file.create(
            ImpersonationLevel.Impersonation,
            FilePipePrinterAccessMask.GENERIC_READ,
            FileAttributes.FILE_ATTRIBUTE_NORMAL,
            ShareAccess.FILE_SHARE_READ,
            CreateDisposition.FILE_OPEN,
            CreateOptions.FILE_NON_DIRECTORY_FILE,
            create_contexts=contexts,
            oplock_level=level,
        )
        print(int(file.oplock_level))
        file.close()
    connection.disconnect()


if __name__ == "__main__":
    main(*sys.argv[1:])
