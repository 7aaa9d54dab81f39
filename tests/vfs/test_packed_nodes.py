"""What is kept as rows counts and comes back as it was, whatever comes and goes beside it."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from readyfs.partition import Partition, PartitionKey, SeriesKey, run_of
from readyfs.raw.store import RawStat
from readyfs.vfs.inode_number import InodeNumber, NodeKind
from readyfs.vfs.inode_table import InodeCollisionError, InodeTable
from readyfs.vfs.nodes import (
    AboveNode,
    BrokenNode,
    ControlNode,
    DateNode,
    Node,
    RawNode,
    above_node,
    ambiguous_node,
    broken_node,
    date_node,
    raw_node,
)
from readyfs.vfs.packed_directories import DateNodes
from readyfs.vfs.packed_raw import RawNodes
from readyfs.vfs.packed_rows import SHARDS, MakeRows, PackedRows, Rows, compiled_rows
from tests.catalog.rows import Row
from tests.vfs.both_rows import IMPLEMENTATIONS, needs_compiled

ABOVE = (b"c", b"q")
TREE = b"0123456789abcdef"
STAT = RawStat(7, 1_717_300_000_000_000_001, 99)
TOO_LATE = RawStat(7, 1 << 63, 99)
"""Of the year 2262: no row can hold that time."""


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
KINDS = st.sampled_from(["above", "date", "ambiguous", "broken", "control", "raw", "raw-directory"])


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
        case "raw":
            return replace(raw_node(NodeKind.RAW_FILE, partition(), ABOVE, (name,), STAT), inode=inode)
        case "raw-directory":
            return replace(raw_node(NodeKind.RAW_DIRECTORY, partition(), ABOVE, (name,), STAT), inode=inode)
        case _:
            return ControlNode(inode, NodeKind.CONTROL_FILE, name, 1)


def content(node: Node) -> object:
    """Return all that a node holds, as something that can be compared."""
    if isinstance(node, RawNode):
        return astuple(node)
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
        raw_node(NodeKind.RAW_FILE, partition(), ABOVE, (b"f",), STAT, place=b"s/c/r1"),
        raw_node(NodeKind.RAW_FILE, partition(), ABOVE, (b"d", b"f"), RawStat(0, -1, -(1 << 63)), 7, 0, 1 << 40),
        raw_node(NodeKind.RAW_FILE, Row(record_count=-1, schema_version=None).partition, ABOVE, (b"f",), STAT, 1, 9),
        raw_node(NodeKind.RAW_DIRECTORY, partition(), ABOVE, (b"d",), STAT, published_ns=5),
        raw_node(NodeKind.RAW_DIRECTORY, partition(day=3_652_059), ABOVE, (b"d", b"e"), STAT, 0, 5, 9, TREE, b"s"),
        replace(raw_node(NodeKind.RAW_FILE, partition(), ABOVE, (b"f",), STAT), superseded=True),
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


@pytest.mark.parametrize("first", ["above", "date", "ambiguous", "broken", "control", "raw", "raw-directory"])
@pytest.mark.parametrize("second", ["above", "date", "ambiguous", "broken", "control", "raw", "raw-directory"])
def test_number_belongs_to_the_first_of_any_two_kinds(first: str, second: str, make_rows: MakeRows) -> None:
    table, number = InodeTable(make_rows), InodeNumber(42)
    holder = make(first, number, 1)
    table.remember(holder)
    with pytest.raises(InodeCollisionError):
        table.remember(make(second, number, 2))
    assert content(table.get(number)) == content(holder)
    assert (len(table), table.lookups(number)) == (2, 1)


def test_what_became_of_a_node_at_the_same_time_is_kept(make_rows: MakeRows) -> None:
    """One thread says that a file was replaced while another says that a later look found it."""
    table, node = InodeTable(make_rows), raw_node(NodeKind.RAW_FILE, partition(), ABOVE, (b"f",), STAT)
    table.remember(node)
    entered, go_on = threading.Event(), threading.Event()

    def seal(held: RawNode) -> None:
        entered.set()
        assert go_on.wait(10)
        held.sealing = 3

    def supersede(held: RawNode) -> None:
        held.superseded = True

    slow = threading.Thread(target=table.amend, args=(node.inode, RawNode, seal))
    slow.start()
    assert entered.wait(10)
    quick = threading.Thread(target=table.amend, args=(node.inode, RawNode, supersede))
    quick.start()
    quick.join(0.05)  # it waits, or else its change is lost
    go_on.set()
    slow.join(10)
    quick.join(10)
    back = table.get(node.inode)
    assert isinstance(back, RawNode)
    assert (back.sealing, back.superseded) == (3, True)


@pytest.mark.parametrize("first", [STAT, TOO_LATE])
@pytest.mark.parametrize("second", [STAT, TOO_LATE])
def test_time_that_no_row_can_hold_is_kept(first: RawStat, second: RawStat, make_rows: MakeRows) -> None:
    """V9: a raw tree may hold times of any year."""
    table = InodeTable(make_rows)
    node = raw_node(NodeKind.RAW_DIRECTORY, partition(), ABOVE, (b"d",), first, tree=TREE)
    again = raw_node(NodeKind.RAW_DIRECTORY, partition(), ABOVE, (b"d",), second, tree=TREE)
    table.remember_all([node, again])

    def look(held: RawNode) -> None:
        held.stat = second

    table.amend(node.inode, RawNode, look)
    back = table.get(node.inode)
    assert isinstance(back, RawNode)
    assert back.stat == second
    assert (len(table), table.lookups(node.inode), table.is_raw(node.inode)) == (2, 2, True)
    assert [one.inode for one in table.nodes_of(TREE)] == [node.inode]
    assert [one.inode for one in table.raw_nodes_of([run_of(partition())])] == [node.inode]
    table.forget([(node.inode, 2)])
    assert table.peek(node.inode) is None
    assert table.remember(node) is node


def test_request_may_name_any_number(make_rows: MakeRows) -> None:
    table, node = InodeTable(make_rows), date_node(ABOVE, partition())
    table.remember(node)
    table.forget([(node.inode, 2**64 - 1), (InodeNumber(2**64 - 1), 2**64 - 1)])
    assert len(table) == 1
    assert table.peek(InodeNumber(2**64 - 1)) is None
    assert table.sealed_size(InodeNumber(2**63)) is None
    assert (table.lookups(InodeNumber(2**64 - 1)), table.is_raw(InodeNumber(2**64 - 1))) == (0, False)


@pytest.mark.parametrize("stat", [STAT, TOO_LATE])
def test_file_says_its_size_and_a_directory_none(stat: RawStat, make_rows: MakeRows) -> None:
    table = InodeTable(make_rows)
    file = raw_node(NodeKind.RAW_FILE, partition(), ABOVE, (b"f",), stat)
    directory = raw_node(NodeKind.RAW_DIRECTORY, partition(), ABOVE, (b"d",), stat._replace(size=0))
    table.remember_all([file, directory])
    sizes = [table.sealed_size(node.inode) for node in (file, directory, date_node(ABOVE, partition()))]
    assert sizes == [7, None, None]


def test_nodes_of_runs_are_found_by_run_and_not_by_its_id_alone(make_rows: MakeRows) -> None:
    table = InodeTable(make_rows)
    runs = [partition(), partition(day=738_001), partition(run=b"r2")]
    nodes = [raw_node(NodeKind.RAW_FILE, run, ABOVE, (b"f%d" % number,), STAT) for run in runs for number in range(9)]
    table.remember_all(nodes)
    found = table.raw_nodes_of([run_of(runs[0]), run_of(runs[2])])
    assert {node.inode for node in found} == {node.inode for node in (*nodes[:9], *nodes[18:])}
    assert table.raw_nodes_of([]) == []


def test_row_of_a_file_begins_with_what_the_loop_reads(make_rows: MakeRows) -> None:
    """As src/native/native.h says it."""
    nodes = RawNodes(make_rows)

    def row_of(node: RawNode) -> tuple[tuple[int, ...], tuple[object, ...]]:
        nodes.count(node, lambda inode, held_by: True)
        row = nodes.rows.get(node.inode)
        assert row is not None
        return row[0][:5], row[1][:2]

    file = raw_node(NodeKind.RAW_FILE, partition(), ABOVE, (b"d", b"f"), STAT, 3, place=b"s/r1")
    assert row_of(file) == ((7, STAT.mtime_ns, 99, STAT.mtime_ns, 1 | 4 | 3 << 16), (b"s/r1", b"d/f"))
    published = raw_node(NodeKind.RAW_FILE, partition(), ABOVE, (b"f",), STAT, 0, 55, place=b"s/r1")
    assert row_of(published) == ((7, STAT.mtime_ns, 99, 55, 1 | 4 | 8), (b"s/r1", b"f"))
    lost = replace(raw_node(NodeKind.RAW_FILE, partition(), ABOVE, (b"g",), STAT), superseded=True)
    assert row_of(lost) == ((7, STAT.mtime_ns, 99, STAT.mtime_ns, 1 | 2), (b"", b"g"))
    old = raw_node(NodeKind.RAW_FILE, partition(), ABOVE, (b"h",), RawStat(7, -5, 99), place=b"s/r1")
    assert row_of(old)[0] == (7, -5, 99, 0, 1 | 4)
    directory = raw_node(NodeKind.RAW_DIRECTORY, partition(), ABOVE, (b"d",), RawStat(0, 4, 99), place=b"s/r1")
    assert row_of(directory) == ((0, 4, 99, 4, 0), (b"s/r1", b"d"))


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


@needs_compiled
@pytest.mark.parametrize("count", [20_000, 40_000])
def test_file_takes_at_most_150_bytes(count: int) -> None:
    """Decision 0050: with all that grows ahead of need. What its run adds is a path, and names that it alone has."""
    assert compiled_rows is not None
    table = InodeTable(compiled_rows)
    runs = [partition(700_000 + number // 10, b"r%d" % (number % 10)) for number in range(count // 2)]
    names = (b"payload.jsonl",), (b"metadata.json",)
    nodes = [raw_node(NodeKind.RAW_FILE, run, ABOVE, name, STAT, place=b"s") for run in runs for name in names]
    bytes_before, blocks_before = allocated_bytes(), sys.getallocatedblocks()
    table.remember_all(nodes)
    assert 50 < (allocated_bytes() - bytes_before) / count < 150
    assert sys.getallocatedblocks() - blocks_before < 100
    full = allocated_bytes() - bytes_before
    table.forget((node.inode, 1) for node in nodes[count // 10 :])
    assert allocated_bytes() - bytes_before < full / 2
    table.forget((node.inode, 1) for node in nodes[: count // 10])
    assert (allocated_bytes() - bytes_before) / count < 5  # some freed blocks are kept for whoever wants one next


class _Mallinfo(ctypes.Structure):
    """struct mallinfo2 of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks".split()
    ]
    _fields_ += [("fordblks", ctypes.c_size_t), ("keepcost", ctypes.c_size_t)]


def allocated_bytes() -> int:
    """Return how much memory the C library has handed out; objects of the interpreter lie elsewhere."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)


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
