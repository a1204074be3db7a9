"""Entry point for the job's state machine: one batch of a run, or one step of a pipeline."""

from functools import cached_property
from typing import Any

from functions._calling import CallingRuntime
from functions._logs import IN_USE
from functions._runtime import Context, Event, guarded
from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger.pipeline_waiters import TaskTokens
from rollcall.core.errors import DeclarationError
from rollcall.core.job import Job
from rollcall.core.pipeline import Pipeline
from rollcall.engine.batch.batch_handler import Slice, SliceHandler, Waits
from rollcall.engine.batch.pipeline_steps import StepHandler, Wanted


class BatchRuntime(CallingRuntime):
    """The runtime of a job's batch function."""

    @cached_property
    def slices(self) -> SliceHandler:
        return self.slices_of(self.job)

    @cached_property
    def steps(self) -> StepHandler | None:
        """The handler of steps; None if the job is no pipeline."""
        if not isinstance(self.job, Pipeline):
            return None
        functions = Functions(self.clients.lambda_, self.settings.environment)
        tokens = TaskTokens(self.clients.stepfunctions)
        return StepHandler(
            self.job,
            self.ledger,
            self.manifests,
            self.slices_of,
            functions,
            tokens,
            self.clock,
            IN_USE.redacted,
        )

    def slices_of(self, job: Job) -> SliceHandler:
        if job.delivery is None:
            raise DeclarationError(f"job {job.name} is delivered by a queue, not in batches; deploy it again")
        waits = Waits()
        return SliceHandler(job.delivery, self.ledger, self.manifests, self.worker_with(waits, job), waits, self.clock)


runtime = BatchRuntime()


@guarded
def handler(event: Event, context: Context) -> dict[str, Any]:
    """Handle a batch or a step; return whether to handle it again, and after which wait."""
    owner, deadline = runtime.new_token(), runtime.deadline(context)
    if runtime.steps is not None:
        handled = runtime.steps.handle(Wanted.of(event), owner, deadline)
    else:
        handled = runtime.slices.handle(Slice.of(event), owner, deadline)
    return runtime.runner.run(handled).fields()
