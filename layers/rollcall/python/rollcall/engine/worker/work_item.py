"""The entries of one batch on their way through a worker, and how they belong together."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rollcall.adapters.ledger.entries import EntryName, EntryRecord, Told
from rollcall.adapters.ledger.records import NodeRecord
from rollcall.core.answers import Answer
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord, from_iso
from rollcall.core.tree import Node
from rollcall.engine.worker.messages import Delivery

AT_ONCE = timedelta(0)
FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Work:
    """A delivery on its way through a batch."""

    delivery: Delivery
    #: Attempts that are used up.
    attempts: int = 0
    #: Whether a call may have been made whose answer nobody has.
    unanswered: bool = False
    #: Whether an attempt's answer, if any, leaves open whether the target did anything.
    indefinite: bool = False
    #: Whether it is among its chunk's begun.
    begun: bool = False
    #: Whether an earlier call seems to have taken a worker down.
    suspect: bool = False
    #: Whether it is settled already.
    settled: bool = False
    #: When that was read; None where nobody else can have a message of it.
    read_at: datetime | None = None
    #: Whether the target is to be asked about an earlier call, instead of called.
    must_ask: bool = False
    #: What its record says, where that was read.
    record: EntryRecord = field(default_factory=EntryRecord)
    #: When its call may begin, where the target is rated.
    slot: datetime | None = None
    #: When its last call began, and when that is over, come what may: its invocation's end.
    began: datetime | None = None
    call_until: datetime = FOREVER
    #: What its call ended with.
    answer: Answer | None = None
    #: The final word, where there is one.
    outcome: Outcome | None = None
    #: Whether its record says so already.
    told: bool = False
    #: How long it stays on the queue, where it is returned.
    wait: timedelta | None = None
    #: Whether it is returned without a call.
    uncalled: bool = False
    #: Whether it is returned to be asked about later.
    asking: bool = False

    @property
    def position(self) -> int:
        return self.delivery.position

    @property
    def name(self) -> EntryName:
        return EntryName(self.delivery.message.key, self.delivery.message.index)

    @property
    def decided(self) -> bool:
        """Whether nothing more is done for it in this batch."""
        return self.settled or self.outcome is not None or self.wait is not None

    @property
    def known(self) -> bool:
        """Whether nothing can have happened to it that was not read from its chunk."""
        return self.begun or not self.delivery.again

    @property
    def unanswered_since(self) -> datetime | None:
        """The earliest that a call can have been made whose answer nobody has."""
        since = self.delivery.message.unanswered_since
        if since is not None:
            return from_iso(since)
        return self.record.first_call or self.delivery.first_received if self.unanswered else None

    @property
    def called_since(self) -> datetime | None:
        """The earliest that a call can have been made with its key, over all generations."""
        message = self.delivery.message
        earlier = [from_iso(since) for since in (message.called_since, message.unanswered_since) if since is not None]
        if earlier:
            return min(earlier)
        return self.record.first_call or self.delivery.first_received if self.attempts or self.unanswered else None

    def put_back(self, wait: timedelta) -> None:
        """Return it without a call."""
        self.wait, self.uncalled, self.outcome = wait, True, None

    def give_up(self) -> None:
        """Leave it to whoever has taken it over since its call."""
        self.wait, self.outcome = AT_ONCE, None

    def ask_later(self, wait: timedelta) -> None:
        """Return it, to be asked about then."""
        self.wait, self.asking, self.outcome = wait, True, None

    def forgive(self, answer: Answer, wait: timedelta) -> None:
        """Return it as if it had not been called: it only showed that its target is down.

        Not where it was asked about, or where a call may have had an effect that only a claim remembers.
        """
        if self.must_ask or self.told or not (self.record.owner is None or answer.never_executed):
            return
        self.wait, self.outcome, self.asking = wait, None, False
        self.attempts = max(0, self.attempts - 1)
        self.uncalled = not self.unanswered

    def told_of(self, answer: Answer) -> Told:
        """What its record is to say, where it ends with `answer`."""
        return Told(answer, self.attempts, self.unanswered_since, self.called_since, definite=not self.indefinite)

    def end(self, outcome: Outcome, answer: Answer) -> None:
        self.outcome, self.answer = outcome, answer

    def remember(self, chunk: NodeRecord) -> None:
        """Take over what the chunk knew of the entry before it was begun."""
        self.begun = True
        self.attempts = chunk.attempts.get(self.position, 0)
        self.suspect = self.position in chunk.begun
        accounted_for = self.attempts > 0 or self.position in chunk.held | chunk.asking
        self.unanswered = self.position in chunk.unanswered or self.suspect or not accounted_for
        self.indefinite = self.position in chunk.indefinite or self.unanswered


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
        groups[work.delivery.group].append(work)
    return list(groups.values())


def by_chunk(works: Iterable[Work]) -> list[tuple[RunRecord, Node, list[Work]]]:
    """Works by the chunk whose item they are settled in."""
    found: dict[tuple[str, Node], list[Work]] = defaultdict(list)
    for work in works:
        found[work.delivery.run.id, work.delivery.chunk].append(work)
    return [(some[0].delivery.run, chunk, some) for (_, chunk), some in found.items()]
