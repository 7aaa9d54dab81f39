"""From what a node *is* to its inode number: the number is a hash of the node's identity.

So a number survives a remount, is the same on every machine, and is never reused for other bytes: another run is
another inode (V9). `nodes` holds the nodes themselves, `resolver` finds the node that a name stands for.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NewType, TypeAlias

from readyfs.partition import NOT_SET, Partition, SeriesKey, render_date

InodeNumber = NewType("InodeNumber", int)
ROOT_INODE: Final = InodeNumber(1)
"""FUSE_ROOT_ID of linux/fuse.h."""

TreeName: TypeAlias = bytes
"""Which tree of a mount: `LIVE`, or a view's fingerprint in hex."""
LIVE: Final[TreeName] = b"live"
"""The tree that follows the state. A directory's identity holds its tree, because the kernel gives a directory one
place only; a regular file's does not, so that all trees that show a run share its pages."""


class NodeKind(Enum):
    """What a node is; decides in one place where its answers come from."""

    ABOVE = b"above"  # the root and the directories over the dates: the catalog in force
    DATE = b"date"  # a partition's directory: its attributes from the catalog, its entries from the raw store
    RAW_DIRECTORY = b"raw-directory"
    RAW_FILE = b"raw-file"
    BROKEN_DATE = b"broken-date"  # a path that two ready rows claim
    BROKEN_DIRECTORY = b"broken-directory"  # stands for a directory of a run that cannot be served
    BROKEN_FILE = b"broken-file"  # stands for a file of a run that cannot be served
    CONTROL_DIRECTORY = b"control-directory"
    CONTROL_FILE = b"control-file"
    MANIFEST = b"manifest"  # what one catalog shows below a directory, as a file
    LINK = b"link"  # a symbolic link, which leads to the same place for as long as anybody holds it


Identity: TypeAlias = tuple[bytes, ...]
"""What an inode number hashes: the node's kind, and whatever tells it from all others of that kind."""


def inode_number(identity: Identity) -> InodeNumber:
    """Return 63 bits of BLAKE2b over the length-prefixed parts; 0 and 1 are taken by the protocol and skipped.

    63, because Java and SQLite read numbers above 2**63 as negative.
    """
    return _number(_text(identity))


def above_inode(path: tuple[bytes, ...], tree: TreeName = LIVE) -> InodeNumber:
    """Return the inode number of the directory at a path of names."""
    return inode_number((NodeKind.ABOVE.value, tree, *path)) if path or tree != LIVE else ROOT_INODE


def date_inode(partition: Partition, tree: TreeName = LIVE) -> InodeNumber:
    """Return the inode number of a partition's date directory."""
    return _number(_date_text(tree) + _run_text(partition))


def directory_inode(partition: Partition, relpath: tuple[bytes, ...], tree: TreeName = LIVE) -> InodeNumber:
    """Return the inode number of the directory at `relpath` within a sealed run, which without names is the date's."""
    if not relpath:
        return date_inode(partition, tree)
    return _number(_directory_text(tree) + _run_text(partition) + _text(relpath))


def file_inode(
    partition: Partition, relpath: tuple[bytes, ...], generation: int = 0, published_ns: int = NOT_SET
) -> InodeNumber:
    """Return the inode number of the regular file at `relpath` within a sealed run, the same in every tree.

    `published_ns` is `NOT_SET` where the times are the raw file's. It and the generation tell files apart, whose bytes
    and attributes the kernel keeps; a directory is what it is for whoever holds it, whatever comes to lie in it.
    """
    (series, date), run_id, *_ = partition
    text = _place_text(relpath)
    if generation or published_ns != NOT_SET:
        text += _text(_distinctions(generation, published_ns))
    return _number(text, _files_of(series, date, run_id))


def run_identity(partition: Partition) -> Identity:
    """Return what tells a run from all others."""
    return (*partition.key.series, render_date(partition.key.date), partition.run_id)


def directory_identity(partition: Partition, relpath: tuple[bytes, ...], tree: TreeName) -> Identity:
    """Return what `directory_inode` hashes of a directory below a date."""
    return (NodeKind.RAW_DIRECTORY.value, tree, *run_identity(partition), *relpath)


def file_identity(partition: Partition, relpath: tuple[bytes, ...], generation: int, published_ns: int) -> Identity:
    """Return what `file_inode` hashes."""
    run = run_identity(partition)
    return (NodeKind.RAW_FILE.value, *run, *relpath, *_distinctions(generation, published_ns))


# ---- the hash, and the texts that it is made of: those that many nodes share are made once ----------------------

_HASH: Final = blake2b(digest_size=8)


def _distinctions(generation: int, published_ns: int) -> Identity:
    """Return what is told apart at one place of one run; neither part can be a name, and their lengths differ."""
    changed = (generation.to_bytes(4, "little"),) if generation else ()
    # The kernel keeps the attributes of sealed files for ever: another time has to be another file.
    return changed if published_ns == NOT_SET else (*changed, b"/" + published_ns.to_bytes(8, "little"))


def _number(text: bytes, begun: blake2b | None = None) -> InodeNumber:
    """Return the number that a text makes, behind what was begun with."""
    digest = (begun or _HASH).copy()
    digest.update(text)
    number = int.from_bytes(digest.digest(), "little") >> 1
    return InodeNumber(number if number > ROOT_INODE else number + 2)


def _text(identity: Identity) -> bytes:
    return b"".join([len(part).to_bytes(4, "little") + part for part in identity])


def _run_text(partition: Partition) -> bytes:
    """Return the text of `run_identity`."""
    (series, date), run_id, *_ = partition
    return _series_text(series) + _text((render_date(date), run_id))


@lru_cache(maxsize=4096)
def _series_text(series: SeriesKey) -> bytes:
    return _text(series)


_place_text = lru_cache(maxsize=1024)(_text)
"""Of places below runs: many runs have the same few."""


@lru_cache(maxsize=256)
def _files_of(series: SeriesKey, date: int, run_id: bytes) -> blake2b:
    """Return the hash of what the files of a run have in common: they are asked for one after the other."""
    digest = _HASH.copy()
    digest.update(_RAW_FILE_TEXT + _series_text(series) + _text((render_date(date), run_id)))
    return digest


@lru_cache(maxsize=256)
def _date_text(tree: TreeName) -> bytes:
    return _text((NodeKind.DATE.value, tree))


@lru_cache(maxsize=256)
def _directory_text(tree: TreeName) -> bytes:
    return _text((NodeKind.RAW_DIRECTORY.value, tree))


_RAW_FILE_TEXT: Final = _text((NodeKind.RAW_FILE.value,))
