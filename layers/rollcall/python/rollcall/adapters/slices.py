"""Leases on the slices of a run: at any time one invocation calls a slice's entries."""

from dataclasses import dataclass
from datetime import datetime

from rollcall.adapters.ledger import Ledger, expiry, slice_key
from rollcall.adapters.update import ConditionFailed, Update
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunRecord, from_iso, iso


class Leased(RollcallError):
    """Another invocation may be calling the slice's entries, or those wait for another attempt."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"the slice is in other hands, or waits for another attempt, until {iso(until)} at most")
        self.until = until


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to call the entries of a slice."""

    owner: str
    #: When the slice was first handled; None: this is the first time.
    began_before: datetime | None


def take(ledger: Ledger, run: RunRecord, number: int, owner: str, until: datetime, now: datetime) -> Lease:
    """Lease slice `number` until `until`, when the invocation `owner` is killed. Raises Leased if it is too early."""
    update = Update().set(owner=owner, lease_until=iso(until), expires_at=expiry(run)).set_once(began_at=iso(now))
    held, limit, mine = update.name("lease_until"), update.value(iso(now)), update.value(owner)
    update.when(f"attribute_not_exists({held}) OR {held} <= {limit} OR {update.name('owner')} = {mine}")
    waits = update.name("not_before")
    update.when(f"attribute_not_exists({waits}) OR {waits} <= {limit}")
    try:
        old = update.send(ledger.client, ledger.table, slice_key(run.id, run.generation, number), "ALL_OLD")
    except ConditionFailed as failure:
        known = [failure.old[name] for name in ("lease_until", "not_before") if name in failure.old]
        raise Leased(max(map(from_iso, known))) from failure
    began = old.get("began_at")
    if old.get("owner") == owner and began == iso(now):
        began = None  # our own write, made again by the SDK after a lost answer
    return Lease(owner, None if began is None else from_iso(began))


def give_back(ledger: Ledger, run: RunRecord, number: int, lease: Lease, not_before: datetime | None) -> None:
    """End the lease, unless another has it by now. Where entries wait for another attempt, `not_before` is when for it:
    the state machine waits, but it may repeat the slice, having lost how long.
    """
    update = Update().remove("lease_until").when_equal(owner=lease.owner)
    if not_before is not None:
        update.set(not_before=iso(not_before))
    try:
        update.send(ledger.client, ledger.table, slice_key(run.id, run.generation, number))
    except ConditionFailed:
        return
