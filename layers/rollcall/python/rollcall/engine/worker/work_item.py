"""The entries of one message batch on their way through a worker, and their groups."""

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
    """The state of a delivery while its worker handles it."""

    delivery: Delivery
    #: Attempts used in this generation.
    attempts: int = 0
    #: True if a call without a known answer may have been made.
    unanswered: bool = False
    #: True if an attempt may have had an effect that its answer does not settle.
    indefinite: bool = False
    #: True if its chunk records it as begun.
    begun: bool = False
    #: True if an earlier call seems to have killed a worker.
    suspect: bool = False
    #: True if the entry is settled already.
    settled: bool = False
    #: The time at which `settled` was read; None if no other worker can have a message of the entry.
    read_at: datetime | None = None
    #: True if the target is to be asked about an earlier call instead of called.
    must_ask: bool = False
    #: The entry's record; empty if it was not read.
    record: EntryRecord = field(default_factory=EntryRecord)
    #: The time at which its call may begin; None without a reservation.
    slot: datetime | None = None
    #: The time at which its last call began.
    began: datetime | None = None
    #: The end of its invocation, by which the last call has ended in any case.
    call_until: datetime = FOREVER
    #: The answer to its last call or question.
    answer: Answer | None = None
    #: The outcome that is to be settled; None if there is none yet.
    outcome: Outcome | None = None
    #: True if the entry's record holds the outcome already.
    told: bool = False
    #: The wait until its message is delivered again; None if it is not returned to the queue.
    wait: timedelta | None = None
    #: True if it is returned without a call.
    uncalled: bool = False
    #: True if it is returned to be asked about later.
    asking: bool = False

    @property
    def position(self) -> int:
        return self.delivery.position

    @property
    def name(self) -> EntryName:
        return EntryName(self.delivery.message.key, self.delivery.message.index)

    @property
    def decided(self) -> bool:
        """True if this worker is done with the entry, apart from settling it."""
        return self.settled or self.outcome is not None or self.wait is not None

    @property
    def known(self) -> bool:
        """True if its chunk was read, or no earlier delivery exists."""
        return self.begun or not self.delivery.again

    @property
    def unanswered_since(self) -> datetime | None:
        """The earliest possible time of a call without a known answer; None if there was none."""
        since = self.delivery.message.unanswered_since
        if since is not None:
            return from_iso(since)
        return self.record.first_call or self.delivery.first_received if self.unanswered else None

    @property
    def called_since(self) -> datetime | None:
        """The earliest possible time of a call with its key, over all generations."""
        message = self.delivery.message
        earlier = [from_iso(since) for since in (message.called_since, message.unanswered_since) if since is not None]
        if earlier:
            return min(earlier)
        return self.record.first_call or self.delivery.first_received if self.attempts or self.unanswered else None

    def put_back(self, wait: timedelta) -> None:
        """Return the entry to the queue without a call."""
        self.wait, self.uncalled, self.outcome = wait, True, None

    def give_up(self) -> None:
        """Leave the entry to the worker that has claimed it since its call."""
        self.wait, self.outcome = AT_ONCE, None

    def ask_later(self, wait: timedelta) -> None:
        """Return the entry to the queue; the target is asked about it after `wait`."""
        self.wait, self.asking, self.outcome = wait, True, None

    def forgive(self, answer: Answer, wait: timedelta) -> None:
        """Return the entry as if it had not been called, after a failed trial call.

        The entry stays as it is if the target was asked about it, or if its claim alone records a call that may have
        had an effect.
        """
        if self.must_ask or self.told or not (self.record.owner is None or answer.never_executed):
            return
        self.wait, self.outcome, self.asking = wait, None, False
        self.attempts = max(0, self.attempts - 1)
        self.uncalled = not self.unanswered

    def told_of(self, answer: Answer) -> Told:
        """Return the detail to record if the entry ends with `answer`."""
        return Told(answer, self.attempts, self.unanswered_since, self.called_since, definite=not self.indefinite)

    def end(self, outcome: Outcome, answer: Answer) -> None:
        self.outcome, self.answer = outcome, answer

    def remember(self, chunk: NodeRecord) -> None:
        """Copy the entry's state from the chunk, as it was before the entry was begun."""
        self.begun = True
        self.attempts = chunk.attempts.get(self.position, 0)
        self.suspect = self.position in chunk.begun
        accounted_for = self.attempts > 0 or self.position in chunk.held | chunk.asking
        self.unanswered = self.position in chunk.unanswered or self.suspect or not accounted_for
        self.indefinite = self.position in chunk.indefinite or self.unanswered


def apart(works: list[Work]) -> tuple[list[Work], list[tuple[Delivery, Work]]]:
    """Separate the first work of each entry from copies, each paired with its first work.

    After a take-over, a resent message may wait in the same group as the first one.
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
    """Group works by message group, in their order."""
    groups: dict[str, list[Work]] = defaultdict(list)
    for work in works:
        groups[work.delivery.group].append(work)
    return list(groups.values())


def by_chunk(works: Iterable[Work]) -> list[tuple[RunRecord, Node, list[Work]]]:
    """Group works by the chunk that they are settled in."""
    found: dict[tuple[str, Node], list[Work]] = defaultdict(list)
    for work in works:
        found[work.delivery.run.id, work.delivery.chunk].append(work)
    return [(some[0].delivery.run, chunk, some) for (_, chunk), some in found.items()]
