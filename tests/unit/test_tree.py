"""The counting tree: a run is complete when every position is there, in whatever order, and never before."""

from collections import defaultdict
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.core.tree import Node, Tree

#: Small chunks and fan-ins make deep trees of few entries.
trees = st.builds(Tree, total=st.integers(1, 300), chunk_size=st.integers(1, 20), fan_in=st.integers(2, 6))
any_order = st.randoms(use_true_random=False)


class Count:
    """Counts as the ledger does: a full node is added to its parent, as often as it is seen full."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.positions: dict[Node, set[int]] = defaultdict(set)

    def settle(self, index: int) -> None:
        node, position = self.tree.chunk_of(index)
        self._add(node, position)

    def _add(self, node: Node, position: int) -> None:
        self.positions[node].add(position)
        if self.full(node) and not self.tree.is_root(node):
            self._add(*self.tree.parent(node))

    def full(self, node: Node) -> bool:
        return len(self.positions[node]) == self.tree.expected(node)

    @property
    def complete(self) -> bool:
        root = self.tree.root()
        return root is not None and self.full(root)


def completions(tree: Tree, indexes: Iterable[int]) -> list[bool]:
    """Whether the run is complete after each of the entries was settled."""
    count, seen = Count(tree), []
    for index in indexes:
        count.settle(index)
        seen.append(count.complete)
    return seen


def shuffled(items: Iterable[int], random: Random) -> list[int]:
    order = list(items)
    random.shuffle(order)
    return order


def nodes(tree: Tree, level: int) -> list[Node]:
    return [Node(level, number) for number in range(tree.width(level))]


@given(trees, any_order)
def test_a_run_is_complete_with_its_last_entry_and_not_before(tree: Tree, random: Random) -> None:
    order = shuffled(range(tree.total), random)
    assert completions(tree, order) == [False] * (tree.total - 1) + [True]


@given(trees, any_order)
def test_entries_settled_again_neither_complete_a_run_nor_undo_it(tree: Tree, random: Random) -> None:
    order = shuffled([*range(tree.total)] * 2, random)
    missing = set(range(tree.total))
    assert completions(tree, order) == [not missing.difference(order[: n + 1]) for n in range(len(order))]


@given(trees)
def test_every_node_counts_exactly_the_positions_that_it_expects(tree: Tree) -> None:
    count = Count(tree)
    for index in range(tree.total):
        count.settle(index)
    assert {node: sorted(found) for node, found in count.positions.items()} == {
        node: [*range(tree.expected(node))] for node in count.positions
    }


@given(trees, st.integers(0, 8))
def test_the_nodes_of_any_level_hold_all_entries_together(tree: Tree, level: int) -> None:
    assert sum(tree.entries_below(node) for node in nodes(tree, level)) == tree.total


@given(trees, st.integers(1, 4))
def test_a_node_holds_what_its_children_hold(tree: Tree, level: int) -> None:
    for node in nodes(tree, level):
        assert tree.entries_below(node) == sum(tree.entries_below(child) for child in tree.children(node))


@given(trees, st.integers(1, 4))
def test_every_child_finds_its_parent_and_its_position_there(tree: Tree, level: int) -> None:
    for node in nodes(tree, level):
        assert [tree.parent(child) for child in tree.children(node)] == [
            (node, position) for position in range(tree.expected(node))
        ]


def test_without_entries_there_is_nothing_to_wait_for() -> None:
    tree = Tree(0)
    assert (tree.root(), tree.chunks) == (None, 0)


@pytest.mark.parametrize("total", [1, 250])
def test_a_single_chunk_is_its_own_root(total: int) -> None:
    assert Tree(total).root() == Node(0, 0)


@pytest.mark.parametrize(
    ("total", "root"), [(251, Node(1, 0)), (62_500, Node(1, 0)), (62_501, Node(2, 0)), (1_000_000, Node(2, 0))]
)
def test_the_tree_grows_a_level_when_a_root_would_hold_more_than_250(total: int, root: Node) -> None:
    assert Tree(total).root() == root


def test_8000_entries_are_counted_in_32_chunks_under_one_root() -> None:
    tree = Tree(8_000)
    assert (tree.chunks, tree.expected(Node(1, 0)), tree.chunk_of(7_999)) == (32, 32, (Node(0, 31), 249))


def test_a_chunk_has_no_nodes_below() -> None:
    assert Tree(8_000).children(Node(0, 0)) == []


@pytest.mark.parametrize(("total", "chunk_size", "fan_in"), [(-1, 250, 250), (1, 0, 250), (1, 250, 1)])
def test_impossible_shapes_are_refused(total: int, chunk_size: int, fan_in: int) -> None:
    with pytest.raises(ValueError, match="no tree has this shape"):
        Tree(total, chunk_size, fan_in)
