"""Leases on the slices of a run: at any time one invocation calls a slice's entries."""

from dataclasses import dataclass
from datetime import datetime

from rollcall.adapters.ledger.records import Ledger, expiry, slice_key
from rollcall.adapters.ledger.update import ConditionFailed, Update
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunRecord, from_iso, iso


class Leased(RollcallError):
    """Another invocation may be calling the slice's entries, or these wait for another attempt."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"another invocation handles the slice, or it rests, until {iso(until)} at most")
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
    try:
        old = update.send(ledger.client, ledger.table, slice_key(run.id, run.generation, number), "ALL_OLD")
    except ConditionFailed as failure:
        raise Leased(from_iso(failure.old["lease_until"])) from failure
    began = old.get("began_at")
    if old.get("owner") == owner and began == iso(now):
        began = None  # our own write, made again by the SDK after a lost answer
    return Lease(owner, None if began is None else from_iso(began))


def give_back(ledger: Ledger, run: RunRecord, number: int, lease: Lease, rest: datetime | None) -> None:
    """End the lease, unless another has it by now; with `rest`, nobody gets it before then."""
    update = Update().when_equal(owner=lease.owner)
    update = update.remove("lease_until") if rest is None else update.set(lease_until=iso(rest))
    try:
        update.send(ledger.client, ledger.table, slice_key(run.id, run.generation, number))
    except ConditionFailed:
        return
