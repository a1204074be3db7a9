"""Writes of ENTRY: what there is to say about one entry. The chunk is the truth about the outcome, this the detail."""

from dataclasses import dataclass
from datetime import datetime

from rollcall.adapters.ledger import Ledger, entry_key, expiry
from rollcall.adapters.update import Update
from rollcall.core.answers import Answer
from rollcall.core.entry import entry_id
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord, iso
from rollcall.core.values import Json, canonical


@dataclass(frozen=True, slots=True)
class EntryName:
    """An entry of a run's manifest."""

    key: str | None
    index: int

    @property
    def id(self) -> str:
        return entry_id(self.key, self.index)


def note_outcome(
    ledger: Ledger,
    run: RunRecord,
    entry: EntryName,
    outcome: Outcome,
    answer: Answer,
    attempts: int,
    now: datetime,
    payload: Json = None,
) -> None:
    """Keep why an entry did not succeed, under its outcome's name; written before the chunk."""
    detail = _told(answer, attempts, now)
    if payload is not None:
        detail["payload"] = canonical(payload)
    update = _named(run, entry).set(**{f"g{run.generation}_{outcome.value}": detail})
    update.send(ledger.client, ledger.table, entry_key(run.id, entry.id))


def note_superseded(ledger: Ledger, run: RunRecord, entry: EntryName, outcome: Outcome) -> None:
    """Mark the detail of an outcome that came too late: another one stands."""
    update = _named(run, entry).set(**{f"g{run.generation}_{outcome.value}_superseded": True})
    update.send(ledger.client, ledger.table, entry_key(run.id, entry.id))


def _named(run: RunRecord, entry: EntryName) -> Update:
    return Update().set(run=run.id, key=entry.key, index=entry.index, expires_at=expiry(run))


def _told(answer: Answer, attempt: int, now: datetime) -> dict[str, object]:
    told = {"error": answer.error, "reason": answer.reason, "attempt": attempt, "at": iso(now)}
    return {name: value for name, value in told.items() if value is not None}
