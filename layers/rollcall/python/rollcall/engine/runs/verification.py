"""Verification of the ledger against the sealed manifest of a run's latest generation.

It reports unsettled entries and inconsistencies, chunk by chunk, in memory that does not grow with the run. A run in
progress may look inconsistent while a node is being counted.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from botocore.exceptions import ClientError

from rollcall.adapters.ledger import chunk_updates
from rollcall.adapters.ledger.records import Ledger, NodeRecord, entry_key
from rollcall.adapters.manifests import Manifests
from rollcall.core.actions import Action, log
from rollcall.core.entry import ManifestEntry, entry_id
from rollcall.core.outcome import EXCEPTIONAL, Outcome
from rollcall.core.run import RunRecord, RunState
from rollcall.core.tree import Node, Tree
from rollcall.core.values import counted
from rollcall.engine.runs.progress import chunks, unfinished

#: Error codes of S3 for an object that does not exist.
ABSENT = frozenset({"NoSuchKey", "404"})
#: Outcomes whose detail is written first; an entry that no worker received is cancelled without detail.
DETAILED = tuple(outcome for outcome in EXCEPTIONAL if outcome is not Outcome.CANCELLED)
#: Positions that one inconsistency names, to keep its line readable.
MOST_NAMED = 10


class Known(StrEnum):
    """The state of an unsettled entry in the ledger."""

    NEVER_SENT = "never sent"
    #: Dispatch ended before the queue's answer was recorded.
    IN_DOUBT = "perhaps sent"
    HELD = "held"
    ASKING = "to be asked about"
    #: Recorded before a call; the worker that made it may have died.
    BEGUN = "in a call"
    #: It waits for another attempt, or its message is lost.
    TRIED = "attempts used up"
    #: On the queue, or in a batch that the execution has not reached.
    WAITING = "waiting, or lost on its way"


class Wrong(StrEnum):
    """The kind of an inconsistency."""

    OUTSIDE = "positions outside of a node"
    OVERLAP = "two outcomes for an entry"
    NOT_SETTLED = "an outcome, and not settled"
    UNKNOWN_TO_PARENT = "full, and its parent does not know"
    NOT_FULL = "its parent counts it, and it is not full"
    ENDED = "ended, and not every entry is settled"
    OPEN = "every entry is settled, and it has not ended"
    NO_CHUNK = "a chunk of the manifest is missing"
    LINES = "a chunk of the manifest has other lines than it should"
    NO_DETAIL = "an outcome without its detail"


@dataclass(frozen=True, slots=True)
class Missing:
    """An entry without an outcome."""

    index: int
    #: None if the source gave none, or the line of the manifest is missing.
    key: str | None
    known: Known
    #: Attempts used.
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """A contradiction in the records of a run."""

    wrong: Wrong
    #: `chunk 3`, `node 0 of level 1`, `run`.
    place: str
    said: str


Finding: TypeAlias = Missing | Inconsistency


def without_manifest(run: RunRecord) -> str | None:
    """Return why a run cannot be verified; None if it has a manifest."""
    if run.nonce is not None:
        return None
    reason = f" ({run.reason})" if run.reason else ""
    if run.state.terminal:
        return f"it is {run.state} and has no manifest: nobody was called{reason}"
    return f"it is {run.state} and has no manifest yet: nobody was called in generation {run.generation}"


def verify(ledger: Ledger, manifests: Manifests, run: RunRecord) -> Iterator[Finding]:
    """Yield the findings of a run's latest generation, in the order of its manifest.

    An entry that no `Missing` names is settled. Raises RollcallError if the run has no manifest.
    """
    run.sealed_nonce  # noqa: B018 - raises if there is none
    climb = _Climb(ledger, run)
    unsettled = 0
    for chunk, record in chunks(ledger, run):
        for finding in _of_chunk(ledger, manifests, run, chunk, record):
            unsettled += isinstance(finding, Missing)
            yield finding
        yield from climb.after(chunk, record)
    if unsettled and run.state in {RunState.COMPLETE, RunState.CANCELLED}:
        yield Inconsistency(Wrong.ENDED, "run", f"it is {run.state}, and {counted(unsettled, 'entry')} not settled")
    if climb.root_is_full and not run.state.terminal:
        yield Inconsistency(Wrong.OPEN, "run", f"it is {run.state}, and the root of its counting tree is full")


def count_again(ledger: Ledger, run: RunRecord, now: datetime) -> int:
    """Propagate every full node that its parent does not count; return their number."""
    found = 0
    for node, record in unfinished(ledger, run):
        if record.full(run.tree.expected(node)):
            log(Action.RUN_HEALED, logging.WARNING, run=run.id, level=node.level, number=node.number)
            chunk_updates.count(ledger, run, node, record, now)
            found += 1
    return found


# --- chunks ---


def _of_chunk(
    ledger: Ledger, manifests: Manifests, run: RunRecord, chunk: Node, record: NodeRecord
) -> Iterator[Finding]:
    lines: list[ManifestEntry] = []
    expected = run.tree.expected(chunk)
    try:
        lines = manifests.read(run, chunk.number)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in ABSENT:
            raise
        yield Inconsistency(
            Wrong.NO_CHUNK, _place(chunk), f"{counted(expected, 'entry')} of the manifest are not there"
        )
    except ValueError as error:
        yield Inconsistency(Wrong.LINES, _place(chunk), f"a line cannot be parsed: {error}")
    else:
        if len(lines) != expected:
            said = f"it has {counted(len(lines), 'line')} and should have {expected:,}"
            yield Inconsistency(Wrong.LINES, _place(chunk), said)
    yield from _of_sets(chunk, record, expected)
    first = chunk.number * run.chunk_size
    for position in range(expected):
        if position not in record.settled:
            key = lines[position].key if position < len(lines) else None
            known = _known(run, record, first + position, position)
            yield Missing(first + position, key, known, record.attempts.get(position, 0))
    yield from _details(ledger, run, chunk, record, lines[:expected])


def _known(run: RunRecord, record: NodeRecord, index: int, position: int) -> Known:
    if position in record.begun:
        return Known.BEGUN
    if position in record.asking:
        return Known.ASKING
    if position in record.held:
        return Known.HELD
    if position in record.attempts:
        return Known.TRIED
    if index >= run.sent:
        return Known.NEVER_SENT
    return Known.WAITING if index < run.checkpoint else Known.IN_DOUBT


def _of_sets(node: Node, record: NodeRecord, expected: int) -> Iterator[Inconsistency]:
    """Yield the inconsistencies within a node's own sets."""
    place = _place(node)
    outcomes = {outcome.value: members for outcome, members in record.by_outcome.items()}
    sets: Mapping[str, frozenset[int]] = {
        "settled": record.settled,
        **outcomes,
        "begun": record.begun,
        "held": record.held,
        "asking": record.asking,
        "attempts": frozenset(record.attempts),
        "unanswered": record.unanswered,
        "indefinite": record.indefinite,
    }
    for name, members in sets.items():
        if outside := members - set(range(expected)):
            yield Inconsistency(Wrong.OUTSIDE, place, f"{name} has {_named(outside)} outside of [0, {expected})")
    seen: dict[int, str] = {}
    for name, members in outcomes.items():
        for position in sorted(members & seen.keys()):
            yield Inconsistency(Wrong.OVERLAP, place, f"position {position} is both {seen[position]} and {name}")
        seen |= dict.fromkeys(members - seen.keys(), name)
        if loose := members - record.settled:
            yield Inconsistency(Wrong.NOT_SETTLED, place, f"{_named(loose)} {name} and not settled")


