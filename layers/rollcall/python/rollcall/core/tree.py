"""The counting tree: arithmetic that tells from the total alone when a run is complete.

A node holds a set of positions. Level 0 nodes are chunks, whose positions are entries; the positions of
every other level are the nodes below. A node whose set has its expected size is full and is added to its
parent; a full root means that every entry is settled. Nothing is created beforehand and nothing is read.
"""

from dataclasses import dataclass

#: Entries in a chunk, and nodes below a node: a set of 250 positions stays under 1 KB, one DynamoDB write
#: unit (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
CHUNK_SIZE = 250
FAN_IN = 250


@dataclass(frozen=True, slots=True)
class Node:
    """A place in the tree."""

    level: int
    number: int


@dataclass(frozen=True, slots=True)
class Tree:
    """The shape that `total` entries give."""

    #: Entries in the manifest, 0 or more.
    total: int
    chunk_size: int = CHUNK_SIZE
    fan_in: int = FAN_IN

    def __post_init__(self) -> None:
        if self.total < 0 or self.chunk_size < 1 or self.fan_in < 2:
            raise ValueError(f"no tree has this shape: {self}")

    @property
    def chunks(self) -> int:
        return -(-self.total // self.chunk_size)

    def width(self, level: int) -> int:
        """How many nodes `level` has."""
        width = self.chunks
        for _ in range(level):
            width = -(-width // self.fan_in)
        return width

    def expected(self, node: Node) -> int:
        """How many positions make `node` full."""
        if node.level == 0:
            return min(self.chunk_size, self.total - node.number * self.chunk_size)
        return min(self.fan_in, self.width(node.level - 1) - node.number * self.fan_in)

    def is_root(self, node: Node) -> bool:
        return self.width(node.level) == 1

    def root(self) -> Node | None:
        """The node whose fullness completes the run; none where there are no entries."""
        if self.total == 0:
            return None
        level = 0
        while self.width(level) > 1:
            level += 1
        return Node(level, 0)

    def parent(self, node: Node) -> tuple[Node, int]:
        """The node above, and the position there that stands for `node`."""
        return Node(node.level + 1, node.number // self.fan_in), node.number % self.fan_in

    def children(self, node: Node) -> list[Node]:
        """The nodes below, in the order of their positions; none below a chunk."""
        if node.level == 0:
            return []
        first = node.number * self.fan_in
        return [Node(node.level - 1, first + position) for position in range(self.expected(node))]

    def chunk_of(self, index: int) -> tuple[Node, int]:
        """The chunk of the entry `index`, and its position there."""
        return Node(0, index // self.chunk_size), index % self.chunk_size

    def entries_below(self, node: Node) -> int:
        """How many entries are settled when `node` is full."""
        span = self.chunk_size * int(self.fan_in**node.level)
        return min(span, self.total - node.number * span)
