"""Entry point: one slice of a run's manifest, from the job's state machine."""

from functools import cached_property
from typing import Any

from functions._calling import CallingRuntime
from functions._runtime import Context, Event
from rollcall.core.errors import DeclarationError
from rollcall.engine.slices import Slice, SliceHandler, Waits


class BatchRuntime(CallingRuntime):
    """An environment of a job's batch function."""

    @cached_property
    def slices(self) -> SliceHandler:
        if self.job.delivery is None:
            raise DeclarationError(f"job {self.job.name} is delivered by a queue, not in batches; deploy it again")
        waits = Waits()
        return SliceHandler(self.job.delivery, self.ledger, self.manifests, self.worker_with(waits), waits, self.clock)


runtime = BatchRuntime()


def handler(event: Event, context: Context) -> dict[str, Any]:
    """Handle a slice; answers whether it is to be handled again, and after which wait."""
    handled = runtime.slices.handle(Slice.of(event), runtime.new_token(), runtime.deadline(context))
    return runtime.runner.run(handled).fields()
