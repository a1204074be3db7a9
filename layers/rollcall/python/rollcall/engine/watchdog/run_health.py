"""How open runs stand, and what keeps them: told in every round of the watchdog, for metrics to be made of it."""

import logging
from datetime import datetime, timedelta

from rollcall.adapters.ledger import runs
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.actions import Action, log
from rollcall.core.job import Job
from rollcall.core.run import RunRecord, RunState
from rollcall.core.values import counted
from rollcall.engine.runs.progress import Tally

#: Longer than all enumerations of a run that die one after another may take.
STALLED_AFTER = timedelta(hours=1)


def report_overdue(job: Job, run: RunRecord, now: datetime) -> None:
    """Tell of a run that has not ended by its deadline, which counts from when it was due."""
    due = run.scheduled_for if run.generation == 1 else run.started_at
    if now > due + job.deadline:
        log(Action.RUN_OVERDUE, logging.ERROR, run=run.id, job=run.job, state=run.state, deadline=str(job.deadline))


def report_unsealed(run: RunRecord, now: datetime) -> None:
    """Tell of a run that is still being enumerated after an hour."""
    idle = _idle(run, now)
    if run.state is RunState.ENUMERATING and idle > STALLED_AFTER:
        log(Action.RUN_UNSEALED, logging.ERROR, run=run.id, job=run.job, enumerations=run.enumerations, idle=str(idle))


def report_progress(run: RunRecord, found: Tally, now: datetime) -> None:
    """Tell how far a sealed run has come, and for how long its oldest entry that is not settled has waited."""
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
    """Tell of a breaker that is open, and since when."""
    target = ledger.target(job.target.name)
    if target.opened_at is not None:
        open_for = round((now - target.opened_at).total_seconds())
        log(Action.BREAKER_OPEN, job=job.name, target=target.name, open_seconds=open_for)


def report_stalled(ledger: Ledger, run: RunRecord, found: Tally, now: datetime) -> None:
    """Note how far a sealed run has come, and tell of one of which nothing was settled for an hour."""
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
    """Entries that should get on: those on the queue that are not held or, if there are none, those yet to be sent."""
    on_queue = (run.total if run.state is RunState.CANCELLING else run.sent) - found.settled
    return on_queue - found.held - found.asking if on_queue > 0 else run.total - found.settled


def _idle(run: RunRecord, now: datetime) -> timedelta:
    return now - (run.progressed_at or run.started_at)
