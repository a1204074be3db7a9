"""Writes of ENTRY: what there is to say about one entry. The chunk is the truth about the outcome, this the detail."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollcall.adapters.ledger.records import Ledger, entry_key, expiry
from rollcall.adapters.ledger.update import ConditionFailed, Update
from rollcall.core.answers import Answer
from rollcall.core.entry import entry_id
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord, from_iso, iso
from rollcall.core.values import Json, canonical


@dataclass(frozen=True, slots=True)
class EntryName:
    """An entry of a run's manifest."""

    key: str | None
    index: int

    @property
    def id(self) -> str:
        return entry_id(self.key, self.index)


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """What the ledger says of an entry's calls; `attempts`, `asked` and `outcome` are of one generation."""

    #: Who has claimed it, and until when its call may go on; the next claim has the next fence.
    owner: str | None = None
    fence: int = 0
    called_until: datetime | None = None
    #: The first that may have taken effect, over all generations.
    first_call: datetime | None = None
    attempts: int = 0
    #: How often the target was asked about an unanswered call, and after how many attempts last.
    asked: int = 0
    asked_after: int | None = None
    #: What its call ended with, written before its chunk is; a success in any generation, however late, stands.
    outcome: Outcome | None = None

    @classmethod
    def of(cls, item: Mapping[str, Any], generation: int) -> "EntryRecord":
        called_until, first_call = item.get("called_until"), item.get("first_call")
        outcome = Outcome.SUCCEEDED if succeeded(item) else item.get(f"g{generation}_outcome")
        return cls(
            owner=item.get("owner"),
            fence=item.get("fence", 0),
            called_until=None if called_until is None else from_iso(called_until),
            first_call=None if first_call is None else from_iso(first_call),
            attempts=item.get(f"g{generation}_attempts", 0),
            asked=item.get(f"g{generation}_asked", 0),
            asked_after=item.get(f"g{generation}_asked_after"),
            outcome=None if outcome is None else Outcome(outcome),
        )


