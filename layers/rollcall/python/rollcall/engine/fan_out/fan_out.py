"""Fan-out: start, enumerate, seal, dispatch.

After a crash at any line, another invocation takes the run over.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rollcall.adapters.executions import Executions
from rollcall.adapters.ledger import runs
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.adapters.queue import Queue
from rollcall.core.actions import Action, log
from rollcall.core.buckets import Objects, no_buckets
from rollcall.core.clock import Clock
from rollcall.core.entry import ManifestEntry
from rollcall.core.errors import RollcallError, SourceError
from rollcall.core.job import Job
from rollcall.core.pipeline import Pipeline
from rollcall.core.redaction import Redact, unredacted
from rollcall.core.run import Record, Redrive, Run, RunRecord, RunState
from rollcall.core.sizing import window
from rollcall.core.tables import Items
from rollcall.core.target import Bucket, Report, Table
from rollcall.engine.fan_out.batch_start import repair_batches, start_batches
from rollcall.engine.fan_out.dispatch import SAFETY, Dispatch, Sender
from rollcall.engine.fan_out.enumeration import enumerate_entries, source_lines, too_short
from rollcall.engine.fan_out.redrive import redriven
from rollcall.engine.fan_out.repair import repair
from rollcall.engine.fan_out.run_lease import MOST_ENUMERATIONS, Invocation, Repair, Request, take


@dataclass(frozen=True, slots=True)
class FanOut:
    """The fan-out of one job, with the services it needs."""

    job: Job
    ledger: Ledger
    manifests: Manifests
    #: None if the job is delivered in batches; then `executions` is set.
    queue: Queue | None
    #: Readers for the records of a report and the text of a secret, as bound in this environment.
    read: Callable[[Report], Iterator[Record]]
    secret: Callable[[str], str]
    #: Reader for the items of a table that the job needs.
    table: Callable[[Table], Items]
    clock: Clock
    #: Returns a text unique to each enumeration, which names the folder of its manifest.
    new_nonce: Callable[[], str]
    executions: Executions | None = None
    bucket: Callable[[Bucket], Objects] = no_buckets
    #: Removes the secrets in use from a refusal.
    redact: Redact = unredacted

    def handle(self, request: Request, invocation: Invocation) -> RunRecord | None:
        """Advance the requested run as far as this invocation can, and return it.

        Returns None if this invocation may not work on the run. On an error, the lease is given up, so that another
        invocation can take over at once, and the error is raised.
        """
        if isinstance(request, Repair):
            return self._repair(request, invocation)
        run = take(self.ledger, self.job, request, invocation, self.clock)
        if run is None:
            return None
        try:
            if run.state is RunState.ENUMERATING:
                run = self._seal(run)
                if run.state is not RunState.DISPATCHING:
                    return run
            return self._deliver(run)
        except runs.LostLease as lost:
            return lost.run
        except BaseException:
            runs.expire(self.ledger, run, self.clock.now())
            raise

    def _deliver(self, run: RunRecord) -> RunRecord:
        if self.job.delivery is not None:
            return start_batches(self.job.delivery, self.ledger, self._executions, run, self.clock)
        return Dispatch(self.job, self.ledger, self._sender, self.clock, window(self.job)).go_on(run)

    def _repair(self, request: Repair, invocation: Invocation) -> RunRecord | None:
        if self.job.delivery is not None:
            batches = self.job.delivery
            return repair_batches(batches, self.ledger, self._executions, request.run, invocation, self.clock)
        return repair(self.ledger, self._sender, request.run, invocation, self.clock)

    @property
    def _sender(self) -> Sender:
        if self.queue is None:
            raise RollcallError(f"{self.job.name} has no queue here; deploy its stack again")
        return Sender(self.ledger, self.manifests, self.queue, self.clock)

    @property
    def _executions(self) -> Executions:
        if self.executions is None:
            raise RollcallError(f"{self.job.name} has no state machine here; deploy its stack again")
        return self.executions

    def _seal(self, run: RunRecord) -> RunRecord:
        if run.enumerations > MOST_ENUMERATIONS:
            return self._refuse(run, f"its enumeration died {MOST_ENUMERATIONS} times; see the logs of this function")
        try:
            found = enumerate_entries(
                self.job, run, self._lines(run), self.manifests, self.new_nonce(), lambda: self._late(run)
            )
        except SourceError as error:
            return self._refuse(run, str(error))
        excess = self.job.delivery.too_many(found.total) if self.job.delivery is not None else None
        if excess is not None:
            return self._refuse(run, excess)
        if run.generation == 1:
            objection = too_short(self.job, found.total, self.ledger.job(run.job).last_total)
            if objection is not None:
                return self._refuse(run, objection)
        sealed = runs.seal(
            self.ledger, run, self.clock.now(), nonce=found.nonce, total=found.total, duplicates=found.duplicates
        )
        log(Action.RUN_SEALED, run=run.id, job=run.job, total=found.total, duplicates=found.duplicates)
        if run.generation == 1:
            runs.remember_total(self.ledger, run.job, found.total)
        if sealed.state is RunState.COMPLETE:
            log(Action.RUN_COMPLETE, run=run.id, job=run.job, generation=run.generation, total=found.total)
        return sealed

    def _lines(self, run: RunRecord) -> Iterator[ManifestEntry]:
        """Return the manifest lines of this generation."""
        if run.redrive is not None:
            # A choice among a pipeline's steps would leave out the steps that depend on them.
            redrive = Redrive() if isinstance(self.job, Pipeline) else run.redrive
            return redriven(self.job, self.ledger, self.manifests, run, redrive)
        reach = (self.read, self.secret, self.table, self.bucket)
        return source_lines(self.job, Run(run.id, run.job, run.scheduled_for, run.generation, run.params, *reach))

    def _refuse(self, run: RunRecord, reason: str) -> RunRecord:
        reason = " ".join(self.redact(reason).split())
        refused = runs.refuse(self.ledger, run, self.clock.now(), reason)
        log(Action.RUN_REFUSED, run=run.id, job=run.job, reason=reason)
        return refused

    def _late(self, run: RunRecord) -> bool:
        return run.lease_until is None or self.clock.now() >= run.lease_until - SAFETY
