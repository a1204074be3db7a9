"""Writes of RUN and JOB: starting, taking over, sealing, checkpoints, ending.

Each is conditional on the fence, the generation and the state that it expects to leave. Where the condition
fails but the item shows our own write (an SDK's retry after a lost answer), the write has succeeded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from rollcall.adapters.ledger.items import attribute
from rollcall.adapters.ledger.records import Ledger, expiry, job_key, run_key, run_record
from rollcall.adapters.ledger.update import ConditionFailed, Update
from rollcall.core.errors import RollcallError
from rollcall.core.run import OPEN, JobRecord, RunRecord, RunState, iso

#: How long an announcer has to act before another one may.
ANNOUNCEMENT_LEASE = timedelta(minutes=5)


#: Why a transaction is cancelled by others' writes; anything else, such as throttling, is no conflict
#: (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
_CONFLICTS = {"None", "ConditionalCheckFailed", "TransactionConflict"}


#: Shows, beside the field that was written, that nobody has moved the run on since.
_DISPATCHING = {"state": RunState.DISPATCHING.value}


class Conflict(RollcallError):
    """The ledger changed between reading and writing; read again and decide anew."""


class Claimed(RollcallError):
    """Another announcer has the run's end in hand."""


class LostLease(RollcallError):
    """The run is no longer ours to work on: its fence, generation or state has moved on."""

    def __init__(self, run: RunRecord | None) -> None:
        state = "gone" if run is None else f"{run.state}, fence {run.fence}, generation {run.generation}"
        super().__init__(f"another invocation works on the run, or it has ended: it is {state}")
        self.run = run


def start(ledger: Ledger, run: RunRecord, job: JobRecord) -> None:
    """Put `run` and make it the job's current one, if `job` is still as it was read. Raises Conflict."""
    pointer = _pointer(run, job).add("open", [run.id])
    _transact(ledger, _put(ledger, run), _update(ledger, job_key(job.name), pointer))


def queue(ledger: Ledger, run: RunRecord, job: JobRecord) -> None:
    """Put `run` as the one that waits for the job's current run. Raises Conflict."""
    waiting = Update().set(queued=run.id).when_equal(current=job.current).when_absent("queued")
    _transact(ledger, _put(ledger, run), _update(ledger, job_key(job.name), waiting))


def promote(ledger: Ledger, run: RunRecord, job: JobRecord) -> None:
    """Start a queued run, now that the current one is terminal. Raises Conflict."""
    begun = _lease(Update(), run).set(state=RunState.ENUMERATING.value, enumerations=1)
    begun.set(progressed_at=iso(run.progressed_at) if run.progressed_at else None)
    begun.when_equal(state=RunState.QUEUED.value)
    pointer = _pointer(run, job).add("open", [run.id]).remove("queued").when_equal(queued=run.id)
    _transact(ledger, _update(ledger, run_key(run.id), begun), _update(ledger, job_key(job.name), pointer))


def redrive(ledger: Ledger, run: RunRecord, leased: RunRecord, job: JobRecord) -> None:
    """Open the next generation of an announced run, and make the run the job's current one. Raises Conflict.

    `leased` is the run as it is to be.
    """
    past = [
        {"nonce": each.nonce, "total": each.total, "started_at": iso(each.started_at), "sent": each.sent}
        for each in leased.past
    ]
    update = _lease(Update(), leased).set(
        state=RunState.ENUMERATING.value,
        generation=leased.generation,
        keyed=leased.keyed,
        started_at=iso(leased.started_at),
        enumerations=1,
        redrive=leased.redrive.fields() if leased.redrive is not None else None,
        past=past,
        expires_at=expiry(leased),
    )
    update.remove("nonce", "total", "duplicates", "checkpoint", "window_end", "sent_at", "reason", "completed_at")
    update.remove("cancelling_since", "announced_at", "announcer", "announcing_until", "progress", "progressed_at")
    update.remove("skip_reason", "skipped_by", "waits_for")
    update.when_equal(generation=run.generation, state=run.state.value, fence=run.fence)
    update.when(f"attribute_exists({update.name('announced_at')})")
    pointer = _pointer(leased, job).add("open", [run.id])
    _transact(ledger, _update(ledger, run_key(run.id), update), _update(ledger, job_key(job.name), pointer))


