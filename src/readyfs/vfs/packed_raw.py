"""Raw files and directories as rows, of which there are the most; see `packed_nodes`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

from readyfs.partition import NOT_SET, Partition, PartitionKey
from readyfs.raw.store import RawStat
from readyfs.vfs.inode_number import LIVE, InodeNumber, NodeKind
from readyfs.vfs.nodes import RawNode
from readyfs.vfs.packed_nodes import PackedNodes
from readyfs.vfs.packed_path import Home, home, pack_path, unpack_path
from readyfs.vfs.packed_rows import Integers, References

REGULAR: Final = 1
SUPERSEDED: Final = 2
SERVABLE: Final = 4
"""Bits of a raw node's state: a regular file; one that was replaced; one that the request loop may serve."""
PUBLISHED: Final = 8
"""All its times show what was published."""
PUSHED: Final = 16
"""The kernel was given its bytes."""
GENERATION_SHIFT: Final = 16
_DATE_BITS: Final = 22
"""Enough for 9999-12-31; the sealing is behind them."""
_DATE_MASK: Final = (1 << _DATE_BITS) - 1
_IDENTITY_BITS: Final = REGULAR | PUBLISHED | -1 << GENERATION_SHIFT
"""Those of a state that tell nodes of one place apart; whether a directory's time was published does not."""

_RawReferences: TypeAlias = tuple[bytes, bytes, Home, bytes]
_joined = lru_cache(maxsize=1024)(b"/".join)
"""Makes one object for equal places below runs: many have the same few."""


class RawNodes(PackedNodes[RawNode]):
    """First what the request loop reads of a file (src/native/native.h), then the rest; see `RawNode`.

    The integers: size, time and number of the raw file, the time that is shown, `state`, the date with the sealing,
    and the row's two. The references: the paths of the run's directory and of the node in it, what nodes of one
    series share, and the run id. The bits of `state` say of which kind the node is and what became of it; behind them
    is the generation.
    """

    integers, references, path = 8, 4, 2

    def sealed_size(self, inode: InodeNumber) -> int | None:
        """Return the size in bytes of a regular file, None for all else."""
        row = self.rows.get(inode)
        return row[0][0] if row is not None and row[0][4] & REGULAR else None

    def holds(self, node: RawNode) -> bool | None:
        """See `PackedNodes.holds`; who makes a node of a name does not know whether its bytes were given away."""
        row = self.rows.get(node.inode)
        if row is None or not row[0][4] & PUSHED:
            return None if row is None else row == self._pack(node)
        return row == self._pack(replace(node, pushed=True))

    def note_pushed(self, inode: InodeNumber) -> None:
        """Note that the kernel was given the bytes of a file, if that is there."""
        row = self.rows.get(inode)
        if row is not None:
            (*before, state, dated, updated_at_ns, record_count), references = row
            self.rows.update(inode, (*before, state | PUSHED, dated, updated_at_ns, record_count), references)

    def nodes_in(self, shard: int, run_ids: Collection[bytes]) -> list[RawNode]:
        """Return the nodes of a shard whose run has one of some ids, whatever its partition."""
        found = [self.get(InodeNumber(key)) for key, run_id in self.rows.scan(shard, 3) if run_id in run_ids]
        return [node for node in found if node is not None]

    def _pack(self, node: RawNode) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        (series, date), run_id, updated_at_ns, record_count, schema_version = node.partition
        size, mtime_ns, file = node.stat
        state, shown_ns = node.generation << GENERATION_SHIFT, mtime_ns
        if node.kind is NodeKind.RAW_FILE:
            state |= REGULAR | SERVABLE if node.place else REGULAR
        if node.superseded:
            state |= SUPERSEDED
        if node.pushed:
            state |= PUSHED
        if node.published_ns != NOT_SET:
            state, shown_ns = state | PUBLISHED, node.published_ns
        path = node.above if node.tree is LIVE else pack_path(node.above, node.tree)
        shown_ns = shown_ns if shown_ns > 0 else 0
        dated = date | node.sealing << _DATE_BITS
        return (
            (size, mtime_ns, file, shown_ns, state, dated, updated_at_ns, record_count),
            (node.place, _joined(node.relpath), home(series, path, schema_version), run_id),
        )

    def _unpack(self, inode: InodeNumber, integers: Any, references: Any) -> RawNode:
        size, mtime_ns, file, shown_ns, state, dated, updated_at_ns, record_count = integers
        place, relpath, (series, path, schema_version), run_id = references
        above, tree = unpack_path(path)
        return RawNode(
            inode,
            NodeKind.RAW_FILE if state & REGULAR else NodeKind.RAW_DIRECTORY,
            Partition(PartitionKey(series, dated & _DATE_MASK), run_id, updated_at_ns, record_count, schema_version),
            above,
            (*relpath.split(b"/"),),
            RawStat(size, mtime_ns, file),
            state >> GENERATION_SHIFT,
            state & SUPERSEDED != 0,
            state & PUSHED != 0,
            shown_ns if state & PUBLISHED else NOT_SET,
            dated >> _DATE_BITS,
            tree,
            place,
        )

    def _is_same(self, integers: Integers, references: References, known: Integers, names: References) -> bool:
        _, _, _, shown_ns, state, dated, *_ = integers
        _, _, _, known_shown_ns, known_state, known_dated, *_ = known
        if (state ^ known_state) & _IDENTITY_BITS or (dated ^ known_dated) & _DATE_MASK:
            return False
        _, relpath, (series, path, _), run_id = cast(_RawReferences, references)
        _, known_relpath, (known_series, known_path, _), known_run_id = cast(_RawReferences, names)
        if relpath != known_relpath or run_id != known_run_id or series != known_series:
            return False
        if state & REGULAR:
            return not state & PUBLISHED or shown_ns == known_shown_ns
        return unpack_path(path)[1] == unpack_path(known_path)[1]
