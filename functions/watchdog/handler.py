"""Entry point: the scheduler's tick, every minute."""

from functions._announcing import AnnouncingRuntime
from functions._runtime import Context, Event
from rollcall.core.catalog import catalog
from rollcall.engine.watchdog import Watchdog

runtime = AnnouncingRuntime()


def handler(event: Event, context: Context) -> None:
    """Look after the open runs of all jobs."""
    del event, context
    announcer = runtime.announcer
    jobs = [declared.job for declared in catalog().values()]
    Watchdog(jobs, runtime.ledger, runtime.functions, announcer, runtime.clock).look()
