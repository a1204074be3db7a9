"""The lease of the run that a fan-out works on: a new run, one to take over, or none."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from rollcall.adapters.ledger import runs
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.actions import Action, log
from rollcall.core.clock import Clock
from rollcall.core.errors import RollcallError, class_and_place
from rollcall.core.event_forms import FAN_OUT_FORMS, form_of
from rollcall.core.job import Job, Overlap
from rollcall.core.run import Generation, JobRecord, Redrive, RunRecord, RunState, from_iso, run_id
from rollcall.core.tree import CHUNK_SIZE, FAN_IN

#: Write conflicts with other starts that one invocation retries.
MOST_CONFLICTS = 10
#: Enumerations of a run before it is refused; each earlier one died.
MOST_ENUMERATIONS = 3


@dataclass(frozen=True, slots=True)
class Start:
    """A request to run an occurrence of a job, from the scheduler or, with a nonce, by hand."""

    scheduled_for: datetime
    nonce: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resume:
    """A request to continue a run: dispatch more, take it over, or start a queued one."""

    run: str


@dataclass(frozen=True, slots=True)
class Again:
    """A request to redrive chosen entries of a terminal run, planned on its `generation`."""

    run: str
    generation: int
    redrive: Redrive


@dataclass(frozen=True, slots=True)
class Repair:
    """A request to resend the unsettled entries of a run, whose messages may be lost."""

    run: str


Request: TypeAlias = Start | Resume | Again | Repair


@dataclass(frozen=True, slots=True)
class Invocation:
    """The current invocation of fan-out."""

    #: Unique to the invocation; the retry of an event has another.
    owner: str
    #: The time at which Lambda kills the invocation.
    deadline: datetime
    #: The shape of new runs' counting trees.
    chunk_size: int = CHUNK_SIZE
    fan_in: int = FAN_IN


def request_of(event: Mapping[str, Any]) -> Request:
    """Parse the request in an event.

    The event is `{"scheduled_time": …, "nonce"?, "params"?}`, `{"resume": run}`, `{"repair": run}` or
    `{"redrive": run, "generation": n, "outcomes"?, "errors"?, "keys"?, "new_key"?}`. Raises RollcallError for any
    other event, also for one with a field that `FAN_OUT_FORMS` does not list.
    """
    form = form_of(event, FAN_OUT_FORMS)
    try:
        if form == "resume":
            return Resume(str(event["resume"]))
        if form == "repair":
            return Repair(str(event["repair"]))
        if form == "redrive":
            return Again(str(event["redrive"]), int(event["generation"]), Redrive.from_fields(event))
        params = event.get("params", {})
        nonce = event.get("nonce")
        if not isinstance(params, Mapping):
            raise TypeError("params is not an object")
        return Start(
            from_iso(str(event["scheduled_time"])),
            None if nonce is None else str(nonce),
            {str(name): str(value) for name, value in params.items()},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RollcallError(
            f"the event is no start of a run: {_fault(error)}; it takes scheduled_time in ISO 8601 with a zone, "
            f"resume, repair, or redrive with generation"
        ) from error


def _fault(error: Exception) -> str:
    """Describe an error in an event without its values; a redrive's values include keys."""
    return f"it has no {error}" if isinstance(error, KeyError) else class_and_place(error)


def take(
    ledger: Ledger, job: Job, request: Start | Resume | Again, invocation: Invocation, clock: Clock
) -> RunRecord | None:
    """Lease the run to work on, and return it.

    Returns None if the occurrence is skipped, queued or ended, or another invocation holds it. Raises RollcallError if
    the run does not exist or cannot be redriven now.
    """
    name = run_id(job.name, request.scheduled_for, request.nonce) if isinstance(request, Start) else request.run
    for attempt in range(MOST_CONFLICTS):
        if attempt:
            clock.sleep(timedelta(milliseconds=50 * attempt))
        try:
            existing = ledger.run(name)
            if existing is None and not isinstance(request, Start):
                raise RollcallError(f"there is no run {name}")
            if existing is not None and isinstance(request, Again) and existing.generation <= request.generation:
                return _redrive(ledger, job, existing, request, invocation, clock.now())
            if existing is not None:
                return _go_on(ledger, job, existing, invocation, clock.now())
            assert isinstance(request, Start)  # noqa: S101 - other requests name existing runs
            return _start(ledger, job, _new(name, job, request, invocation, clock.now()))
        except runs.Conflict:
            continue
    raise RollcallError(f"{name}: the ledger changed under {MOST_CONFLICTS} tries to start it; try again")


def _new(name: str, job: Job, request: Start, invocation: Invocation, now: datetime) -> RunRecord:
    return RunRecord(
        id=name,
        job=job.name,
        state=RunState.ENUMERATING,
        scheduled_for=request.scheduled_for,
        started_at=now,
        params=request.params,
        owner=invocation.owner,
        lease_until=invocation.deadline,
        keyed=job.target.keys is not None,
        chunk_size=invocation.chunk_size,
        fan_in=invocation.fan_in,
    )


