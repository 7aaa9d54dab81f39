"""The path of a node in its row: with its tree, and one object for nodes that have it in common."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from readyfs.partition import SeriesKey
from readyfs.vfs.inode_number import LIVE, TreeName


class InView(NamedTuple):
    """The path of a directory in a view; one in the live tree, of which there are the most, is kept as it is."""

    tree: TreeName
    path: tuple[bytes, ...]


_in_view = lru_cache(maxsize=1024)(InView)
"""Makes one object for equal paths: the dates of a directory come together."""


def pack_path(path: tuple[bytes, ...], tree: TreeName) -> tuple[bytes, ...] | InView:
    """Return the path of a directory in a tree as one object."""
    return path if tree == LIVE else _in_view(tree, path)


def unpack_path(packed: tuple[bytes, ...] | InView) -> tuple[tuple[bytes, ...], TreeName]:
    """Return what `pack_path` was given."""
    return (packed.path, packed.tree) if isinstance(packed, InView) else (packed, LIVE)


class Home(NamedTuple):
    """What the nodes of a series have in common: where its dates are is packed with the tree."""

    series: SeriesKey
    path: Any
    schema_version: bytes | None


home = lru_cache(maxsize=1024)(Home)
"""Makes one object for equal homes: the files of a series come together."""
