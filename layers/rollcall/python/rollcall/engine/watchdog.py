"""The watchdog, every minute: goes on with runs that wait for a dispatcher, and heals and reports the others."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from rollcall.adapters import counting, runs
from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger import Ledger, job_key, job_record
from rollcall.core.actions import Action, log
from rollcall.core.clock import Clock
from rollcall.core.job import Job
from rollcall.core.run import OPEN, JobRecord, RunRecord, RunState
from rollcall.engine.completion import Announcer
from rollcall.engine.progress import unfinished, unsettled


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Looks after every open run of the jobs."""

    jobs: Iterable[Job]
    ledger: Ledger
    functions: Functions
    announcer: Announcer
    clock: Clock

    def look(self) -> None:
        """One round over all jobs."""
        jobs = {job.name: job for job in self.jobs}
        items = self.ledger.items(job_key(name) for name in jobs)
        for name, job in jobs.items():
            record = job_record(name, items.get(job_key(name), {}))
            for run in self.ledger.runs(record.open).values():
                self._look_after(job, run)
            self._start_queued(record)

    def _look_after(self, job: Job, run: RunRecord) -> None:
        now = self.clock.now()
        if run.state.terminal:
            self._end(run)
            return
        if now > run.scheduled_for + job.deadline:
            log(Action.RUN_OVERDUE, logging.ERROR, run=run.id, job=run.job, state=run.state, deadline=str(job.deadline))
        if run.state in {RunState.ENUMERATING, RunState.DISPATCHING} and not run.leased(now):
            died = run.lease_until is not None
            if died or run.state is RunState.ENUMERATING or self._has_room(job, run):
                self.functions.resume(run.job, run.id)
        if run.state in OPEN:
            self._heal(run)

    def _end(self, run: RunRecord) -> None:
        if not run.announced:
            self.announcer.announce(run.id)
        else:
            runs.close(self.ledger, run.job, run.id)

    def _has_room(self, job: Job, run: RunRecord) -> bool:
        """Whether a top-up is worth an invocation: a tenth of the window, or all that is left."""
        room = job.window - unsettled(self.ledger, run)
        return room >= min(job.window // 10, run.total - run.checkpoint)

    def _heal(self, run: RunRecord) -> None:
        """Climb again from full nodes that their parents do not know of: whoever filled one may have died."""
        for node, record in unfinished(self.ledger, run):
            if record.full(run.tree.expected(node)):
                log(Action.RUN_HEALED, logging.WARNING, run=run.id, level=node.level, number=node.number)
                counting.count(self.ledger, run, node, record, self.clock.now())

    def _start_queued(self, record: JobRecord) -> None:
        if record.queued is None or record.current is None:
            return
        holder = self.ledger.run(record.current)
        if holder is None or holder.state.terminal:
            self.functions.resume(record.name, record.queued)
