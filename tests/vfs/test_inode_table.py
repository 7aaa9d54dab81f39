from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pytest
from structlog.testing import capture_logs

from readyfs.errors import StaleHandleError
from readyfs.vfs.inode_number import ROOT_INODE, Identity, InodeNumber, NodeKind
from readyfs.vfs.inode_table import InodeCollisionError, InodeTable
from readyfs.vfs.nodes import AboveNode, above_node


def colliding(number: int, *path: bytes) -> AboveNode:
    """Return a node whose number is chosen, as if two identities had hashed to it."""
    return AboveNode(InodeNumber(number), NodeKind.ABOVE, path)


def test_root_is_always_there() -> None:
    table = InodeTable()
    table.forget([(ROOT_INODE, 10**9)])
    assert table.get(ROOT_INODE).is_directory
    assert len(table) == 1


def test_node_stays_until_the_kernel_forgot_as_often_as_it_looked_up() -> None:
    table = InodeTable()
    inode = above_node((b"c",)).inode
    for _ in range(3):
        table.remember(above_node((b"c",)))
    table.forget([(inode, 2)])
    assert table.peek(inode) is not None
    table.forget([(inode, 1)])
    assert table.peek(inode) is None
    with pytest.raises(StaleHandleError):
        table.get(inode)


def test_second_lookup_answers_the_node_that_is_held() -> None:
    table = InodeTable()
    first = table.remember(above_node((b"c",)))
    assert table.remember(above_node((b"c",))).identity == first.identity
    assert table.lookups(first.inode) == 2


def test_forgetting_the_unknown_or_too_often_is_harmless() -> None:
    table = InodeTable()
    node = table.remember(above_node((b"c",)))
    table.forget([(InodeNumber(99), 1), (node.inode, 5), (node.inode, 5)])
    assert len(table) == 1


def test_forgotten_node_that_comes_back_counts_from_one() -> None:
    table = InodeTable()
    inode = table.remember(above_node((b"c",))).inode
    table.forget([(inode, 1)])
    table.remember(above_node((b"c",)))
    table.forget([(inode, 1)])
    assert table.peek(inode) is None


def test_node_that_was_forgotten_too_often_counts_from_one_when_it_comes_back() -> None:
    """Nodes are kept with what was answered: one that owed counts would go while the kernel still holds it."""
    table, node = InodeTable(), above_node((b"a",))
    table.remember(node)
    table.forget([(node.inode, 5)])
    table.remember(node)
    assert table.lookups(node.inode) == 1
    table.remember(node)
    table.forget([(node.inode, 1)])
    assert table.lookups(node.inode) == 1


def test_newcomer_with_a_number_that_is_taken_is_refused_and_reported() -> None:
    """Never merged: the one who was first stays, and neither count moves."""
    table = InodeTable()
    first = table.remember(colliding(42, b"a"))
    with capture_logs() as logs, pytest.raises(InodeCollisionError):
        table.remember(colliding(42, b"b"))
    assert table.get(InodeNumber(42)).identity == first.identity
    assert table.lookups(InodeNumber(42)) == 1
    assert [entry["log_level"] for entry in logs] == ["error"]


def test_newcomer_of_another_type_is_refused_even_with_the_same_identity() -> None:
    class OtherNode(AboveNode):
        pass

    table = InodeTable()
    table.remember(colliding(42, b"a"))
    with pytest.raises(InodeCollisionError):
        table.remember(OtherNode(InodeNumber(42), NodeKind.ABOVE, (b"a",)))


def test_number_is_free_again_once_its_holder_was_forgotten() -> None:
    table = InodeTable()
    table.remember(colliding(42, b"a"))
    table.forget([(InodeNumber(42), 1)])
    assert table.remember(colliding(42, b"b")).path == (b"b",)


def test_batch_with_one_collision_counts_nothing() -> None:
    table = InodeTable()
    held = table.remember(colliding(42, b"a"))
    known = table.remember(above_node((b"c",)))
    with pytest.raises(InodeCollisionError):
        table.remember_all([above_node((b"c",)), above_node((b"d",)), colliding(42, b"b")])
    assert (table.lookups(held.inode), table.lookups(known.inode)) == (1, 1)
    assert len(table) == 3


def test_newcomers_of_one_batch_that_collide_are_refused() -> None:
    table = InodeTable()
    with pytest.raises(InodeCollisionError):
        table.remember_all([colliding(42, b"a"), colliding(42, b"b")])
    assert len(table) == 1


def test_node_that_stands_twice_in_a_batch_is_counted_twice() -> None:
    table = InodeTable()
    one, other = table.remember_all([above_node((b"c",)), above_node((b"c",))])
    assert one.identity == other.identity
    assert table.lookups(one.inode) == 2
    table.forget([(one.inode, 1)])
    assert table.lookups(one.inode) == 1


class YieldingNode(AboveNode):
    """A node that lets another thread run while the table looks at it."""

    @property
    def identity(self) -> Identity:
        time.sleep(0)
        return super().identity


@pytest.mark.parametrize("make", [AboveNode, YieldingNode], ids=["packed", "kept"])
def test_counts_are_exact_with_many_threads(make: type[AboveNode]) -> None:
    table = InodeTable()
    numbers = [InodeNumber(number) for number in range(10, 14)]
    threads, rounds = 4, 150
    extra: list[Counter[InodeNumber]] = [Counter() for _ in range(threads)]
    errors: list[BaseException] = []
    start = threading.Barrier(threads)

    def hammer(own: Counter[InodeNumber], seed: int) -> None:
        choose = random.Random(seed)
        start.wait()
        try:
            for _ in range(rounds):
                wanted = choose.choices(numbers, k=3)
                table.remember_all([make(inode, NodeKind.ABOVE, (b"%d" % inode,)) for inode in wanted])
                own.update(wanted)
                assert table.get(wanted[0]).inode == wanted[0]
                count = choose.randint(1, own[wanted[0]])
                own[wanted[0]] -= count
                table.forget([(wanted[0], count)])
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)

    run_threads([threading.Thread(target=hammer, args=(extra[n], n)) for n in range(threads)])
    assert not errors
    left = sum(extra, Counter[InodeNumber]())
    assert {inode: table.lookups(inode) for inode in numbers if table.peek(inode)} == +left
    table.forget(list(left.items()))
    assert len(table) == 1


def run_threads(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
