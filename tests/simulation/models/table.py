"""A table's items and stream, and a write that may be done to one of them."""

from dataclasses import dataclass, field

from tests.simulation.models.attributes import Item, Value
from tests.simulation.models.stream import Stream


@dataclass
class Table:
    """The items of one table, and what writing them cost."""

    key: str
    #: Global secondary indexes by name: partition and sort attribute.
    indexes: dict[str, tuple[str, str]] = field(default_factory=dict)
    items: dict[Value, Item] = field(default_factory=dict)
    stream: Stream = field(default_factory=Stream)
    _sizes: dict[Value, int] = field(default_factory=dict)

    def size(self, key: Value) -> int:
        return self._sizes.get(key, 0)

    def put(self, key: Value, item: Item | None, size: int, at: float) -> None:
        """Put, or delete, and tell the stream if that is a change."""
        old = self.items.get(key)
        if item is None:
            self.items.pop(key, None)
            self._sizes.pop(key, None)
        else:
            self.items[key] = item
            self._sizes[key] = size
        if old != item:
            self.stream.append(at, {self.key: key}, old, item)


class ConditionFailed(Exception):
    """A condition did not hold."""

    def __init__(self, old: Item | None) -> None:
        super().__init__("The conditional request failed")
        self.old = old


class CannotBe(Exception):
    """What an item would become by a write, or cannot be taken for one: too large, or of the wrong type."""


@dataclass(frozen=True, slots=True)
class Write:
    """A write that was checked and may be done."""

    table: Table
    key: Value
    old: Item | None
    #: None deletes; the old one changes nothing, as in a ConditionCheck.
    new: Item | None
    size: int
    #: The attributes that the update names.
    named: tuple[str, ...] = ()

    def units(self) -> int:
        """Write request units: by the larger of the item before and after."""
        return -(-max(self.size, self.table.size(self.key), 1) // 1024)
