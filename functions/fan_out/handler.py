"""Entry point for the scheduler's event, a manual start, or a request to continue a run."""

from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import Any

from functions._logs import IN_USE
from functions._runtime import Context, Event, Runtime, guarded
from rollcall.adapters.executions import Executions
from rollcall.adapters.reports import Reports
from rollcall.core.errors import RollcallError
from rollcall.core.run import RunRecord
from rollcall.core.settings import required
from rollcall.engine.fan_out.fan_out import FanOut
from rollcall.engine.fan_out.run_lease import Invocation, Request, Start, request_of

#: Longest wait for a start. The ticks of a firing lie within its minute, so a later start is a mistake.
LONGEST_WAIT = timedelta(minutes=1)


class FanOutRuntime(Runtime):
    """The runtime of a job's fan-out function."""

    @cached_property
    def fan_out(self) -> FanOut:
        reports = Reports(self.settings.reports, self.secrets, self.clients)
        in_batches = self.job.delivery is not None
        return FanOut(
            job=self.job,
            ledger=self.ledger,
            manifests=self.manifests,
            queue=None if in_batches else self.queue,
            executions=self.executions if in_batches else None,
            read=reports.read,
            secret=self.secret,
            table=self.table,
            bucket=self.bucket,
            clock=self.clock,
            new_nonce=self.new_token,
            redact=IN_USE.redacted,
        )

    @cached_property
    def executions(self) -> Executions:
        return Executions(self.clients.stepfunctions, required(self.settings.state_machine, "state_machine"))


runtime = FanOutRuntime()


@guarded
def handler(event: Event, context: Context) -> dict[str, Any]:
    """Run the requested occurrences; return their states for a synchronous caller."""
    states: dict[str, str] = {}
    failures: list[Exception] = []
    for request in _occurrences(request_of(event)):
        try:
            run = _run(request, context)
        except Exception as error:
            failures.append(error)
            continue
        if run is not None:
            states[run.id] = run.state.value
    if failures:
        raise failures[0]
    return {"runs": states}


def _run(request: Request, context: Context) -> RunRecord | None:
    if isinstance(request, Start):
        ahead = request.scheduled_for - runtime.clock.now()
        if ahead > LONGEST_WAIT:
            raise RollcallError(f"{request.scheduled_for.isoformat()} lies ahead; start a run when it is due")
        runtime.clock.sleep(ahead)
    return runtime.fan_out.handle(request, Invocation(runtime.new_token(), runtime.deadline(context)))


def _occurrences(request: Request) -> list[Request]:
    """Expand the firing of a schedule below a minute into one start for each of its ticks."""
    if not isinstance(request, Start) or request.nonce is not None:
        return [request]
    return [replace(request, scheduled_for=tick) for tick in runtime.job.schedule.ticks(request.scheduled_for)]
