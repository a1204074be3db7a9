"""Missed occurrences: scheduled runs that never started and can no longer start."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from rollcall.adapters.ledger import runs
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.actions import Action, log
from rollcall.core.job import Job
from rollcall.core.run import JobRecord, RunRecord, RunState, run_id
from rollcall.core.schedule import Schedule
from rollcall.core.sizing import LATEST_START
from rollcall.core.values import digest

#: Occurrences that one round checks, and missed runs that it records, for one job; the next round continues.
MOST_OCCURRENCES = 100
MOST_MISSED = 25
#: Look-back after a job was undeclared for longer, to bound its missed runs.
LONGEST_LOOK_BACK = timedelta(days=7)
REASON = "no start of it ever came; see whether its schedule is on, and the starts that were not delivered"


def mark_missed(ledger: Ledger, job: Job, record: JobRecord, now: datetime) -> None:
    """Record a run in the state `missed` for each occurrence without one.

    A late start is then refused. Skipped and refused occurrences have a run. Occurrences before the first round that
    saw the schedule are not missed.
    """
    schedule = _named(job.schedule)
    if record.watched_until is None or record.watched_schedule != schedule:
        runs.watch(ledger, job.name, schedule, now)
        return
    after = max(record.watched_until, now - LONGEST_LOOK_BACK) + timedelta.resolution
    due = islice(job.schedule.occurrences(after, now - LATEST_START), MOST_OCCURRENCES)
    occurrences = {run_id(job.name, moment): moment for moment in due}
    if not occurrences:
        return
    present = ledger.runs(occurrences)
    missed = {name: moment for name, moment in occurrences.items() if name not in present}
    for name, moment in islice(missed.items(), MOST_MISSED):
        if not _miss(ledger, record, _missed(job, name, moment, now)):
            return
        record = replace(record, watched_until=moment)
    if len(missed) <= MOST_MISSED and record.watched_until != (last := max(occurrences.values())):
        runs.watched(ledger, record, last)


def _named(schedule: Schedule) -> str:
    """Return a digest that differs between schedules."""
    tick = None if schedule.tick is None else schedule.tick.total_seconds()
    return digest([[*schedule.crons], schedule.timezone, tick])


def _missed(job: Job, name: str, moment: datetime, now: datetime) -> RunRecord:
    return RunRecord(
        id=name,
        job=job.name,
        state=RunState.MISSED,
        scheduled_for=moment,
        started_at=now,
        enumerations=0,
        reason=REASON,
        completed_at=now,
    )


def _miss(ledger: Ledger, record: JobRecord, run: RunRecord) -> bool:
    try:
        runs.miss(ledger, run, record)
    except runs.Conflict:
        return False  # the run started after all, or another watchdog was faster; the next round checks again
    log(Action.RUN_MISSED, logging.ERROR, run=run.id, job=run.job, scheduled_for=run.scheduled_for.isoformat())
    return True