def cancel(ledger: Ledger, run: RunRecord, now: datetime) -> RunRecord:
    """Call nobody any more: `cancelling` until every entry is settled, or `cancelled` where none is to be.

    Raises LostLease where the run has moved on; read it again.
    """
    state = RunState.CANCELLED if run.nonce is None else RunState.CANCELLING
    update = Update().set(fence=run.fence + 1, state=state.value).remove("lease_until", "owner")
    if state is RunState.CANCELLED:
        update.set(completed_at=iso(now))
    else:
        update.set(cancelling_since=iso(now))
    update.when_equal(fence=run.fence, generation=run.generation, state=run.state.value)
    return _sent(ledger, replace(run, fence=run.fence + 1), update, {"state": state.value})


def cancel_queued(ledger: Ledger, run: RunRecord, now: datetime) -> RunRecord:
    """End a run that waits, and free its place; its end is still to be announced. Raises Conflict."""
    cancelled = replace(run, state=RunState.CANCELLED, fence=run.fence + 1, completed_at=now)
    update = Update().set(state=cancelled.state.value, fence=cancelled.fence, completed_at=iso(now))
    update.when_equal(state=RunState.QUEUED.value, fence=run.fence)
    freed = Update().add("open", [run.id]).remove("queued").when_equal(queued=run.id)
    _transact(ledger, _update(ledger, run_key(run.id), update), _update(ledger, job_key(run.job), freed))
    return cancelled


def pause(ledger: Ledger, job: str, now: datetime) -> None:
    """Hold the entries of a job, of all its runs, until it is resumed."""
    Update().set(job=job).set_once(paused_since=iso(now)).send(ledger.client, ledger.table, job_key(job))


def resume(ledger: Ledger, job: str) -> None:
    """Let a paused job go on."""
    Update().remove("paused_since").send(ledger.client, ledger.table, job_key(job))


def skip(ledger: Ledger, run: RunRecord, job: JobRecord) -> None:
    """Put an occurrence that does not run, as one whose end is still to be announced. Raises Conflict."""
    opened = Update().add("open", [run.id]).when_equal(current=job.current)
    _transact(ledger, _put(ledger, run), _update(ledger, job_key(job.name), opened))


def watch(ledger: Ledger, job: str, schedule: str, since: datetime) -> None:
    """Look for missed occurrences of `schedule` from `since` on; nothing before is missed.

    Done once for a schedule: another watchdog's look at it counts as this one.
    """
    update = Update().set(job=job, watched_schedule=schedule, watched_until=iso(since))
    known, same = update.name("watched_schedule"), update.value(schedule)
    update.when(f"attribute_not_exists({known}) OR {known} <> {same}")
    try:
        update.send(ledger.client, ledger.table, job_key(job))
    except ConditionFailed:
        return


def unwatch(ledger: Ledger, job: str) -> None:
    """Nothing of the job is missed until it is watched anew."""
    Update().remove("watched_schedule", "watched_until").send(ledger.client, ledger.table, job_key(job))


def watched(ledger: Ledger, job: JobRecord, until: datetime) -> None:
    """Note that every occurrence up to `until` has a run, if `job` is still as it was read."""
    update = _watched(job, until)
    try:
        update.send(ledger.client, ledger.table, job_key(job.name))
    except ConditionFailed:
        return


def miss(ledger: Ledger, run: RunRecord, job: JobRecord) -> None:
    """Put an occurrence that never came, as one whose end is still to be announced. Raises Conflict.

    With it, `job` is watched up to this occurrence.
    """
    opened = _watched(job, run.scheduled_for).add("open", [run.id])
    _transact(ledger, _put(ledger, run), _update(ledger, job_key(job.name), opened))


def _watched(job: JobRecord, until: datetime) -> Update:
    update = Update().set(watched_until=iso(until)).when_equal(watched_schedule=job.watched_schedule)
    return update.when_equal(watched_until=iso(job.watched_until) if job.watched_until else None)


def note_progress(ledger: Ledger, run: RunRecord, settled: int, now: datetime) -> None:
    """Note how many entries are settled, unless another generation is under way. Disturbs nobody's lease."""
    update = Update().set(progress=settled, progressed_at=iso(now)).when_equal(generation=run.generation)
    try:
        update.send(ledger.client, ledger.table, run_key(run.id))
    except ConditionFailed:
        return


