"""Which entries of a run did not succeed, and why."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from rollcall.adapters.ledger import Ledger, NodeRecord, entry_key
from rollcall.adapters.manifests import Manifests
from rollcall.core.entry import ManifestEntry, entry_id
from rollcall.core.outcome import EXCEPTIONAL, Outcome
from rollcall.core.run import RunRecord
from rollcall.core.tree import Node
from rollcall.core.values import Json
from rollcall.engine.progress import chunks


@dataclass(frozen=True, slots=True)
class Failure:
    """An entry that did not succeed."""

    index: int
    #: None where the source gave none.
    key: str | None
    outcome: Outcome
    #: Calls that were made.
    attempts: int
    error: str | None
    reason: str | None
    payload: Json


def failures(
    ledger: Ledger, manifests: Manifests, run: RunRecord, wanted: Collection[Outcome] = EXCEPTIONAL
) -> Iterator[Failure]:
    """The entries whose outcome is one of `wanted`, in the order of the manifest."""
    if run.nonce is None:
        return
    for chunk, record in chunks(ledger, run):
        positions = sorted(position for outcome in wanted for position in record.by_outcome[outcome])
        if positions:
            yield from _of_chunk(ledger, manifests, run, chunk, record, positions)


def _of_chunk(
    ledger: Ledger, manifests: Manifests, run: RunRecord, chunk: Node, record: NodeRecord, positions: list[int]
) -> Iterator[Failure]:
    lines = manifests.read(run, chunk.number)
    first = chunk.number * run.chunk_size
    keys = {position: _record_key(run, lines[position], first + position) for position in positions}
    details = ledger.items(keys.values())
    for position, key in keys.items():
        outcome = record.outcome(position)
        if outcome is not None:
            detail: dict[str, Any] = details.get(key, {}).get(f"g{run.generation}_{outcome.value}", {})
            yield Failure(
                index=first + position,
                key=lines[position].key,
                outcome=outcome,
                attempts=detail.get("attempt", 0),
                error=detail.get("error"),
                reason=detail.get("reason"),
                payload=lines[position].payload,
            )


def _record_key(run: RunRecord, line: ManifestEntry, index: int) -> str:
    return entry_key(run.id, entry_id(line.key, index))
