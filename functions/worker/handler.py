"""Entry point for the job's queue: a message batch."""

from functools import cached_property
from typing import Any

from functions._calling import CallingRuntime
from functions._runtime import Context, Event, guarded
from rollcall.engine.worker.worker import Worker


class WorkerRuntime(CallingRuntime):
    """The runtime of a job's worker function."""

    @cached_property
    def worker(self) -> Worker:
        return self.worker_with(self.queue)


runtime = WorkerRuntime()


@guarded
def handler(event: Event, context: Context) -> dict[str, Any]:
    """Handle a message batch; return the messages that stay on the queue.

    The answer is the one that ReportBatchItemFailures expects:
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    work = runtime.worker.handle(event["Records"], runtime.deadline(context))
    return {"batchItemFailures": [{"itemIdentifier": name} for name in runtime.runner.run(work)]}
