"""The runtime shared by functions that announce ends of runs."""

from functools import cached_property

from functions._runtime import Runtime
from rollcall.adapters.bus import Bus
from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger.pipeline_waiters import TaskTokens
from rollcall.core.catalog import catalog
from rollcall.core.job import Hook
from rollcall.engine.runs.completion import Announcer


class AnnouncingRuntime(Runtime):
    """The runtime of a function that announces ends of runs."""

    @cached_property
    def functions(self) -> Functions:
        return Functions(self.clients.lambda_, self.settings.environment)

    @cached_property
    def bus(self) -> Bus:
        return Bus(self.clients.events, self.settings.bus)

    def hook_of(self, job: str) -> Hook | None:
        declared = catalog().get(job)
        return declared.job.hook if declared is not None else None

    @property
    def announcer(self) -> Announcer:
        tokens = TaskTokens(self.clients.stepfunctions)
        return Announcer(self.ledger, self.bus, self.functions, self.hook_of, self.clock, self.new_token(), tokens)