def _start(ledger: Ledger, job: Job, run: RunRecord) -> RunRecord | None:
    record = ledger.job(job.name)
    if job.overlap is Overlap.ALLOW or not _busy(ledger, record):
        runs.start(ledger, run, record)
        log(Action.RUN_STARTED, run=run.id, job=job.name)
        return run
    idle = replace(run, owner=None, lease_until=None, enumerations=0)
    if job.overlap is Overlap.QUEUE and record.queued is None:
        runs.queue(ledger, replace(idle, state=RunState.QUEUED), record)
        log(Action.RUN_QUEUED, run=run.id, job=job.name, behind=record.current)
        return None
    waiting = f", and {record.queued} waits already" if record.queued else ""
    reason = f"{record.current} is not finished{waiting}"
    skipped = replace(idle, state=RunState.SKIPPED, reason=reason, completed_at=run.started_at)
    runs.skip(ledger, skipped, record)
    log(Action.RUN_SKIPPED, run=run.id, job=job.name, reason=reason)
    return None


def _busy(ledger: Ledger, job: JobRecord) -> bool:
    """Return whether the job's current run may still make calls."""
    if job.current is None:
        return False
    holder = ledger.run(job.current)
    return holder is not None and not holder.state.terminal


def _go_on(ledger: Ledger, job: Job, run: RunRecord, invocation: Invocation, now: datetime) -> RunRecord | None:
    if run.owner == invocation.owner and run.leased(now):
        return run
    if run.state is RunState.QUEUED:
        return _promote(ledger, job, run, invocation, now)
    if run.state not in {RunState.ENUMERATING, RunState.DISPATCHING} or run.leased(now):
        log(Action.RUN_DUPLICATE_START, run=run.id, job=run.job, state=run.state)
        return None
    try:
        taken = runs.take_over(ledger, run, invocation.owner, invocation.deadline, now)
    except runs.LostLease:
        log(Action.RUN_DUPLICATE_START, run=run.id, job=run.job, state=run.state)
        return None
    log(Action.RUN_TAKEN_OVER, run=run.id, job=run.job, fence=taken.fence, died=run.lease_until is not None)
    return taken


def _promote(ledger: Ledger, job: Job, run: RunRecord, invocation: Invocation, now: datetime) -> RunRecord | None:
    record = ledger.job(job.name)
    if record.queued != run.id or _busy(ledger, record):
        return None
    leased = replace(
        run,
        state=RunState.ENUMERATING,
        owner=invocation.owner,
        fence=run.fence + 1,
        lease_until=invocation.deadline,
        enumerations=1,
        progressed_at=now,
    )
    runs.promote(ledger, leased, record)
    log(Action.RUN_STARTED, run=run.id, job=job.name, waited=True)
    return leased


def _redrive(
    ledger: Ledger, job: Job, run: RunRecord, request: Again, invocation: Invocation, now: datetime
) -> RunRecord:
    record = ledger.job(job.name)
    objection = cannot_redrive(ledger, job, record, run, request.generation)
    if objection is not None:
        raise RollcallError(f"{run.id} cannot be redriven: {objection}")
    opened = replace(
        run,
        state=RunState.ENUMERATING,
        generation=run.generation + 1,
        started_at=now,
        owner=invocation.owner,
        fence=run.fence + 1,
        lease_until=invocation.deadline,
        enumerations=1,
        nonce=None,
        total=0,
        duplicates=0,
        checkpoint=0,
        window_end=0,
        progress=0,
        progressed_at=None,
        sent_at=None,
        reason=None,
        skip_reason=None,
        skipped_by=None,
        waits_for=None,
        completed_at=None,
        announced=False,
        keyed=job.target.keys is not None,
        redrive=request.redrive,
        past=(*run.past, Generation(run.nonce, run.total, run.started_at, run.sent)),
    )
    runs.redrive(ledger, run, opened, record)
    chosen = {**request.redrive.fields(), "keys": len(request.redrive.keys)}
    log(Action.RUN_REDRIVEN, run=run.id, job=job.name, generation=opened.generation, **chosen)
    return opened


def cannot_redrive(ledger: Ledger, job: Job, record: JobRecord, run: RunRecord, generation: int) -> str | None:
    """Return why `run`, as of its `generation`, cannot be redriven; None if it can."""
    if run.generation < generation:
        return f"it has no generation {generation}; its latest is {run.generation}"
    if not run.state.terminal:
        return f"it is {run.state}; wait until it has ended"
    if not run.announced:
        return "its end is not announced yet; try again in a minute"
    if run.state is RunState.SKIPPED and run.generations:
        return f"it was skipped ({run.reason}), and what follows needs the steps that found so; start the job again"
    if not run.generations:
        return f"it is {run.state} and has no manifest; start the job again"
    if job.overlap is not Overlap.ALLOW and record.current != run.id and _busy(ledger, record):
        return f"{record.current} is under way; wait until it has ended"
    return None
