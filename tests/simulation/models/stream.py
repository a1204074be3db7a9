"""A table's stream: every change in order, with the item before and after; behind the client calls that read one."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.simulation.models.attributes import Item, to_wire

SHARD = "shard-0"


class Image(Mapping[str, Any]):
    """An item in attribute form, each attribute put into it when it is looked at: most are not."""

    def __init__(self, item: Item) -> None:
        self._item = item

    def __getitem__(self, name: str) -> dict[str, Any]:
        return to_wire(self._item[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._item)

    def __len__(self) -> int:
        return len(self._item)


@dataclass(frozen=True, slots=True)
class Change:
    """One write that changed an item."""

    sequence: int
    at: float
    key: Item
    #: None where there was none, or is none any more.
    old: Item | None
    new: Item | None

    def record(self) -> dict[str, Any]:
        """As a stream has it."""
        name = "INSERT" if self.old is None else "REMOVE" if self.new is None else "MODIFY"
        images = {"OldImage": self.old, "NewImage": self.new}
        return {
            "eventID": str(self.sequence),
            "eventName": name,
            "eventSource": "aws:dynamodb",
            "dynamodb": {
                "ApproximateCreationDateTime": datetime.fromtimestamp(self.at, UTC),
                "Keys": Image(self.key),
                "SequenceNumber": f"{self.sequence:021}",
                "StreamViewType": "NEW_AND_OLD_IMAGES",
                **{name: Image(image) for name, image in images.items() if image is not None},
            },
        }


@dataclass
class Stream:
    """One shard with one reader: what is read is gone."""

    #: Called when there is something to read.
    on_change: Callable[[], None] | None = None
    _changes: deque[Change] = field(default_factory=deque)
    _count: int = 0

    def append(self, at: float, key: Item, old: Item | None, new: Item | None) -> None:
        self._count += 1
        self._changes.append(Change(self._count, at, key, old, new))
        if self.on_change is not None:
            self.on_change()

    def take(self) -> list[Change]:
        """What has changed since the last time."""
        taken = list(self._changes)
        self._changes.clear()
        return taken

    # --- as a client of DynamoDB Streams ---

    def describe_stream(self, *, StreamArn: str) -> dict[str, Any]:  # noqa: N803
        return {"StreamDescription": {"StreamArn": StreamArn, "Shards": [{"ShardId": SHARD}]}}

    def get_shard_iterator(self, *, StreamArn: str, ShardId: str, ShardIteratorType: str) -> dict[str, Any]:  # noqa: N803
        del StreamArn, ShardIteratorType
        return {"ShardIterator": ShardId}

    def get_records(self, *, ShardIterator: str) -> dict[str, Any]:  # noqa: N803
        return {"Records": [change.record() for change in self.take()], "NextShardIterator": ShardIterator}