def take_over(ledger: Ledger, run: RunRecord, owner: str, lease_until: datetime, now: datetime) -> RunRecord:
    """Lease a run that nobody works on, with the next fence. Raises LostLease if somebody does."""
    taken = replace(run, owner=owner, fence=run.fence + 1, lease_until=lease_until)
    update = _lease(Update(), taken).when_equal(fence=run.fence, generation=run.generation)
    update.when_one_of("state", [RunState.ENUMERATING.value, RunState.DISPATCHING.value])
    lease, limit = update.name("lease_until"), update.value(iso(now))
    update.when(f"attribute_not_exists({lease}) OR {lease} <= {limit}")
    if run.state is RunState.ENUMERATING:
        update.set(enumerations=run.enumerations + 1)
    return _sent(ledger, taken, update, {"owner": owner})


def seal(ledger: Ledger, run: RunRecord, now: datetime, *, nonce: str, total: int, duplicates: int) -> RunRecord:
    """Make the manifest `nonce` the truth. A run without entries completes here. Raises LostLease."""
    update = Update().set(nonce=nonce, total=total, duplicates=duplicates, checkpoint=0, window_end=0)
    update.set(progressed_at=iso(now))
    if total:
        update.set(state=RunState.DISPATCHING.value)
    else:
        update.set(state=RunState.COMPLETE.value, completed_at=iso(now)).remove("lease_until", "owner")
    return _held(ledger, run, update, {RunState.ENUMERATING}, {"nonce": nonce})


def refuse(ledger: Ledger, run: RunRecord, now: datetime, reason: str) -> RunRecord:
    """End a run of which nobody was called. Raises LostLease."""
    update = Update().set(state=RunState.REFUSED.value, reason=reason, completed_at=iso(now))
    update.remove("lease_until", "owner")
    return _held(ledger, run, update, {RunState.ENUMERATING}, {"reason": reason})


def open_window(ledger: Ledger, run: RunRecord, window_end: int) -> RunRecord:
    """Note how far messages may be sent before any of them is. Raises LostLease."""
    update = Update().set(window_end=window_end)
    return _held(ledger, run, update, {RunState.DISPATCHING}, {"window_end": window_end, **_DISPATCHING})


def checkpoint(ledger: Ledger, run: RunRecord, accepted: int) -> RunRecord:
    """Note that entries [0, accepted) are on the queue. Raises LostLease."""
    update = Update().set(checkpoint=accepted)
    return _held(ledger, run, update, {RunState.DISPATCHING}, {"checkpoint": accepted, **_DISPATCHING})


def release(ledger: Ledger, run: RunRecord, accepted: int, in_doubt_until: int, now: datetime) -> RunRecord:
    """Leave the rest of a dispatch to the next one; entries [accepted, in_doubt_until) may be on the queue.

    Raises LostLease.
    """
    update = Update().set(checkpoint=accepted, window_end=in_doubt_until, sent_at=iso(now))
    update.remove("lease_until", "owner")
    return _held(ledger, run, update, {RunState.DISPATCHING}, {"checkpoint": accepted, "lease_until": None})


def all_dispatched(ledger: Ledger, run: RunRecord, now: datetime) -> RunRecord:
    """Note that everything is on the queue. Raises LostLease, also if the run is complete already."""
    update = Update().set(state=RunState.RUNNING.value, checkpoint=run.total, window_end=run.total, sent_at=iso(now))
    update.remove("lease_until", "owner")
    return _held(ledger, run, update, {RunState.DISPATCHING}, {"state": RunState.RUNNING.value})


def begin_repair(ledger: Ledger, run: RunRecord, owner: str, until: datetime) -> RunRecord:
    """Take the right to send entries [0, checkpoint) again, until `until`; `owner` is unique to the invocation.

    Raises LostLease where another repair has it, somebody dispatches, or the run has moved on.
    """
    update = Update().set(sent_at=iso(until), repairer=owner)
    update.when_equal(fence=run.fence, generation=run.generation, state=run.state.value)
    update = update.when_absent("sent_at") if run.sent_at is None else update.when_equal(sent_at=iso(run.sent_at))
    return _sent(ledger, run, update, {"repairer": owner, "sent_at": iso(until)})


