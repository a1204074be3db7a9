"""Entry point for the scheduler's event, every minute."""

from functools import cached_property

from functions._announcing import AnnouncingRuntime
from functions._runtime import Context, Event, guarded
from rollcall.adapters.queue import Queues
from rollcall.core.catalog import catalog
from rollcall.engine.watchdog.watchdog import Watchdog


class WatchdogRuntime(AnnouncingRuntime):
    """The runtime of the watchdog."""

    @cached_property
    def queues(self) -> Queues:
        return Queues(self.clients.sqs, self.settings.environment)


runtime = WatchdogRuntime()


@guarded
def handler(event: Event, context: Context) -> None:
    """Make one round over the open runs of all jobs."""
    del event, context
    announcer = runtime.announcer
    jobs = [declared.job for declared in catalog().values()]
    Watchdog(
        jobs,
        runtime.ledger,
        runtime.functions,
        announcer,
        runtime.clock,
        runtime.queues,
        runtime.settings.schedules_enabled,
    ).look()
