"""Program: serve a readyfs-typed mount with a file, a program and a directory, until it is unmounted or killed.

Arguments: the mount point, then any of `allow_other`, `statfs=hang` (never answer it), `statfs=fail`
(with EIO) and `cached` (attributes are kept by the kernel for a minute).
Says "ready" once it can be used. It is not the product's engine: tests of the mount table want a mount whose death
they can order, and nothing else.
"""

from __future__ import annotations

import errno
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import pyfuse3
import trio

NODES = {
    pyfuse3.ROOT_INODE: (b"", stat.S_IFDIR | 0o755, b""),
    2: (b"file", stat.S_IFREG | 0o444, b"x" * 8192),
    3: (b"program", stat.S_IFREG | 0o555, Path("/bin/sleep").read_bytes()),
    4: (b"directory", stat.S_IFDIR | 0o755, b""),
}


class TinyOperations(pyfuse3.Operations):
    supports_dot_lookup = False

    def __init__(self, statfs: str, attr_timeout_s: float) -> None:
        super().__init__()
        self._statfs = statfs
        self._attr_timeout_s = attr_timeout_s

    def init(self) -> None:
        print("ready", flush=True)

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        if self._statfs == "hang":
            await trio.sleep_forever()
        if self._statfs == "fail":
            raise pyfuse3.FUSEError(errno.EIO)
        return pyfuse3.StatvfsData()

    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        for inode, node in NODES.items():
            if parent_inode == pyfuse3.ROOT_INODE and node[0] == name:
                return attributes(inode)
        raise pyfuse3.FUSEError(errno.ENOENT)

    async def getattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        result = attributes(inode)
        result.attr_timeout = self._attr_timeout_s
        return result

    async def opendir(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
        return pyfuse3.FileHandleT(inode)

    async def readdir(self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        if fh == pyfuse3.ROOT_INODE:
            for inode in sorted(set(NODES) - {pyfuse3.ROOT_INODE}):
                if inode > start_id and not pyfuse3.readdir_reply(token, NODES[inode][0], attributes(inode), inode):
                    break

    async def open(self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode))

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        return NODES[fh][2][off : off + size]


def attributes(inode: int) -> pyfuse3.EntryAttributes:
    result = pyfuse3.EntryAttributes()
    _, result.st_mode, content = NODES[inode]
    result.st_ino = pyfuse3.InodeT(inode)
    result.st_size = len(content)
    result.entry_timeout = result.attr_timeout = 0
    return result


def main(mount_point: str, words: Sequence[str]) -> None:
    settings = dict(word.partition("=")[::2] for word in words)
    options = {"fsname=tiny", "subtype=readyfs"} | ({"allow_other"} if "allow_other" in settings else set())
    pyfuse3.init(TinyOperations(settings.get("statfs", ""), 60 if "cached" in settings else 0), mount_point, options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