def end_repair(ledger: Ledger, run: RunRecord, owner: str, until: datetime, now: datetime) -> None:
    """Note that a repair, which might have gone on until `until`, sends nothing more.

    Left alone where a dispatch has ended since: the later of the two counts, about.
    """
    update = Update().set(sent_at=iso(now))
    update.when_equal(generation=run.generation, repairer=owner, sent_at=iso(until))
    try:
        update.send(ledger.client, ledger.table, run_key(run.id))
    except ConditionFailed:
        return


def expire(ledger: Ledger, run: RunRecord, now: datetime) -> None:
    """Let a failing fan-out's lease end now instead of at its deadline, so that it is soon taken over."""
    update = Update().set(lease_until=iso(now)).when_equal(fence=run.fence, owner=run.owner)
    try:
        update.send(ledger.client, ledger.table, run_key(run.id))
    except ConditionFailed:
        return


def complete(ledger: Ledger, run: RunRecord, now: datetime) -> bool:
    """End a run whose root is full; False if that had been noted before, or another generation is under way."""
    for leaving, skipped, entering in (
        (OPEN, False, RunState.COMPLETE),
        (OPEN, True, RunState.SKIPPED),
        ({RunState.CANCELLING}, None, RunState.CANCELLED),
    ):
        update = Update().set(state=entering.value, completed_at=iso(now)).remove("lease_until", "owner")
        update.when_equal(generation=run.generation).when_one_of("state", [state.value for state in sorted(leaving)])
        if skipped is not None:
            update.when(f"attribute_{'' if skipped else 'not_'}exists({update.name('skip_reason')})")
        try:
            update.send(ledger.client, ledger.table, run_key(run.id))
        except ConditionFailed as failure:
            skips = failure.old.get("state") in OPEN and "skip_reason" in failure.old
            if not skips and failure.old.get("state") != RunState.CANCELLING.value:
                return False
        else:
            return True
    return False


def claim_announcement(ledger: Ledger, run: RunRecord, owner: str, now: datetime) -> None:
    """Lease the right to announce this generation, or renew the lease. Raises Claimed where another has, or had, it."""
    update = Update().set(announcer=owner, announcing_until=iso(now + ANNOUNCEMENT_LEASE))
    update.when_equal(generation=run.generation).when_absent("announced_at")
    until, limit = update.name("announcing_until"), update.value(iso(now))
    update.when(
        f"attribute_not_exists({until}) OR {until} <= {limit} OR {update.name('announcer')} = {update.value(owner)}"
    )
    try:
        update.send(ledger.client, ledger.table, run_key(run.id))
    except ConditionFailed as failure:
        raise Claimed(f"{failure.old.get('announcer', 'another')} announces the end of {run.id}") from failure


def give_up_announcement(ledger: Ledger, run: RunRecord, owner: str) -> None:
    """Let another announce what could not be announced."""
    update = Update().remove("announcing_until", "announcer").when_equal(generation=run.generation, announcer=owner)
    try:
        update.send(ledger.client, ledger.table, run_key(run.id))
    except ConditionFailed:
        return


def note_announced(ledger: Ledger, run: RunRecord, owner: str, now: datetime) -> None:
    """Note that this generation's end was announced and acted on, where that is still ours to note."""
    update = Update().set(announced_at=iso(now)).remove("announcing_until", "announcer")
    update.when_equal(generation=run.generation, announcer=owner)
    try:
        update.send(ledger.client, ledger.table, run_key(run.id))
    except ConditionFailed:  # An SDK's retry after a lost answer finds what it wrote itself.
        return


def close(ledger: Ledger, run: RunRecord) -> None:
    """Take an ended and announced run off the job's open ones, unless a redrive has opened its next generation.

    Raises Conflict where it has, where its announcement is not noted, or where others write the same items just now.
    """
    still = Update().set(generation=run.generation).when_equal(generation=run.generation)
    still.when(f"attribute_exists({still.name('announced_at')})")
    closed = Update().discard("open", [run.id])
    _transact(ledger, _update(ledger, run_key(run.id), still), _update(ledger, job_key(run.job), closed))


def skip_rest(ledger: Ledger, run: RunRecord, step: str, reason: str) -> None:
    """Note that the steps of a pipeline's run that follow `step` are to be left out. Raises LostLease if it ended."""
    _noted(ledger, run, Update().set(skip_reason=reason, skipped_by=step, reason=reason))


