"""The progress of a run, read from its chunks; there is no separate counter."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from rollcall.adapters.ledger.records import Ledger, NodeRecord
from rollcall.core.outcome import Outcome
from rollcall.core.rate import moment
from rollcall.core.run import OPEN, RunRecord, RunState
from rollcall.core.tree import Node
from rollcall.core.values import batched

#: Nodes held in memory at once while a run is counted.
NODES_AT_ONCE = 200


def unfinished(ledger: Ledger, run: RunRecord) -> Iterator[tuple[Node, NodeRecord]]:
    """Yield the root and, level by level, every node that its parent does not count as full.

    Nodes whose entries cannot have been sent are left out.
    """
    root = run.tree.root()
    level = [root] if root is not None and run.nonce is not None else []
    while level:
        below: list[Node] = []
        for some in batched(level, NODES_AT_ONCE):
            for node, record in ledger.nodes(run, some).items():
                yield node, record
                children = enumerate(run.tree.children(node))
                below += [child for position, child in children if position not in record.settled and _sent(run, child)]
        level = below


def _sent(run: RunRecord, node: Node) -> bool:
    """Return whether an entry below `node` may have been sent, or settled unsent."""
    if run.state is RunState.CANCELLING:
        return True
    first: int = node.number * run.chunk_size * run.fan_in**node.level
    return first < max(run.window_end, run.checkpoint)


@dataclass(frozen=True, slots=True)
class Held:
    """A number of entries that wait without using an attempt."""

    entries: int
    reason: str
    #: An estimate; None if there is none.
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers of entries of a run's current generation, counted from its chunks."""

    settled: int = 0
    held: int = 0
    #: Entries with an unanswered call that the target is to be asked about.
    asking: int = 0
    #: Unsettled entries whose messages the queue has accepted; a message may have been lost since.
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Settled and held entries of a run."""

    settled: int
    held: tuple[Held, ...] = ()


def progress(ledger: Ledger, run: RunRecord, target: str) -> Progress:
    """Count the settled entries of the current generation, and the held ones by reason."""
    found = tally(run, unfinished(ledger, run))
    waiting = [_held(ledger, run, target, found.held)] if found.held else []
    if found.asking:
        reason = f"{target} never answered their calls, and is to be asked about them"
        waiting.append(Held(found.asking, reason))
    if run.waits_for is not None and (awaited := ledger.run(run.waits_for)) is not None and not awaited.state.terminal:
        waiting.append(Held(1, _standing(ledger, awaited)))
    return Progress(found.settled, tuple(waiting))


def _standing(ledger: Ledger, run: RunRecord) -> str:
    """Describe the state of a run that a pipeline waits for."""
    if run.nonce is None:
        return f"waits for {run.id}, {run.state}"
    return f"waits for {run.id}, {run.state}, {settled(ledger, run):,} of {run.total:,} settled"


def tally(run: RunRecord, nodes: Iterable[tuple[Node, NodeRecord]]) -> Tally:
    """Add up the unfinished nodes of `run`."""
    tree, counts = run.tree, Counter[str]()
    for node, record in nodes:
        if node.level == 0:
            counts["settled"] += len(record.settled)
            counts["held"] += len(record.held - record.settled)
            counts["asking"] += len(record.asking - record.settled)
            counts["waiting"] += len(waiting(run, node, record))
        else:
            children = tree.children(node)
            counts["settled"] += sum(tree.entries_below(children[position]) for position in record.settled)
    return Tally(**counts)


def waiting(run: RunRecord, chunk: Node, record: NodeRecord) -> set[int]:
    """Return the unsettled positions of `chunk` whose messages the queue has accepted.

    If the run is being cancelled, positions that a worker has begun are included: dispatch has ended, and only a
    message of theirs settles them.
    """
    first = chunk.number * run.chunk_size
    found = set(range(min(run.tree.expected(chunk), max(0, run.checkpoint - first))))
    if run.state is RunState.CANCELLING:
        found |= record.begun
    return found - record.settled


def _held(ledger: Ledger, run: RunRecord, target: str, entries: int) -> Held:
    if ledger.job(run.job).paused_since is not None:
        return Held(entries, f"the job {run.job} is paused")
    record = ledger.target(target)
    if record.open_until is not None:
        return Held(entries, f"{target} is left alone after failures in a row: {record.reason}", record.open_until)
    if record.held_until is None:
        return Held(entries, f"{target} was left alone, and they come back in turn")
    return Held(entries, f"the rate of {target}", moment(record.held_until))


def settled(ledger: Ledger, run: RunRecord) -> int:
    """Count the entries of the current generation that have an outcome."""
    return tally(run, unfinished(ledger, run)).settled


def unsettled(ledger: Ledger, run: RunRecord) -> int:
    """Count the entries that are, or may be, on the queue."""
    if run.state not in OPEN and run.state is not RunState.CANCELLING:
        return 0
    done = settled(ledger, run)
    # A run that is being cancelled also settles unsent entries.
    return max(0, min(max(run.checkpoint, run.window_end) - (done if run.state in OPEN else 0), run.total - done))


def chunks(ledger: Ledger, run: RunRecord) -> Iterator[tuple[Node, NodeRecord]]:
    """Yield all chunks of the current generation, in order."""
    for some in batched((Node(0, number) for number in range(run.tree.chunks)), NODES_AT_ONCE):
        yield from ledger.nodes(run, some).items()


def outcomes(ledger: Ledger, run: RunRecord) -> Mapping[Outcome, int]:
    """Count the entries by outcome."""
    counts: Counter[Outcome] = Counter(dict.fromkeys(Outcome, 0))
    for _, chunk in chunks(ledger, run) if run.nonce is not None else ():
        counts.update({outcome: chunk.count(outcome) for outcome in Outcome})
    return counts
