"""What is kept as rows counts and comes back as it was, whatever comes and goes beside it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from readyfs.partition import Partition, PartitionKey, SeriesKey
from readyfs.vfs.inode_number import InodeNumber, NodeKind
from readyfs.vfs.inode_table import InodeCollisionError, InodeTable
from readyfs.vfs.nodes import (
    AboveNode,
    BrokenNode,
    ControlNode,
    DateNode,
    Node,
    above_node,
    ambiguous_node,
    broken_node,
    date_node,
)
from readyfs.vfs.packed_nodes import DateNodes
from readyfs.vfs.packed_rows import SHARDS, MakeRows, PackedRows, Rows, compiled_rows
from tests.catalog.rows import Row
from tests.vfs.both_rows import IMPLEMENTATIONS, needs_compiled

ABOVE = (b"c", b"q")


@pytest.fixture(params=IMPLEMENTATIONS)
def make_rows(request: pytest.FixtureRequest) -> MakeRows:
    make: MakeRows = request.param
    return make


def partition(day: int = 738_000, run: bytes = b"r1", record_count: int = 5) -> Partition:
    key = PartitionKey(SeriesKey(b"s", b"c", b"q"), day)
    return Partition(key, run, 1_717_300_000_000_000_001, record_count, b"v1")


def number_of(shard: int, place: int) -> InodeNumber:
    """Return a number that falls into one of a few shards, where many numbers want few slots."""
    return InodeNumber(2 + shard + place * SHARDS)


NUMBERS = st.builds(number_of, st.integers(0, 2), st.integers(0, 60))
KINDS = st.sampled_from(["above", "date", "ambiguous", "broken", "control"])


def make(kind: str, inode: InodeNumber, what: int) -> Node:
    """Return a node of a kind with a chosen number; `what` tells identities apart."""
    name = b"%d" % what
    match kind:
        case "above":
            return AboveNode(inode, NodeKind.ABOVE, (name,))
        case "date":
            return DateNode(inode, NodeKind.DATE, ABOVE, 738_000, partition(run=name))
        case "ambiguous":
            return DateNode(inode, NodeKind.BROKEN_DATE, (name,), 738_000, None)
        case "broken":
            date = date_node(ABOVE, partition())
            return BrokenNode(inode=inode, kind=NodeKind.BROKEN_FILE, date_node=date, relpath=(name,))
        case _:
            return ControlNode(inode, NodeKind.CONTROL_FILE, name, 1)


def content(node: Node) -> object:
    """Return all that a node holds, as something that can be compared."""
    if isinstance(node, BrokenNode):
        return (*content_of_date(node.date_node), node.kind, node.relpath, node.inode)
    if isinstance(node, DateNode):
        return content_of_date(node)
    return (type(node), node.inode, node.kind, node.identity)


def content_of_date(node: DateNode) -> tuple[object, ...]:
    return (DateNode, node.inode, node.kind, node.above, node.date, node.partition, node.name)


@pytest.mark.parametrize(
    "node",
    [
        above_node(ABOVE),
        date_node(ABOVE, partition()),
        date_node(ABOVE, Row(record_count=-1, schema_version=None).partition),
        ambiguous_node(ABOVE, b"2024-06-01", 738_000),
        ambiguous_node((b"2024-06-01", b"c"), b"q", 739_038),
        broken_node(NodeKind.BROKEN_FILE, date_node(ABOVE, partition()), (b"d", b"f")),
        broken_node(NodeKind.BROKEN_FILE, ambiguous_node(ABOVE, b"2024-06-01", 738_000), (b"f",)),
        broken_node(NodeKind.BROKEN_DIRECTORY, date_node(ABOVE, partition()), (b"d",)),
    ],
    ids=lambda node: node.kind.value.decode(),
)
def test_node_comes_back_as_it_was(node: Node, make_rows: MakeRows) -> None:
    table = InodeTable(make_rows)
    table.remember(node)
    back = table.get(node.inode)
    assert back is not node
    assert (type(back), content(back)) == (type(node), content(node))


def set_row(node: DateNode) -> None:
    node.partition = partition(record_count=6)


def test_what_became_of_a_node_is_kept_with_its_count(make_rows: MakeRows) -> None:
    table = InodeTable(make_rows)
    node = date_node(ABOVE, partition(record_count=5))
    table.remember_all([node, node])
    table.amend(node.inode, DateNode, set_row)
    back = table.get(node.inode)
    assert isinstance(back, DateNode)
    assert back.partition == partition(record_count=6)
    assert table.lookups(node.inode) == 2


def test_what_became_of_an_unknown_node_is_not_kept(make_rows: MakeRows) -> None:
    table = InodeTable(make_rows)
    table.amend(date_node(ABOVE, partition()).inode, DateNode, set_row)
    assert len(table) == 1


@pytest.mark.parametrize("first", ["above", "date", "ambiguous", "broken", "control"])
@pytest.mark.parametrize("second", ["above", "date", "ambiguous", "broken", "control"])
def test_number_belongs_to_the_first_of_any_two_kinds(first: str, second: str, make_rows: MakeRows) -> None:
    table, number = InodeTable(make_rows), InodeNumber(42)
    holder = make(first, number, 1)
    table.remember(holder)
    with pytest.raises(InodeCollisionError):
        table.remember(make(second, number, 2))
    assert content(table.get(number)) == content(holder)
    assert (len(table), table.lookups(number)) == (2, 1)


class TableMachine(RuleBasedStateMachine):
    """The table against a dict of nodes and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.table = InodeTable(self.make_rows)
        self.nodes: dict[InodeNumber, Node] = {}
        self.counts: Counter[InodeNumber] = Counter()

    def make_rows(self, integers: int, references: int) -> Rows:
        return PackedRows(integers, references)

    @rule(batch=st.lists(st.tuples(KINDS, NUMBERS, st.integers(0, 1)), min_size=1, max_size=40))
    def remember(self, batch: list[tuple[str, InodeNumber, int]]) -> None:
        nodes = [make(*one) for one in batch]
        wanted = dict(self.nodes)
        if all(content(wanted.setdefault(node.inode, node)) == content(node) for node in nodes):
            held = self.table.remember_all(nodes)
            assert [node.identity for node in held] == [node.identity for node in nodes]
            self.nodes = wanted
            self.counts.update(node.inode for node in nodes)
        else:
            with pytest.raises(InodeCollisionError):
                self.table.remember_all(nodes)

    @rule(batch=st.lists(st.tuples(NUMBERS, st.integers(1, 3)), min_size=1, max_size=80))
    def forget(self, batch: list[tuple[InodeNumber, int]]) -> None:
        assert self.table.forget(batch) == len(batch)
        for inode, count in batch:
            self.counts[inode] -= count
            if self.counts[inode] <= 0:
                del self.counts[inode]
                self.nodes.pop(inode, None)

    @invariant()
    def every_node_is_there_with_its_count(self) -> None:
        assert len(self.table) == 1 + len(self.nodes)
        for shard in range(3):
            for place in range(61):
                inode = number_of(shard, place)
                node, expected = self.table.peek(inode), self.nodes.get(inode)
                assert (node is None) == (expected is None)
                assert node is None or expected is None or content(node) == content(expected)
                assert self.table.lookups(inode) == self.counts[inode]

    @invariant()
    def series_are_known_of_which_a_run_is_held(self) -> None:
        held = any(isinstance(node, DateNode) and node.partition is not None for node in self.nodes.values())
        assert self.table.holds_run_of(partition().key.series) == held


