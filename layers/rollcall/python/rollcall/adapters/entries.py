"""Writes of ENTRY: what there is to say about one entry. The chunk is the truth about the outcome, this the detail."""

from dataclasses import dataclass
from datetime import datetime

from rollcall.adapters.ledger import Ledger, entry_key, expiry
from rollcall.adapters.update import ConditionFailed, Update
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


def note_attempt(
    ledger: Ledger, run: RunRecord, entry: EntryName, attempt: int, answer: Answer, now: datetime, not_before: datetime
) -> bool:
    """Use up attempt number `attempt`: written before the entry goes back to the queue.

    False if it was used up before, by whoever else had the message. An SDK's retry after a lost answer is ours.
    """
    update = _attempted(run, entry, attempt, answer, now, not_before)
    attempts = update.name(f"g{run.generation}_attempts")
    if attempt == 1:
        update.when(f"attribute_not_exists({attempts})")
    else:
        update.when(f"{attempts} = {update.value(attempt - 1)}")
    try:
        update.send(ledger.client, ledger.table, entry_key(run.id, entry.id))
    except ConditionFailed as failure:
        return bool(failure.old.get(f"g{run.generation}_last") == _told(answer, attempt, now))
    return True


def renote_attempt(
    ledger: Ledger, run: RunRecord, entry: EntryName, attempt: int, answer: Answer, now: datetime, not_before: datetime
) -> bool:
    """Put the true answer in the place of the one noted beforehand. False if a later attempt has been noted."""
    update = _attempted(run, entry, attempt, answer, now, not_before)
    update.when_equal(**{f"g{run.generation}_attempts": attempt})
    try:
        update.send(ledger.client, ledger.table, entry_key(run.id, entry.id))
    except ConditionFailed:
        return False
    return True


def _attempted(
    run: RunRecord, entry: EntryName, attempt: int, answer: Answer, now: datetime, not_before: datetime
) -> Update:
    prefix = f"g{run.generation}"
    update = _named(run, entry)
    update.set(**{f"{prefix}_attempts": attempt, f"{prefix}_not_before": iso(not_before)})
    update.set(**{f"{prefix}_last": _told(answer, attempt, now)})
    return update if answer.answered else update.set(**{f"{prefix}_unanswered": True})


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


def _named(run: RunRecord, entry: EntryName) -> Update:
    return Update().set(run=run.id, key=entry.key, index=entry.index, expires_at=expiry(run))


def _told(answer: Answer, attempt: int, now: datetime) -> dict[str, object]:
    told = {"error": answer.error, "reason": answer.reason, "attempt": attempt, "at": iso(now)}
    return {name: value for name, value in told.items() if value is not None}
