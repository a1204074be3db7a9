"""Reports on open runs, logged in every round of the watchdog; metrics are made of them."""

import logging
from datetime import datetime, timedelta

from rollcall.adapters.ledger import runs
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.actions import Action, log
from rollcall.core.job import Job
from rollcall.core.run import RunRecord, RunState
from rollcall.core.values import counted
from rollcall.engine.runs.progress import Tally

#: Time without progress before a run is reported; longer than all its enumerations together may take.
STALLED_AFTER = timedelta(hours=1)


def report_overdue(job: Job, run: RunRecord, now: datetime) -> None:
    """Log a run that has not ended by its deadline, counted from its due time."""
    due = run.scheduled_for if run.generation == 1 else run.started_at
    if now > due + job.deadline:
        log(Action.RUN_OVERDUE, logging.ERROR, run=run.id, job=run.job, state=run.state, deadline=str(job.deadline))


def report_unsealed(run: RunRecord, now: datetime) -> None:
    """Log a run whose enumeration has not sealed a manifest within STALLED_AFTER."""
    idle = _idle(run, now)
    if run.state is RunState.ENUMERATING and idle > STALLED_AFTER:
        log(Action.RUN_UNSEALED, logging.ERROR, run=run.id, job=run.job, enumerations=run.enumerations, idle=str(idle))


def report_progress(run: RunRecord, found: Tally, now: datetime) -> None:
    """Log the progress of a sealed run, and the age of its oldest unsettled entry."""
    log(
        Action.RUN_PROGRESS,
        run=run.id,
        job=run.job,
        settled=found.settled,
        total=run.total,
        held=found.held + found.asking,
        oldest_seconds=round((now - run.started_at).total_seconds()) if found.settled < run.total else 0,
    )


def report_breaker(ledger: Ledger, job: Job, now: datetime) -> None:
    """Log an open circuit breaker, and how long it has been open."""
    target = ledger.target(job.target.name)
    if target.opened_at is not None:
        open_for = round((now - target.opened_at).total_seconds())
        log(Action.BREAKER_OPEN, job=job.name, target=target.name, open_seconds=open_for)


def report_stalled(ledger: Ledger, run: RunRecord, found: Tally, now: datetime) -> None:
    """Record the progress of a sealed run; log a run without progress for STALLED_AFTER."""
    if found.settled != run.progress:
        runs.note_progress(ledger, run, found.settled, now)
        return
    stuck, idle = _stuck(run, found), _idle(run, now)
    if stuck > 0 and idle > STALLED_AFTER:
        log(
            Action.RUN_STALLED,
            logging.ERROR,
            run=run.id,
            job=run.job,
            state=run.state,
            idle=str(idle),
            stuck=counted(stuck, "entry"),
            held=found.held + found.asking,
            settled=found.settled,
            total=run.total,
        )


def _stuck(run: RunRecord, found: Tally) -> int:
    """Count the entries that should progress: those on the queue that are not held.

    If no entry is on the queue, the unsent ones are counted.
    """
    on_queue = (run.total if run.state is RunState.CANCELLING else run.sent) - found.settled
    return on_queue - found.held - found.asking if on_queue > 0 else run.total - found.settled


def _idle(run: RunRecord, now: datetime) -> timedelta:
    return now - (run.progressed_at or run.started_at)
