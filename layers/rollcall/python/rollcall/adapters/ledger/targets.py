"""Writes of TARGET: slots of its rate, and its breaker. All instants are microseconds since 1970.

An SDK's retry after a lost answer may take slots twice: they are wasted, and the rate is never exceeded.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rollcall.adapters.ledger.records import Ledger, target_key, target_record
from rollcall.adapters.ledger.update import ConditionFailed, Update
from rollcall.core.breaker import Breaker
from rollcall.core.rate import Rate, microseconds, slots
from rollcall.core.run import TargetRecord

#: Writes that lose against other workers' before the slots are given up for now.
MOST_RACES = 8


@dataclass(frozen=True, slots=True)
class Taken:
    """Slots that are ours, and the target as it was left."""

    times: list[int]
    target: TargetRecord
    #: Whether others take slots, too: the next ones are then taken after theirs.
    busy: bool


def take_slots(
    ledger: Ledger, target: TargetRecord, rate: Rate, now: int, wanted: int, latest: int, *, busy: bool
) -> Taken:
    """Reserve up to `wanted` slots that begin no later than `latest`; one write, if all fit and `busy` is right.

    No slot is given twice. After a rest that was short, half of what it saved up is forgone: the next free slot is
    then seldom so old that the cheaper write, which only moves it on, would give away more than the burst.
    """
    rested, cost = now - rate.tolerance, wanted * rate.interval
    if busy:
        update = Update().increase("free", cost)
        free = update.name("free")
        update.when(f"{free} >= {update.value(rested)} AND {free} <= {update.value(latest - cost + rate.interval)}")
    else:
        update = Update().set(free=rested + cost)
        free = update.name("free")
        update.when(f"attribute_not_exists({free}) OR {free} < {update.value(rested - rate.tolerance)}")
    if busy or rested + cost - rate.interval <= latest:
        try:
            after = _sent(ledger, target, update)
        except ConditionFailed as failure:
            target = target_record(target.name, failure.old)
        else:
            first = (after.free or 0) - cost
            return Taken([max(now, first + number * rate.interval) for number in range(wanted)], after, busy)
    return _take_what_fits(ledger, target, rate, now, wanted, latest)


def _take_what_fits(ledger: Ledger, target: TargetRecord, rate: Rate, now: int, wanted: int, latest: int) -> Taken:
    """From the target as it is; reads it again from each write that loses."""
    for _ in range(MOST_RACES):
        long_at_rest = target.free is None or target.free < now - 2 * rate.tolerance
        at_rest = target.free is None or target.free < now - rate.tolerance
        free = now - rate.tolerance // 2 if at_rest and not long_at_rest else target.free
        found = slots(rate, free, now, wanted, latest)
        if not found.times:
            break
        update = Update().set(free=found.following)
        update = update.when_absent("free") if target.free is None else update.when_equal(free=target.free)
        try:
            return Taken(list(found.times), _sent(ledger, target, update), not long_at_rest)
        except ConditionFailed as failure:
            target = target_record(target.name, failure.old)
    return Taken([], target, True)


def hold_until(ledger: Ledger, target: TargetRecord, until: int) -> None:
    """Note until when held entries were told to wait, so that the next ones are told to wait longer."""
    Update().set(held_until=until).send(ledger.client, ledger.table, target_key(target.name))


# --- its breaker ---


def note_failures(
    ledger: Ledger, target: TargetRecord, breaker: Breaker, failures: int, now: datetime, reason: str
) -> TargetRecord:
    """Count failures in a row; opens the breaker once there are enough. Returns the target as it then is."""
    update = _in_epoch(Update().count_up("failures", failures), target).when_absent("open_until")
    try:
        after = _sent(ledger, target, update)
    except ConditionFailed as failure:
        return target_record(target.name, failure.old)
    return after if after.failures < breaker.failures else open_breaker(ledger, after, breaker, now, reason)


def forget_failures(ledger: Ledger, target: TargetRecord) -> TargetRecord:
    """A call has succeeded: what failed before is no row any more."""
    update = _in_epoch(Update().remove("failures"), target).when_absent("open_until")
    try:
        return _sent(ledger, target, update)
    except ConditionFailed as failure:
        return target_record(target.name, failure.old)


def open_breaker(ledger: Ledger, target: TargetRecord, breaker: Breaker, now: datetime, reason: str) -> TargetRecord:
    """Open it for its pause, unless it was opened or closed meanwhile. Returns the target as it then is."""
    update = Update().set(
        epoch=target.epoch + 1,
        open_until=microseconds(now + breaker.pause),
        opened_at=microseconds(now),
        failed_tries=0,
        reason=reason,
    )
    update.remove("failures", "trier", "trying_until")
    try:
        return _sent(ledger, target, _in_epoch(update, target).when_absent("open_until"))
    except ConditionFailed as failure:
        return target_record(target.name, failure.old)


def lease_try(ledger: Ledger, target: TargetRecord, owner: str, now: datetime, lease: timedelta) -> TargetRecord:
    """Try to become the one that tries whether the target is back; returns the target as it then is.

    It is ours if its `trier` is `owner`.
    """
    update = Update().set(trier=owner, trying_until=microseconds(now + lease))
    until, limit = update.name("trying_until"), update.value(microseconds(now))
    update.when(f"{update.name('open_until')} <= {limit}")
    update.when(f"attribute_not_exists({until}) OR {until} <= {limit}")
    try:
        return _sent(ledger, target, _in_epoch(update, target))
    except ConditionFailed as failure:
        return target_record(target.name, failure.old)


def give_up_try(ledger: Ledger, target: TargetRecord, owner: str) -> None:
    """Let another one try: ours made no call."""
    update = _in_epoch(Update().remove("trier", "trying_until"), target).when_equal(trier=owner)
    try:
        _sent(ledger, target, update)
    except ConditionFailed:
        return


def close_breaker(ledger: Ledger, target: TargetRecord, owner: str) -> TargetRecord:
    """Our try was answered well. Returns the target as it then is."""
    update = Update().set(epoch=target.epoch + 1)
    update.remove("open_until", "opened_at", "reason", "failed_tries", "failures", "tried_by", "trier", "trying_until")
    return _after_try(ledger, target, owner, update)


def reopen_breaker(
    ledger: Ledger,
    target: TargetRecord,
    breaker: Breaker,
    owner: str,
    now: datetime,
    reason: str,
    *,
    entry: str | None = None,
    longer: bool = True,
) -> TargetRecord:
    """Our try, by `entry`, was in vain: the target is left alone, for longer than before. Returns it as it then is."""
    tries = target.failed_tries + longer
    update = Update().set(
        epoch=target.epoch + 1,
        open_until=microseconds(now + breaker.pause_after(tries)),
        failed_tries=tries,
        tried_by=entry,
        reason=reason,
    )
    return _after_try(ledger, target, owner, update.remove("trier", "trying_until"))


def _after_try(ledger: Ledger, target: TargetRecord, owner: str, update: Update) -> TargetRecord:
    try:
        return _sent(ledger, target, _in_epoch(update, target).when_equal(trier=owner))
    except ConditionFailed as failure:
        return target_record(target.name, failure.old)


def _in_epoch(update: Update, target: TargetRecord) -> Update:
    return update.when_equal(epoch=target.epoch) if target.epoch else update.when_absent("epoch")


def _sent(ledger: Ledger, target: TargetRecord, update: Update) -> TargetRecord:
    item = update.send(ledger.client, ledger.table, target_key(target.name))
    return target_record(target.name, item)
