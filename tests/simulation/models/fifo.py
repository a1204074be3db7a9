"""A FIFO queue's messages: order and lock of groups, visibility, receipts, retention. Every step is O(log n).

Words and rules: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html
"""

import heapq
import random
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Available groups are looked for in so many messages from the front only
#: (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/avoid-backlog-with-the-same-message-group-id.html).
LOOKED_AT = 120_000
#: At most so many messages are in flight; there is no error then, only nothing.
MOST_IN_FLIGHT = 120_000


@dataclass(slots=True, eq=False)
class Message:
    """A message on a queue."""

    id: str
    body: str
    group: str
    deduplication: str
    attributes: Mapping[str, Any]
    sent_at: float
    #: Its place in the queue.
    sequence: int = 0
    receives: int = 0
    first_received_at: float = 0.0
    received_at: float = 0.0
    #: In flight until then; None while it waits.
    invisible_until: float | None = None
    #: Whether it is among the first `LOOKED_AT`.
    looked_at: bool = False
    gone: bool = False
    #: The queue that it was a dead letter of.
    source: str | None = None

    @property
    def receipt(self) -> str:
        """The handle of the latest receive; every earlier one is stale."""
        return f"{self.id}/{self.sequence}/{self.receives}"


@dataclass(slots=True, eq=False)
class _Group:
    messages: deque[Message] = field(default_factory=deque)
    in_flight: int = 0


class Fifo:
    """The messages of one queue, in their order."""

    def __init__(self, retention: float, *, scatter: int = 0, seed: int = 0) -> None:
        self._retention = retention
        #: How many places apart groups may change order between sending and receiving; a busy queue's partitions do.
        self._scatter = scatter
        self._random = random.Random(seed)  # noqa: S311
        self._by_id: dict[str, Message] = {}
        self._groups: dict[str, _Group] = {}
        #: Groups that may be received from, by place of their first message; outdated entries are skipped.
        self._ready: list[tuple[float, int, str]] = []
        #: Ends of visibility; outdated entries are skipped.
        self._ends: list[tuple[float, int, Message]] = []
        #: All messages by age, and those beyond the first `LOOKED_AT`; gone ones are skipped.
        self._by_age: deque[Message] = deque()
        self._beyond: deque[Message] = deque()
        self._looked_at = 0
        self._sequence = 0
        self._entries = 0
        self.in_flight = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._by_id.values())

    def find(self, name: str) -> Message | None:
        return self._by_id.get(name)

    def all(self) -> list[Message]:
        """In the order in which they came, those in flight among them."""
        return list(self._by_id.values())

    # --- steps ---

    def append(self, message: Message) -> None:
        self._sequence += 1
        message.sequence = self._sequence
        self._by_id[message.id] = message
        self._by_age.append(message)
        group = self._groups.get(message.group)
        if group is None:
            group = self._groups[message.group] = _Group()
        group.messages.append(message)
        if self._looked_at < LOOKED_AT:
            self._look_at(message)
        else:
            self._beyond.append(message)

    def receive(self, now: float, most: int, visibility: float) -> Iterator[Message]:
        """Take messages in flight, one by one: whole groups, the one whose first message is the oldest first.

        The caller may remove a message instead of handing it out.
        """
        self.advance(now)
        left = most
        while left > 0 and self.in_flight < MOST_IN_FLIGHT and (found := self._next_group()) is not None:
            heapq.heappop(self._ready)
            for message in [message for message, _ in zip(found.messages, range(left), strict=False)]:
                if not message.looked_at or self.in_flight >= MOST_IN_FLIGHT:
                    break
                self._take(found, message, now, visibility)
                yield message
                left -= not message.gone
            self._offer(found)

    def _take(self, group: _Group, message: Message, now: float, visibility: float) -> None:
        message.receives += 1
        message.received_at = now
        message.first_received_at = message.first_received_at or now
        message.invisible_until = now + visibility
        group.in_flight += 1
        self.in_flight += 1
        self._push_end(message)

    def change_visibility(self, message: Message, until: float, now: float) -> None:
        """Of a message in flight: back on the queue at `until`."""
        message.invisible_until = until
        self._push_end(message)
        self.advance(now)

    def remove(self, message: Message) -> None:
        group = self._groups[message.group]
        message.gone = True
        del self._by_id[message.id]
        if message.invisible_until is not None:
            self._land(group, message)
        if group.messages[0] is message:
            group.messages.popleft()
        else:
            group.messages.remove(message)
        if not group.messages:
            del self._groups[message.group]
        if message.looked_at:
            self._looked_at -= 1
            self._look_further()
        self._offer(group)

    def advance(self, now: float) -> None:
        """Bring back what is no longer invisible, and drop what is too old."""
        while self._ends and self._ends[0][0] <= now:
            until, _, message = heapq.heappop(self._ends)
            if not message.gone and message.invisible_until == until:
                group = self._groups[message.group]
                self._land(group, message)
                self._offer(group)
        while self._by_age and (self._by_age[0].gone or self._by_age[0].sent_at + self._retention <= now):
            message = self._by_age.popleft()
            if not message.gone:
                self.remove(message)

    def next_visible(self, now: float) -> float | None:
        """When there may be something to receive; None if only a send can change that."""
        self.advance(now)
        if self.in_flight < MOST_IN_FLIGHT and self._next_group() is not None:
            return now
        while self._ends:
            until, _, message = self._ends[0]
            if not message.gone and message.invisible_until == until:
                return until
            heapq.heappop(self._ends)
        return None

    # --- what they share ---

    def _land(self, group: _Group, message: Message) -> None:
        message.invisible_until = None
        group.in_flight -= 1
        self.in_flight -= 1

    def _offer(self, group: _Group) -> None:
        """List the group as one to receive from, if it is."""
        if group.messages and not group.in_flight and group.messages[0].looked_at:
            first = group.messages[0]
            place = first.sequence + (self._random.uniform(0, self._scatter) if self._scatter else 0)
            heapq.heappush(self._ready, (place, first.sequence, first.group))

    def _next_group(self) -> _Group | None:
        while self._ready:
            _, sequence, name = self._ready[0]
            group = self._groups.get(name)
            if group is not None and not group.in_flight and group.messages[0].sequence == sequence:
                return group
            heapq.heappop(self._ready)
        return None

    def _look_at(self, message: Message) -> None:
        message.looked_at = True
        self._looked_at += 1
        group = self._groups[message.group]
        if group.messages[0] is message:
            self._offer(group)

    def _look_further(self) -> None:
        while self._beyond and self._looked_at < LOOKED_AT:
            message = self._beyond.popleft()
            if not message.gone:
                self._look_at(message)

    def _push_end(self, message: Message) -> None:
        self._entries += 1
        assert message.invisible_until is not None
        heapq.heappush(self._ends, (message.invisible_until, self._entries, message))