def _details(
    ledger: Ledger, run: RunRecord, chunk: Node, record: NodeRecord, lines: list[ManifestEntry]
) -> Iterator[Inconsistency]:
    first = chunk.number * run.chunk_size
    ended = [(position, outcome) for outcome in DETAILED for position in record.by_outcome[outcome]]
    keys = {
        (position, outcome): entry_key(run.id, entry_id(lines[position].key, first + position))
        for position, outcome in sorted(ended)
        if 0 <= position < len(lines)
    }
    items = ledger.items(keys.values()) if keys else {}
    for (position, outcome), key in keys.items():
        if f"g{run.generation}_{outcome.value}" not in items.get(key, {}):
            said = f"entry {lines[position].key or first + position} is {outcome}, and nothing says why"
            yield Inconsistency(Wrong.NO_DETAIL, _place(chunk), said)


# --- the tree ---


@dataclass(slots=True)
class _Climb:
    """A walk over the counting tree, which checks each parent after its last child.

    For each level it holds only the children of one parent.
    """

    ledger: Ledger
    run: RunRecord
    root_is_full: bool = False
    #: By level: the positions of full nodes in the parent that is checked next.
    full: dict[int, set[int]] = field(default_factory=dict)

    def after(self, node: Node, record: NodeRecord) -> Iterator[Inconsistency]:
        """Visit a node; check its parent after the last of its children."""
        tree = self.run.tree
        full = record.full(tree.expected(node))
        if tree.is_root(node):
            self.root_is_full = full
            return
        parent, position = tree.parent(node)
        below = self.full.setdefault(node.level, set())
        if full:
            below.add(position)
        if position == tree.expected(parent) - 1:
            above = self.ledger.nodes(self.run, [parent])[parent]
            yield from _of_sets(parent, above, tree.expected(parent))
            yield from _of_parent(tree, parent, above, below)
            del self.full[node.level]
            yield from self.after(parent, above)


def _of_parent(tree: Tree, parent: Node, record: NodeRecord, full: set[int]) -> Iterator[Inconsistency]:
    for position, child in enumerate(tree.children(parent)):
        if position in full and position not in record.settled:
            yield Inconsistency(Wrong.UNKNOWN_TO_PARENT, _place(child), f"{_place(parent)} does not count it")
        if position in record.settled and position not in full:
            yield Inconsistency(Wrong.NOT_FULL, _place(child), f"{_place(parent)} counts it")


def _place(node: Node) -> str:
    return f"chunk {node.number}" if node.level == 0 else f"node {node.number} of level {node.level}"


def _named(positions: frozenset[int]) -> str:
    some = sorted(positions)[:MOST_NAMED]
    more = len(positions) - len(some)
    return ", ".join(map(str, some)) + (f" and {more:,} more" if more else "")
