"""The runtime shared by functions that call a job's callback."""

import asyncio
from functools import cached_property

from functions._logs import IN_USE
from functions._runtime import Runtime
from rollcall.adapters.http.client import TargetClient
from rollcall.core.call import Request, Response
from rollcall.core.errors import RollcallError
from rollcall.core.job import Job
from rollcall.core.sizing import worker_sizing
from rollcall.engine.worker.callback import Caller
from rollcall.engine.worker.worker import Waits, Worker


class CallingRuntime(Runtime):
    """The runtime of a function that makes calls: one event loop, one pool of connections."""

    @cached_property
    def runner(self) -> asyncio.Runner:
        return asyncio.Runner()

    @cached_property
    def target(self) -> TargetClient:
        location, target = self.settings.target, self.job.target
        if location is None:
            raise RollcallError(f"the target {target.name} is not bound in the environment {self.settings.environment}")
        sizing = worker_sizing(self.job)
        return TargetClient(location, self.secrets, target.timeout, sizing.width, sizing.answer_bytes)

    async def send(self, request: Request) -> Response:
        """Send a request to the job's target; raise RollcallError if it is not bound."""
        return await self.target.send(request)

    def worker_with(self, waits: Waits, job: Job | None = None) -> Worker:
        """Make a worker for `job`, by default the function's, that reports its waits to `waits`."""
        job = job or self.job
        width = worker_sizing(job).width
        caller = Caller(job, self.send, self.secret, self.table, self.clock, self.bucket, IN_USE.redacted)
        return Worker(job, self.ledger, waits, caller, self.clock, self.random, width, self.new_token())
