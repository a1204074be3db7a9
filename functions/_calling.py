"""What the functions that call a job's callback share."""

import asyncio
from functools import cached_property

from functions._runtime import Runtime
from rollcall.adapters.http import TargetClient
from rollcall.core.errors import RollcallError
from rollcall.core.sizing import worker_sizing
from rollcall.engine.calling import Caller
from rollcall.engine.worker import Waits, Worker


class CallingRuntime(Runtime):
    """An environment of a function that calls: one event loop, one pool of connections."""

    @cached_property
    def runner(self) -> asyncio.Runner:
        return asyncio.Runner()

    @cached_property
    def target(self) -> TargetClient:
        location, target = self.settings.target, self.job.target
        if location is None:
            raise RollcallError(f"the target {target.name} is not bound in the environment {self.settings.environment}")
        return TargetClient(location, self.secrets, target.timeout, worker_sizing(self.job).width)

    def worker_with(self, waits: Waits) -> Worker:
        """The job's worker, which puts off into `waits`."""
        width = worker_sizing(self.job).width
        caller = Caller(self.job, self.target.send, self.secret, self.table, self.clock)
        return Worker(self.job, self.ledger, waits, caller, self.clock, self.random, width, self.new_token())
