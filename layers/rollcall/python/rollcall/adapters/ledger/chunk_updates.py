"""Counting: one set write per batch and chunk, and the climb from a full chunk to the root."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rollcall.adapters.ledger import runs
from rollcall.adapters.ledger.records import Ledger, NodeRecord, expiry, node_key, tried
from rollcall.adapters.ledger.update import ConditionFailed, Update
from rollcall.core.actions import Action, log
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord
from rollcall.core.tree import Node
from rollcall.core.values import batched

#: Exceptional outcomes in one write: DynamoDB allows 300 operators and 4 KB in an expression
#: (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
MOST_CONDITIONS = 50


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch has to say about one chunk, by position."""

    outcomes: Mapping[int, Outcome] = field(default_factory=dict)
    #: Attempts used up by positions that go back for another.
    attempts: Mapping[int, int] = field(default_factory=dict)
    #: Positions that go back and may have had an attempt that was never answered.
    unanswered: Collection[int] = ()
    #: Positions that go back, of which no answer says whether the target did anything.
    indefinite: Collection[int] = ()
    #: Positions that go back until the target may be asked about their call.
    asking: Collection[int] = ()
    #: Positions that go back without a call.
    held: Collection[int] = ()
    #: Positions that had been noted as begun and no longer are.
    ended: Collection[int] = ()
    #: Positions whose outcome holds only where nobody has begun them, or had no answer, since they were read.
    at_rest: Collection[int] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        said = (self.outcomes, self.attempts, self.unanswered, self.indefinite, self.asking, self.held, self.ended)
        return any(map(bool, said))


def settle(ledger: Ledger, run: RunRecord, chunk: Node, batch: Batch, now: datetime) -> Mapping[int, Outcome]:
    """Write what a batch says about `chunk`, in one write as a rule, and count the chunk if that filled it.

    Returns the positions that somebody settled otherwise before, with the outcome that stands: the first one. Raises
    ConditionFailed where one of `at_rest` is not.
    """
    pending = {position: outcome for position, outcome in batch.outcomes.items() if outcome is not Outcome.SUCCEEDED}
    succeeded = batch.outcomes.keys() - pending.keys()
    superseded: dict[int, Outcome] = {}
    while True:
        some = dict(list(pending.items())[:MOST_CONDITIONS])
        try:
            record = _write(ledger, run, chunk, batch, succeeded, some)
        except ConditionFailed as failure:
            record = NodeRecord.of(failure.old)
            if not (record.begun | record.unanswered).isdisjoint(batch.at_rest):
                raise
            stands = {position: found for position in some if (found := record.outcome(position)) is not None}
            superseded.update((position, found) for position, found in stands.items() if found is not some[position])
            pending = {position: outcome for position, outcome in pending.items() if position not in stands}
            continue
        superseded.update(_exceptional(record, succeeded))
        pending = {position: outcome for position, outcome in pending.items() if position not in some}
        if not pending:
            break
    count(ledger, run, chunk, record, now)
    return superseded


def _exceptional(record: NodeRecord, positions: Iterable[int]) -> Iterator[tuple[int, Outcome]]:
    for position in positions:
        outcome = record.outcome(position)
        if outcome is not None and outcome is not Outcome.SUCCEEDED:
            yield position, outcome


def _write(
    ledger: Ledger,
    run: RunRecord,
    chunk: Node,
    batch: Batch,
    succeeded: Iterable[int],
    exceptional: Mapping[int, Outcome],
) -> NodeRecord:
    update = Update().set(expires_at=expiry(run)).add("settled", [*succeeded, *exceptional])
    update.add("held", batch.held).add("asking", batch.asking).discard("begun", batch.ended)
    update.add("unanswered", batch.unanswered).add("indefinite", batch.indefinite)
    _move_on(update, batch.attempts)
    for outcome in sorted(set(exceptional.values())):
        update.add(outcome.value, [position for position, found in exceptional.items() if found is outcome])
    for position in exceptional:
        update.when(f"NOT contains({update.name('settled')}, {update.value(position)})")
    for position in batch.at_rest:
        update.when(f"NOT contains({update.name('begun')}, {update.value(position)})")
        update.when(f"NOT contains({update.name('unanswered')}, {update.value(position)})")
    return NodeRecord.of(update.send(ledger.client, ledger.table, node_key(run.id, run.generation, chunk)))


def _move_on(update: Update, attempts: Mapping[int, int]) -> None:
    """Move positions to the set of their attempt. One that stays in a lower set as well counts by the higher:
    an update cannot both add to a set and take from it.
    """
    numbers = set(attempts.values())
    for number in sorted(numbers):
        positions = [position for position, attempt in attempts.items() if attempt == number]
        update.add(tried(number), positions)
        if number - 1 not in numbers | {0}:
            update.discard(tried(number - 1), positions)


def cancel(
    ledger: Ledger, run: RunRecord, chunk: Node, positions: Sequence[int], now: datetime, *, held: bool = False
) -> None:
    """Settle positions of `chunk` as cancelled, unless they are settled or, where `held`, held no more."""
    for some in batched(positions, MOST_CONDITIONS):
        update = Update().set(expires_at=expiry(run)).add("settled", some).add(Outcome.CANCELLED.value, some)
        for position in some:
            update.when(f"NOT contains({update.name('settled')}, {update.value(position)})")
            if held:
                update.when(f"contains({update.name('held')}, {update.value(position)})")
        try:
            item = update.send(ledger.client, ledger.table, node_key(run.id, run.generation, chunk))
        except ConditionFailed:
            continue  # somebody is at it; the next round sees what is left
        count(ledger, run, chunk, NodeRecord.of(item), now)


def count(ledger: Ledger, run: RunRecord, node: Node, record: NodeRecord, now: datetime) -> None:
    """If `node` is full, add it to its parent, and so on up; a full root completes the run."""
    tree = run.tree
    while record.full(tree.expected(node)):
        if tree.is_root(node):
            if runs.complete(ledger, run, now):
                log(Action.RUN_COMPLETE, run=run.id, job=run.job, generation=run.generation, total=run.total)
            return
        node, position = tree.parent(node)
        update = Update().set(expires_at=expiry(run)).add("settled", [position])
        record = NodeRecord.of(update.send(ledger.client, ledger.table, node_key(run.id, run.generation, node)))


def begin(ledger: Ledger, run: RunRecord, chunk: Node, positions: Collection[int]) -> NodeRecord:
    """Note that redelivered positions are about to be called; returns the chunk as it was before."""
    update = Update().set(expires_at=expiry(run)).add("begun", positions)
    update.discard("held", positions).discard("asking", positions)
    key = node_key(run.id, run.generation, chunk)
    return NodeRecord.of(update.send(ledger.client, ledger.table, key, "ALL_OLD"))


def note_attempt(ledger: Ledger, run: RunRecord, chunk: Node, position: int, attempt: int) -> None:
    """Use up an attempt before it is made, as one that is never answered."""
    update = Update().set(expires_at=expiry(run)).add(tried(attempt), [position])
    update.add("unanswered", [position]).add("indefinite", [position])
    update.send(ledger.client, ledger.table, node_key(run.id, run.generation, chunk))
