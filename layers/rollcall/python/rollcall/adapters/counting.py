"""Counting: one set write per batch and chunk, and the climb from a full chunk to the root."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from rollcall.adapters import runs
from rollcall.adapters.ledger import Ledger, NodeRecord, expiry, node_key
from rollcall.adapters.update import ConditionFailed, Update
from rollcall.core.actions import Action, log
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord
from rollcall.core.tree import Node

#: Exceptional outcomes in one write: DynamoDB allows 300 operators and 4 KB in an expression
#: (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
MOST_CONDITIONS = 50


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of a settling write."""

    #: The chunk as it then is.
    chunk: NodeRecord
    #: Positions that somebody settled otherwise before: the first outcome stands.
    superseded: Mapping[int, Outcome]


def settle(
    ledger: Ledger,
    run: RunRecord,
    chunk: Node,
    outcomes: Mapping[int, Outcome],
    now: datetime,
    *,
    returned: Collection[int] = (),
) -> Settlement:
    """Write the outcomes of positions of `chunk`, and count it if that filled it.

    `returned` are positions that go back to the queue: they are no longer begun.
    """
    pending = {position: outcome for position, outcome in outcomes.items() if outcome is not Outcome.SUCCEEDED}
    succeeded = outcomes.keys() - pending.keys()
    leaving = {*outcomes, *returned}
    superseded: dict[int, Outcome] = {}
    while True:
        some = dict(list(pending.items())[:MOST_CONDITIONS])
        try:
            record = _write(ledger, run, chunk, succeeded, some, leaving)
        except ConditionFailed as failure:
            record = NodeRecord.of(failure.old)
            stands = {position: found for position in some if (found := record.outcome(position)) is not None}
            superseded.update((position, found) for position, found in stands.items() if found is not some[position])
            pending = {position: outcome for position, outcome in pending.items() if position not in stands}
            if not pending and not succeeded and not returned:
                break
            continue
        pending = {position: outcome for position, outcome in pending.items() if position not in some}
        superseded.update(_exceptional(record, succeeded))
        if not pending:
            break
    count(ledger, run, chunk, record, now)
    return Settlement(record, superseded)


def _exceptional(record: NodeRecord, positions: Iterable[int]) -> Iterator[tuple[int, Outcome]]:
    for position in positions:
        outcome = record.outcome(position)
        if outcome is not None and outcome is not Outcome.SUCCEEDED:
            yield position, outcome


def _write(
    ledger: Ledger,
    run: RunRecord,
    chunk: Node,
    succeeded: Iterable[int],
    exceptional: Mapping[int, Outcome],
    leaving: Collection[int],
) -> NodeRecord:
    update = Update().set(expires_at=expiry(run)).add("settled", [*succeeded, *exceptional])
    update.discard("begun", leaving).discard("held", leaving)
    for outcome in sorted(set(exceptional.values())):
        update.add(outcome.value, [position for position, found in exceptional.items() if found is outcome])
    settled = update.name("settled")
    for position in exceptional:
        update.when(f"NOT contains({settled}, {update.value(position)})")
    return NodeRecord.of(update.send(ledger.client, ledger.table, node_key(run.id, run.generation, chunk)))


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
    """Note that redelivered positions are about to be called."""
    update = Update().set(expires_at=expiry(run)).add("begun", positions).discard("held", positions)
    return NodeRecord.of(update.send(ledger.client, ledger.table, node_key(run.id, run.generation, chunk)))


def hold(ledger: Ledger, run: RunRecord, chunk: Node, positions: Collection[int]) -> None:
    """Note that positions go back to the queue without having been called."""
    update = Update().set(expires_at=expiry(run)).add("held", positions).discard("begun", positions)
    update.send(ledger.client, ledger.table, node_key(run.id, run.generation, chunk))