def succeeded(item: Mapping[str, Any]) -> bool:
    """Whether a call is known to have succeeded, in whatever generation, and whatever its chunk says: the word of an
    environment that stood still may have come first.
    """
    outcomes = [value for name, value in item.items() if name.startswith("g") and name.endswith("_outcome")]
    return Outcome.SUCCEEDED in {*outcomes, item.get("late_answer", {}).get("outcome")}


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to say of an entry that did not succeed."""

    answer: Answer
    attempts: int
    #: Since when a call may have been made whose answer nobody has.
    unanswered_since: datetime | None = None
    #: The earliest that a call can have been made with its key.
    called_since: datetime | None = None
    #: Whether every attempt got an answer that says whether the target did anything.
    definite: bool = False
    payload: Json = None

    def fields(self, now: datetime) -> dict[str, object]:
        told = {
            "error": self.answer.error,
            "reason": self.answer.reason,
            "attempt": self.attempts,
            "unanswered_since": None if self.unanswered_since is None else iso(self.unanswered_since),
            "called_since": None if self.called_since is None else iso(self.called_since),
            "definite": self.definite or None,
            "payload": None if self.payload is None else canonical(self.payload),
            "at": iso(now),
        }
        return {name: value for name, value in told.items() if value is not None}


def records(ledger: Ledger, run: RunRecord, names: Iterable[EntryName]) -> dict[EntryName, EntryRecord]:
    """What the ledger says of entries."""
    keys = {name: entry_key(run.id, name.id) for name in names}
    items = ledger.items(keys.values())
    return {name: EntryRecord.of(items.get(key, {}), run.generation) for name, key in keys.items()}


# --- claims, for targets that take no keys ---


def claim(
    ledger: Ledger, run: RunRecord, entry: EntryName, record: EntryRecord, owner: str, until: datetime, now: datetime
) -> EntryRecord:
    """Claim an entry for one call that is over by `until`. `owner` is unique to the claim.

    Raises ConditionFailed, with the item, if it is not as `record` says or somebody has claimed it.
    """
    attempt, fence = record.attempts + 1, record.fence + 1
    update = _named(run, entry).set(owner=owner, fence=fence, called_until=iso(until)).set_once(first_call=iso(now))
    _when_as(update.set(**{f"g{run.generation}_attempts": attempt}), record)
    try:
        item = update.send(ledger.client, ledger.table, entry_key(run.id, entry.id))
    except ConditionFailed as failure:
        if failure.old.get("owner") != owner:
            raise
        item = dict(failure.old)  # our own write: the SDK made it twice
    return EntryRecord.of(item, run.generation)


def conclude(
    ledger: Ledger,
    run: RunRecord,
    entry: EntryName,
    owner: str,
    outcome: Outcome,
    told: Told,
    now: datetime,
) -> bool:
    """Write what a claimed call ended with, and give the claim back; False, and kept as late, if that was lost."""
    update = _outcome(run, entry, outcome, told, now).set(**{f"g{run.generation}_outcome": outcome.value})
    update.remove("owner", "called_until").when_equal(owner=owner)
    key = entry_key(run.id, entry.id)
    try:
        update.send(ledger.client, ledger.table, key)
    except ConditionFailed:
        note_late_answer(ledger, run, entry, outcome, now)
        if outcome is not Outcome.SUCCEEDED:
            # It may be settled so all the same: whoever took the claim has perhaps put the entry back.
            note_outcome(ledger, run, entry, outcome, told, now)
        return False
    return True


def conclude_unclaimed(
    ledger: Ledger, run: RunRecord, entry: EntryName, record: EntryRecord, outcome: Outcome, told: Told, now: datetime
) -> bool:
    """Write what an entry ended with whose claim was given back; False if somebody has claimed it since `record`.

    It takes a fence like a claim: who had read the same record can claim the entry no more.
    """
    update = _outcome(run, entry, outcome, told, now).set(**{f"g{run.generation}_outcome": outcome.value})
    _when_as(update.set(fence=record.fence + 1), record)
    try:
        update.send(ledger.client, ledger.table, entry_key(run.id, entry.id))
    except ConditionFailed as failure:
        # Perhaps our own write: the SDK made it twice.
        return "owner" not in failure.old and failure.old.get(f"g{run.generation}_outcome") == outcome.value
    return True


def _when_as(update: Update, record: EntryRecord) -> Update:
    """Only where nobody has claimed the entry, or given its claim back, since `record` was read."""
    update.when_absent("owner")
    return update.when_equal(fence=record.fence) if record.fence else update.when_absent("fence")


def note_late_answer(ledger: Ledger, run: RunRecord, entry: EntryName, outcome: Outcome, now: datetime) -> None:
    """Keep what a call ended with though another outcome stands, or may. A success is never overwritten."""
    late = {"outcome": outcome.value, "generation": run.generation, "at": iso(now)}
    update = _named(run, entry)
    if outcome is Outcome.SUCCEEDED:
        update.set(late_answer=late)
    else:
        update.set_once(late_answer=late)
    update.send(ledger.client, ledger.table, entry_key(run.id, entry.id))


def free(ledger: Ledger, run: RunRecord, entry: EntryName, owner: str) -> bool:
    """Give a claim back, for it is proven that its call did nothing; False if it was lost."""
    update = Update().remove("owner", "called_until").when_equal(owner=owner)
    try:
        update.send(ledger.client, ledger.table, entry_key(run.id, entry.id))
    except ConditionFailed:
        return False
    return True


def note_question(
    ledger: Ledger, run: RunRecord, entry: EntryName, number: int, attempts: int, called_until: datetime | None
) -> EntryRecord:
    """Note, before the target is asked, that it is, after so many attempts.

    `called_until` is when the last of them was over, where nothing has noted it yet.
    """
    update = _named(run, entry).set(**{f"g{run.generation}_asked": number, f"g{run.generation}_asked_after": attempts})
    update.set(called_until=None if called_until is None else iso(called_until))
    return EntryRecord.of(update.send(ledger.client, ledger.table, entry_key(run.id, entry.id)), run.generation)


# --- outcomes ---


def note_outcome(ledger: Ledger, run: RunRecord, entry: EntryName, outcome: Outcome, told: Told, now: datetime) -> None:
    """Keep why an entry did not succeed, under its outcome's name; written before the chunk."""
    _outcome(run, entry, outcome, told, now).send(ledger.client, ledger.table, entry_key(run.id, entry.id))


def note_superseded(ledger: Ledger, run: RunRecord, entry: EntryName, outcome: Outcome) -> None:
    """Mark the detail of an outcome that came too late: another one stands."""
    update = _named(run, entry).set(**{f"g{run.generation}_{outcome.value}_superseded": True})
    update.send(ledger.client, ledger.table, entry_key(run.id, entry.id))


def _outcome(run: RunRecord, entry: EntryName, outcome: Outcome, told: Told, now: datetime) -> Update:
    update = _named(run, entry)
    if outcome is not Outcome.SUCCEEDED:
        update.set(**{f"g{run.generation}_{outcome.value}": told.fields(now)})
    return update


def _named(run: RunRecord, entry: EntryName) -> Update:
    return Update().set(run=run.id, key=entry.key, index=entry.index, expires_at=expiry(run))
