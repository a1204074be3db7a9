"""The watchdog, every minute: goes on with runs that wait for a dispatcher, and heals and reports the others."""

import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from rollcall.adapters import counting, runs
from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger import Ledger
from rollcall.adapters.queue import Queues
from rollcall.core.actions import Action, log
from rollcall.core.clock import Clock
from rollcall.core.job import Job
from rollcall.core.run import OPEN, JobRecord, RunRecord, RunState
from rollcall.core.sizing import window
from rollcall.engine.cancelling import cancel_unsent
from rollcall.engine.completion import Announcer
from rollcall.engine.progress import unfinished, unsettled
from rollcall.engine.repairing import ask_for_repair


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Looks after every open run of the jobs."""

    jobs: Iterable[Job]
    ledger: Ledger
    functions: Functions
    announcer: Announcer
    clock: Clock
    #: Where lost messages are seen; None: nobody looks for them.
    queues: Queues | None = None

    def look(self) -> None:
        """One round over all jobs. What fails keeps nothing else from being looked after, and is raised at the end."""
        failures: list[Exception] = []
        for job in self.jobs:
            steps: list[Callable[[], None]] = []
            try:
                steps = self._steps(job)
            except Exception as error:
                failures.append(error)
            for step in steps:
                try:
                    step()
                except Exception as error:
                    failures.append(error)
        if failures:
            raise ExceptionGroup(f"{len(failures)} steps of the watchdog failed", failures)

    def _steps(self, job: Job) -> list[Callable[[], None]]:
        """One for each open run of the job, one for the messages of all of them, and one for its queued run."""
        record = self.ledger.job(job.name)
        open_runs = self.ledger.runs(record.open).values()
        steps = [partial(self._look_after, job, run, open_runs) for run in open_runs]
        return [*steps, partial(self._count_messages, open_runs), partial(self._start_queued, record)]

    def _look_after(self, job: Job, run: RunRecord, open_runs: Collection[RunRecord]) -> None:
        now = self.clock.now()
        if run.state.terminal:
            self._end(run)
            return
        due = run.scheduled_for if run.generation == 1 else run.started_at
        if now > due + job.deadline:
            log(Action.RUN_OVERDUE, logging.ERROR, run=run.id, job=run.job, state=run.state, deadline=str(job.deadline))
        if run.state in {RunState.ENUMERATING, RunState.DISPATCHING} and not run.leased(now):
            died = run.lease_until is not None
            if died or run.state is RunState.ENUMERATING or self._has_room(job, run, open_runs):
                self.functions.resume(run.job, run.id)
        if run.state is RunState.CANCELLING:
            cancel_unsent(self.ledger, run, self.clock)
        if run.state in OPEN or run.state is RunState.CANCELLING:
            self._heal(run)

    def _end(self, run: RunRecord) -> None:
        if not run.announced:
            with suppress(runs.Claimed):
                self.announcer.announce(run.id)
        else:
            with suppress(runs.Conflict):  # redriven just now, or to be closed in the next round
                runs.close(self.ledger, run)

    def _has_room(self, job: Job, run: RunRecord, open_runs: Collection[RunRecord]) -> bool:
        """Whether a top-up is worth an invocation: a tenth of the job's window and a chunk, or all that is left."""
        most = window(job)
        room = most - sum(unsettled(self.ledger, each) for each in open_runs)
        return room >= min(max(most // 10, run.chunk_size), run.total - run.checkpoint)

    def _heal(self, run: RunRecord) -> None:
        """Climb again from full nodes that their parents do not know of: whoever filled one may have died."""
        for node, record in unfinished(self.ledger, run):
            if record.full(run.tree.expected(node)):
                log(Action.RUN_HEALED, logging.WARNING, run=run.id, level=node.level, number=node.number)
                counting.count(self.ledger, run, node, record, self.clock.now())

    def _count_messages(self, open_runs: Collection[RunRecord]) -> None:
        if self.queues is not None:
            ask_for_repair(self.ledger, self.queues, self.functions, open_runs, self.clock.now())

    def _start_queued(self, record: JobRecord) -> None:
        if record.queued is None or record.current is None:
            return
        holder = self.ledger.run(record.current)
        if holder is None or holder.state.terminal:
            self.functions.resume(record.name, record.queued)
