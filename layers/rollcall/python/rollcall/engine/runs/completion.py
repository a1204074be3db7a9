"""Completion: announce the end of a run and let a queued run start."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from rollcall.adapters.bus import Bus
from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger import pipeline_waiters, runs
from rollcall.adapters.ledger.pipeline_waiters import TaskTokens
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.actions import Action, log
from rollcall.core.clock import Clock
from rollcall.core.errors import class_and_place
from rollcall.core.job import Hook
from rollcall.core.run import RunCompleted, RunRecord
from rollcall.engine.runs.progress import outcomes


@dataclass(frozen=True, slots=True)
class Announcer:
    """Announcer of ended runs, on the bus, to waiting pipelines and to the job's hook.

    The stream handler and the watchdog both use it. A leased claim lets only one of them act at a time.
    """

    ledger: Ledger
    bus: Bus
    functions: Functions
    #: The `on_complete` of a job that is still declared, else None.
    hook_of: Callable[[str], Hook | None]
    clock: Clock
    #: Unique to the invocation.
    owner: str
    #: Answers waiting pipelines; None if there are none.
    tokens: TaskTokens | None = None

    def announce(self, run_id: str) -> RunCompleted | None:
        """Announce the end of a run; return None if it has not ended or was announced before.

        Raises Claimed while another invocation holds the claim. Try again later, in case that invocation dies.
        """
        run = self.ledger.run(run_id)
        if run is None or not run.state.terminal or run.announced:
            return None
        runs.claim_announcement(self.ledger, run, self.owner, self.clock.now())
        try:
            ended = completed(self.ledger, run, self.clock.now())
            self.bus.announce(ended)
            self._answer(ended)
        except BaseException:
            runs.give_up_announcement(self.ledger, run, self.owner)
            raise
        self._call_hook(ended)
        if ended.clean and run.keeps:
            runs.remember_kept(self.ledger, run.job, {**self.ledger.job(run.job).kept, **run.keeps})
        self._count(run, ended)
        self._after(run)
        return ended

    def _answer(self, ended: RunCompleted) -> None:
        """Answer the pipelines that wait for this generation of the run."""
        found = pipeline_waiters.of(self.ledger, ended.run) if self.tokens is not None else None
        if self.tokens is not None and found is not None and found.generation <= ended.generation:
            for token in sorted(found.tokens):
                self.tokens.answer(token, ended)

    def _call_hook(self, completed: RunCompleted) -> None:
        """Call the job's hook; log its failure, which does not change the end of the run."""
        hook = self.hook_of(completed.job)
        if hook is None:
            return
        try:
            hook(completed)
        except Exception as error:
            about = {"run": completed.run, "job": completed.job}
            log(Action.HOOK_FAILED, logging.ERROR, **about, reason=class_and_place(error))

    def _count(self, run: RunRecord, completed: RunCompleted) -> None:
        """Log the line that metrics are made of, then mark the run as announced.

        The line is logged at least once. If another invocation has taken over the claim, that one logs it.
        """
        with suppress(runs.Claimed):
            runs.claim_announcement(self.ledger, run, self.owner, self.clock.now())
            log(Action.RUN_ANNOUNCED, **completed.detail())
            runs.note_announced(self.ledger, run, self.owner, self.clock.now())

    def _after(self, run: RunRecord) -> None:
        with suppress(runs.Conflict):  # the watchdog closes the run later
            runs.close(self.ledger, run)
        queued = self.ledger.job(run.job).queued
        if queued is not None:
            self.functions.resume(run.job, queued)


def completed(ledger: Ledger, run: RunRecord, now: datetime) -> RunCompleted:
    """Return the announcement of a run that has ended."""
    return RunCompleted(
        run=run.id,
        job=run.job,
        generation=run.generation,
        state=run.state,
        scheduled_for=run.scheduled_for,
        started_at=run.started_at,
        completed_at=run.completed_at or now,
        total=run.total,
        outcomes=outcomes(ledger, run),
        duplicates=run.duplicates,
        reason=run.reason,
    )