def keep(ledger: Ledger, run: RunRecord, keeps: Mapping[str, str]) -> None:
    """Note what a pipeline's run wants to keep, if it ends clean. Raises LostLease if it has ended."""
    _noted(ledger, run, Update().set(keeps=dict(keeps)))


def wait_for(ledger: Ledger, run: RunRecord, other: str) -> None:
    """Note which run a pipeline's run waits for. Raises LostLease if it has ended."""
    _noted(ledger, run, Update().set(waits_for=other))


def _noted(ledger: Ledger, run: RunRecord, update: Update) -> None:
    update.when_equal(generation=run.generation)
    update.when_one_of("state", [state.value for state in sorted(OPEN | {RunState.CANCELLING})])
    try:
        update.send(ledger.client, ledger.table, run_key(run.id))
    except ConditionFailed as failure:
        raise LostLease(run_record(failure.old) if failure.old else None) from failure


def remember_kept(ledger: Ledger, job: str, kept: Mapping[str, str]) -> None:
    """What a pipeline's next runs are told."""
    Update().set(kept=dict(kept)).send(ledger.client, ledger.table, job_key(job))


def remember_total(ledger: Ledger, job: str, total: int) -> None:
    """Keep the size of the job's last sealed run."""
    Update().set(last_total=total).send(ledger.client, ledger.table, job_key(job))


def _held(
    ledger: Ledger, run: RunRecord, update: Update, leaving: Iterable[RunState], ours: dict[str, Any]
) -> RunRecord:
    update.when_equal(fence=run.fence, generation=run.generation)
    update.when_one_of("state", [state.value for state in leaving])
    return _sent(ledger, run, update, ours)


def _sent(ledger: Ledger, run: RunRecord, update: Update, ours: dict[str, Any]) -> RunRecord:
    """Send; `ours` are the fields by which the item tells that this very write was made before."""
    try:
        return run_record(update.send(ledger.client, ledger.table, run_key(run.id)))
    except ConditionFailed as failure:
        old = failure.old
        if old.get("fence") == run.fence and all(old.get(name) == value for name, value in ours.items()):
            return run_record(old)
        raise LostLease(run_record(old) if old else None) from failure


def _lease(update: Update, run: RunRecord) -> Update:
    return update.set(owner=run.owner, fence=run.fence, lease_until=iso(run.lease_until) if run.lease_until else None)


def _pointer(run: RunRecord, job: JobRecord) -> Update:
    """Make `run` the current one. The generation tells apart what a redrive put there from what was there before."""
    update = Update().set(current=run.id, current_generation=run.generation, job=job.name)
    if job.current is None:
        return update.when_absent("current")
    return update.when_equal(current=job.current, current_generation=job.current_generation)


def _put(ledger: Ledger, run: RunRecord) -> dict[str, Any]:
    fields: dict[str, object] = {
        "pk": run_key(run.id),
        "run": run.id,
        "job": run.job,
        "state": run.state.value,
        "scheduled_for": iso(run.scheduled_for),
        "started_at": iso(run.started_at),
        "generation": run.generation,
        "keyed": run.keyed,
        "params": run.params or None,
        "enumerations": run.enumerations,
        "owner": run.owner,
        "fence": run.fence,
        "lease_until": iso(run.lease_until) if run.lease_until else None,
        "chunk_size": run.chunk_size,
        "fan_in": run.fan_in,
        "reason": run.reason,
        "completed_at": iso(run.completed_at) if run.completed_at else None,
        "expires_at": expiry(run),
    }
    item = {name: attribute(value) for name, value in fields.items() if value is not None}
    return {"Put": {"TableName": ledger.table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}


def _update(ledger: Ledger, key: str, update: Update) -> dict[str, Any]:
    return {"Update": {"TableName": ledger.table, "Key": {"pk": {"S": key}}, **update.expressions()}}


def _transact(ledger: Ledger, *parts: dict[str, Any]) -> None:
    try:
        ledger.client.transact_write_items(TransactItems=list(parts))  # type: ignore[arg-type]
    except ledger.client.exceptions.TransactionCanceledException as error:
        reasons = {reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])}
        if reasons <= _CONFLICTS:
            raise Conflict(f"the ledger changed in between: {error}") from error
        raise
