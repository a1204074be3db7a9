"""The entries of one batch on their way through a worker, and how they belong together."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from rollcall.adapters.entries import EntryName
from rollcall.adapters.ledger import NodeRecord
from rollcall.core.answers import Answer
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord
from rollcall.core.tree import Node
from rollcall.engine.deliveries import Delivery


@dataclass(slots=True)
class Work:
    """A delivery on its way through a batch."""

    delivery: Delivery
    #: Attempts that are used up.
    attempts: int = 0
    #: Whether a call may have been made whose answer nobody has.
    unanswered: bool = False
    #: Whether it is among its chunk's begun.
    begun: bool = False
    #: Whether an earlier call seems to have taken a worker down.
    suspect: bool = False
    #: What its call ended with.
    answer: Answer | None = None
    #: The final word, where there is one.
    outcome: Outcome | None = None
    #: How long it stays on the queue, where it is returned.
    wait: timedelta | None = None
    #: Whether it is returned without a call.
    uncalled: bool = False

    @property
    def position(self) -> int:
        return self.delivery.position

    @property
    def name(self) -> EntryName:
        return EntryName(self.delivery.message.key, self.delivery.message.index)

    @property
    def known(self) -> bool:
        """Whether nothing can have happened to it that was not read from its chunk."""
        return self.begun or not self.delivery.again

    def put_back(self, wait: timedelta) -> None:
        """Return it without a call."""
        self.wait, self.uncalled, self.outcome = wait, True, None

    def remember(self, chunk: NodeRecord) -> None:
        """Take over what the chunk knew of the entry before it was begun."""
        self.begun = True
        self.attempts = chunk.attempts.get(self.position, 0)
        self.suspect = self.position in chunk.begun
        accounted_for = self.attempts > 0 or self.position in chunk.held
        self.unanswered = self.position in chunk.unanswered or self.suspect or not accounted_for


def apart(works: list[Work]) -> tuple[list[Work], list[tuple[Delivery, Work]]]:
    """A batch without second messages of the same entry, and each of these with the one that speaks for it.

    A take-over may send an entry again while its first message still waits in the same group.
    """
    first: dict[tuple[str, int], Work] = {}
    copies: list[tuple[Delivery, Work]] = []
    for work in works:
        delivery = work.delivery
        speaker = first.setdefault((delivery.run.id, delivery.message.index), work)
        if speaker is not work:
            copies.append((delivery, speaker))
    return list(first.values()), copies


def by_group(works: Iterable[Work]) -> list[list[Work]]:
    """Works by their message group, each group in its order."""
    groups: dict[str, list[Work]] = defaultdict(list)
    for work in works:
        groups[work.delivery.message.group].append(work)
    return list(groups.values())


def by_chunk(works: Iterable[Work]) -> list[tuple[RunRecord, Node, list[Work]]]:
    """Works by the chunk whose item they are settled in."""
    found: dict[tuple[str, Node], list[Work]] = defaultdict(list)
    for work in works:
        found[work.delivery.run.id, work.delivery.chunk].append(work)
    return [(some[0].delivery.run, chunk, some) for (_, chunk), some in found.items()]
