"""The watchdog: every minute, resume waiting runs, repair and report the others."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger import chunk_updates, runs
from rollcall.adapters.ledger.records import Ledger, NodeRecord
from rollcall.adapters.queue import Queues
from rollcall.core.actions import Action, log
from rollcall.core.clock import Clock
from rollcall.core.job import Job
from rollcall.core.run import OPEN, JobRecord, RunRecord, RunState
from rollcall.core.sizing import window
from rollcall.core.tree import Node
from rollcall.engine.fan_out.batch_start import ask_for_batches
from rollcall.engine.fan_out.repair import ask_for_repair
from rollcall.engine.runs.cancellation import cancel_awaited, cancel_unsent
from rollcall.engine.runs.completion import Announcer
from rollcall.engine.runs.progress import tally, unfinished, unsettled
from rollcall.engine.watchdog.missed_runs import mark_missed
from rollcall.engine.watchdog.run_health import (
    report_breaker,
    report_overdue,
    report_progress,
    report_stalled,
    report_unsealed,
)


@dataclass(frozen=True, slots=True)
class Watchdog:
    """The watchdog over the open runs of all jobs."""

    jobs: Iterable[Job]
    ledger: Ledger
    functions: Functions
    announcer: Announcer
    clock: Clock
    #: The queues to check for lost messages; None to skip the check.
    queues: Queues | None = None
    #: True if schedules start the jobs here, so that an occurrence may be missed.
    schedules: bool = False

    def look(self) -> None:
        """Make one round over all jobs.

        An error in one step does not prevent the others. All errors are raised together at the end.
        """
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
        log(Action.WATCHDOG_ROUND)

    def _steps(self, job: Job) -> list[Callable[[], None]]:
        """Return the steps for a job: one per open run, then queue, queued run, schedule, target."""
        record = self.ledger.job(job.name)
        open_runs = self.ledger.runs(record.open).values()
        steps = [partial(self._look_after, job, run, open_runs) for run in open_runs]
        steps += [partial(self._find_lost, job, open_runs), partial(self._start_queued, job, record)]
        return [*steps, partial(self._look_at_schedule, job, record), partial(self._look_at_target, job, open_runs)]

    def _look_after(self, job: Job, run: RunRecord, open_runs: Collection[RunRecord]) -> None:
        now = self.clock.now()
        if run.state.terminal:
            self._end(run)
            return
        report_overdue(job, run, now)
        report_unsealed(run, now)
        if run.state in {RunState.ENUMERATING, RunState.DISPATCHING} and not run.leased(now):
            # In-doubt entries use the window, and only a dispatcher can resolve them.
            in_doubt = run.window_end > run.checkpoint
            must = _died(run, now) or in_doubt or run.state is RunState.ENUMERATING
            if must or self._has_room(job, run, open_runs, now):
                self.functions.resume(run.job, run.id)
        if run.state is RunState.CANCELLING:
            cancel_awaited(self.ledger, run, self.clock)
            cancel_unsent(self.ledger, run, self.clock)
        if run.state in OPEN or run.state is RunState.CANCELLING:
            found = tally(run, self._healed(run))
            report_progress(run, found, now)
            if not self._awaits(run):
                report_stalled(self.ledger, run, found, now)

    def _awaits(self, run: RunRecord) -> bool:
        """Return whether a pipeline's run waits for another run, which has its own step."""
        awaited = self.ledger.run(run.waits_for) if run.waits_for is not None else None
        return awaited is not None and not awaited.state.terminal

    def _end(self, run: RunRecord) -> None:
        if not run.announced:
            with suppress(runs.Claimed):
                self.announcer.announce(run.id)
        else:
            with suppress(runs.Conflict):  # redriven meanwhile, or closed in the next round
                runs.close(self.ledger, run)

    def _has_room(self, job: Job, run: RunRecord, open_runs: Collection[RunRecord], now: datetime) -> bool:
        """Return whether a top-up is worth an invocation.

        It is if the room is a tenth of the job's window and at least a chunk, or all the run still needs. Of several
        dispatching runs, only the earliest is topped up, because dispatchers that open windows at the same moment
        would all step back. A run whose dispatcher died is not waited for.
        """
        dispatching = [each for each in open_runs if each.state is RunState.DISPATCHING and not _died(each, now)]
        if run != min(dispatching, key=lambda each: (each.started_at, each.id)):
            return False
        most = window(job)
        room = most - sum(unsettled(self.ledger, each) for each in open_runs)
        return room >= min(max(most // 10, run.chunk_size), run.total - run.checkpoint)

    def _healed(self, run: RunRecord) -> Iterator[tuple[Node, NodeRecord]]:
        """Yield the run's unfinished nodes, and propagate full nodes to their parents again.

        The worker that filled a node may have died before that.
        """
        for node, record in unfinished(self.ledger, run):
            if record.full(run.tree.expected(node)):
                log(Action.RUN_HEALED, logging.WARNING, run=run.id, level=node.level, number=node.number)
                chunk_updates.count(self.ledger, run, node, record, self.clock.now())
            yield node, record

    def _find_lost(self, job: Job, open_runs: Collection[RunRecord]) -> None:
        if job.delivery is not None:
            ask_for_batches(self.ledger, self.functions, open_runs, self.clock.now())
        elif self.queues is not None:
            ask_for_repair(self.ledger, self.queues, self.functions, open_runs, self.clock.now())

    def _start_queued(self, job: Job, record: JobRecord) -> None:
        if record.queued is None or record.current is None:
            return
        found = self.ledger.runs([record.queued, record.current])
        if record.queued in found:
            report_overdue(job, found[record.queued], self.clock.now())
        if record.current not in found or found[record.current].state.terminal:
            self.functions.resume(record.name, record.queued)

    def _look_at_schedule(self, job: Job, record: JobRecord) -> None:
        if self.schedules:
            mark_missed(self.ledger, job, record, self.clock.now())
        elif record.watched_until is not None:
            runs.unwatch(self.ledger, job.name)

    def _look_at_target(self, job: Job, open_runs: Collection[RunRecord]) -> None:
        if any(run.state in OPEN for run in open_runs):
            report_breaker(self.ledger, job, self.clock.now())


def _died(run: RunRecord, now: datetime) -> bool:
    """Return whether a fan-out died while it worked on the run."""
    return run.lease_until is not None and not run.leased(now)
