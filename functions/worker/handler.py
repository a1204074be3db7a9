"""Entry point: a batch of messages of the job's queue."""

import asyncio
from functools import cached_property
from typing import Any

from functions._runtime import Context, Event, Runtime
from rollcall.adapters.http import TargetClient
from rollcall.core.errors import RollcallError
from rollcall.core.sizing import worker_sizing
from rollcall.engine.calling import Caller
from rollcall.engine.worker import Worker


class WorkerRuntime(Runtime):
    """An environment of a job's worker function: one event loop, one pool of connections."""

    @cached_property
    def runner(self) -> asyncio.Runner:
        return asyncio.Runner()

    @cached_property
    def target(self) -> TargetClient:
        location, target = self.settings.target, self.job.target
        if location is None:
            raise RollcallError(f"the target {target.name} is not bound in the environment {self.settings.environment}")
        return TargetClient(location, self.secrets, target.timeout, worker_sizing(self.job).width)

    @cached_property
    def worker(self) -> Worker:
        width = worker_sizing(self.job).width
        caller = Caller(self.job, self.target.send, self.secret, self.table, self.clock)
        return Worker(self.job, self.ledger, self.queue, caller, self.clock, self.random, width, self.new_token())


runtime = WorkerRuntime()


def handler(event: Event, context: Context) -> dict[str, Any]:
    """Handle a batch; answers with the messages that stay on the queue, as ReportBatchItemFailures expects.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    work = runtime.worker.handle(event["Records"], runtime.deadline(context))
    return {"batchItemFailures": [{"itemIdentifier": name} for name in runtime.runner.run(work)]}