class CompiledTableMachine(TableMachine):
    """The same with rows of the compiled module."""

    def make_rows(self, integers: int, references: int) -> Rows:
        assert compiled_rows is not None
        return compiled_rows(integers, references)


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestCompiledTable = needs_compiled(CompiledTableMachine.TestCase)
TestCompiledTable.settings = settings(TestTable.settings, max_examples=15)


def test_directories_take_no_object_each(make_rows: MakeRows) -> None:
    """Decision 0023: a date directory that the kernel knows costs no object."""
    table = InodeTable(make_rows)
    nodes = [date_node(ABOVE, partition(700_000 + number)) for number in range(20_000)]
    before = sys.getallocatedblocks()
    table.remember_all(nodes)
    # A shard takes some blocks; a node that was kept as an object would take several of its own.
    assert sys.getallocatedblocks() - before < 10 * SHARDS
    table.forget((node.inode, 1) for node in nodes)
    assert sys.getallocatedblocks() - before < SHARDS / 10


class WatchedDates(DateNodes):
    """Looks after each step whether a run of the series is held, as a refresh may on its own thread."""

    def __init__(self, make_rows: MakeRows) -> None:
        super().__init__(make_rows)
        self.seen: list[bool] = []

    def _note(self, references: Sequence[Any], change: int) -> None:
        super()._note(references, change)
        self.seen.append(self.holds_run_of(references[0]))


def test_series_of_a_node_is_held_while_its_row_is_replaced(make_rows: MakeRows) -> None:
    """V10: a refresh that asks just then must not miss a run that was written again."""
    nodes = WatchedDates(make_rows)
    nodes.count(date_node(ABOVE, partition()), lambda inode, held_by: True)
    nodes.update(date_node(ABOVE, partition(record_count=6)))
    assert all(nodes.seen)
