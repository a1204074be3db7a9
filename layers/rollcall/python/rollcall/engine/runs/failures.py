"""Entries of a run that did not succeed, each by the latest generation it was in."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollcall.adapters.ledger.entries import succeeded
from rollcall.adapters.ledger.records import Ledger, NodeRecord, entry_key
from rollcall.adapters.manifests import Manifests
from rollcall.core.entry import ManifestEntry, entry_id
from rollcall.core.outcome import EXCEPTIONAL, Outcome
from rollcall.core.run import RunRecord, from_iso
from rollcall.core.tree import Node
from rollcall.engine.runs.key_index import Seen, SeenKeys
from rollcall.engine.runs.progress import chunks


@dataclass(frozen=True, slots=True)
class Failure:
    """An entry that did not succeed."""

    generation: int
    index: int
    #: The entry's line in the manifest; without a key if the source gave none.
    line: ManifestEntry
    outcome: Outcome
    #: Calls made in this generation.
    attempts: int
    error: str | None
    reason: str | None
    #: Earliest time of a call without a known answer, over all generations.
    unanswered_since: datetime | None
    #: Earliest time of a call with the entry's key, over all generations.
    called_since: datetime | None
    #: True if the answer to every attempt, over all generations, shows whether the target did anything.
    definite: bool

    @property
    def key(self) -> str | None:
        return self.line.key


def failures(
    ledger: Ledger, manifests: Manifests, run: RunRecord, wanted: Collection[Outcome] = EXCEPTIONAL
) -> Iterator[Failure]:
    """Yield the entries whose latest outcome is one of `wanted`.

    Generation by generation, each in the order of its manifest.
    """
    generations = run.generations
    with ExitStack() as ending:
        seen = ending.enter_context(SeenKeys()) if len(generations) > 1 else None
        for generation in generations:
            last = generation is generations[-1]
            for chunk, record in chunks(ledger, generation):
                if seen is not None and not last:
                    yield from _latest(ledger, manifests, generation, chunk, record, wanted, seen)
                else:
                    for failure in _of_chunk(ledger, manifests, generation, chunk, record, _positions(record, wanted)):
                        if seen is None or failure.key is None or seen.add(failure.line) is Seen.NEVER:
                            yield failure


def _latest(
    ledger: Ledger,
    manifests: Manifests,
    run: RunRecord,
    chunk: Node,
    record: NodeRecord,
    wanted: Collection[Outcome],
    seen: SeenKeys,
) -> Iterator[Failure]:
    """Yield the failures of an earlier generation, except entries that a later one contains."""
    lines = enumerate(manifests.read(run, chunk.number))
    new = {position for position, line in lines if line.key is None or seen.add(line) is Seen.NEVER}
    positions = [position for position in _positions(record, wanted) if position in new]
    yield from _of_chunk(ledger, manifests, run, chunk, record, positions)


def _positions(record: NodeRecord, wanted: Collection[Outcome]) -> list[int]:
    return sorted(position for outcome in wanted for position in record.by_outcome[outcome])


def _of_chunk(
    ledger: Ledger, manifests: Manifests, run: RunRecord, chunk: Node, record: NodeRecord, positions: list[int]
) -> Iterator[Failure]:
    if not positions:
        return
    lines = manifests.read(run, chunk.number)
    first = chunk.number * run.chunk_size
    keys = {position: entry_key(run.id, entry_id(lines[position].key, first + position)) for position in positions}
    details = ledger.items(keys.values())
    for position, key in keys.items():
        outcome = record.outcome(position)
        if outcome is not None:
            item = details.get(key, {})
            detail = item.get(f"g{run.generation}_{outcome.value}")
            calls = _told(detail) if detail is not None else _untold(run, record, position, first + position, outcome)
            if succeeded(item):
                calls = _Calls(run.started_at, run.started_at, definite=False)
            yield _failure(run, first + position, lines[position], outcome, detail or {}, calls)


@dataclass(frozen=True, slots=True)
class _Calls:
    """The calls of an entry, as far as the ledger records them."""

    unanswered_since: datetime | None
    called_since: datetime | None
    definite: bool


def _told(detail: Mapping[str, Any]) -> _Calls:
    """Read the calls from the entry's record."""
    return _Calls(
        _moment(detail.get("unanswered_since")), _moment(detail.get("called_since")), detail.get("definite", False)
    )


def _untold(run: RunRecord, record: NodeRecord, position: int, index: int, outcome: Outcome) -> _Calls:
    """Infer the calls from the entry's chunk, as the entry has no record.

    An entry that was cancelled before it was sent, or while it was held, has made no calls but those in its chunk. Of
    any other entry, a call without an answer is assumed.
    """
    accounted_for = outcome is Outcome.CANCELLED and (index >= run.sent or position in record.held)
    unanswered = not accounted_for or position in record.unanswered
    called = unanswered or position in record.attempts
    return _Calls(
        run.started_at if unanswered else None,
        run.started_at if called else None,
        not unanswered and position not in record.indefinite,
    )


def _failure(
    run: RunRecord, index: int, line: ManifestEntry, outcome: Outcome, detail: Mapping[str, Any], calls: _Calls
) -> Failure:
    """Combine the records of this generation with those of earlier ones in its manifest."""
    unanswered_since = _earlier(calls.unanswered_since, _moment(line.unanswered_since))
    return Failure(
        generation=run.generation,
        index=index,
        line=line,
        outcome=outcome,
        attempts=detail.get("attempt", 0),
        error=detail.get("error"),
        reason=detail.get("reason"),
        unanswered_since=unanswered_since,
        called_since=_earlier(_earlier(calls.called_since, _moment(line.called_since)), unanswered_since),
        definite=calls.definite and unanswered_since is None and not line.indefinite,
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else from_iso(text)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    known = [moment for moment in (one, other) if moment is not None]
    return min(known, default=None)
