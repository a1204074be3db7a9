"""Everything that one job needs."""

from dataclasses import replace
from typing import Any

from constructs import Construct

from rollcall.core import names
from rollcall.core.catalog import Declared
from rollcall.core.job import Job
from rollcall.core.pipeline import Pipeline
from stacks.batches import Batch, StateMachine
from stacks.dead_letter import DeadLetter
from stacks.environment import Environment
from stacks.fan_out import FanOut
from stacks.job_queue import JobQueue
from stacks.pipelines import allow_steps
from stacks.runtime import Runtime
from stacks.shared import Shared
from stacks.timetable import SCHEDULED_TIME, Timetable
from stacks.undelivered import Undelivered
from stacks.worker import Worker


class JobPipeline(Construct):
    """Schedule to fan-out to queue to worker, and dead letters to their function; or fan-out to state machine to
    batches or steps. Made from the declaration alone.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        runtime: Runtime,
        shared: Shared,
        declared: Declared,
    ) -> None:
        super().__init__(scope, id_)
        # Sizes follow from the target as it is here.
        job = environment.bound(declared.job)
        declared = replace(declared, job=job)
        self._made: dict[str, Any] = {
            "environment": environment,
            "runtime": runtime,
            "shared": shared,
            "declared": declared,
        }
        self.undelivered = Undelivered(self, "Undelivered", environment=environment, job=job.name)
        self.fan_out = (
            self._by_queue(environment, job) if job.delivery is None else self._by_state_machine(environment, job)
        )
        expressions = enumerate(job.schedule.expressions(), 1)
        self.timetable = Timetable(
            self,
            "Timetable",
            expressions={names.schedule_name(environment.name, job.name, number): text for number, text in expressions},
            timezone=job.schedule.timezone,
            enabled=environment.schedules_enabled,
            function=self.fan_out,
            input_=start_of(declared),
            retries=5,
            undelivered=self.undelivered.queue,
        )

    def _by_queue(self, environment: Environment, job: Job) -> FanOut:
        queues = JobQueue(self, "Queues", environment=environment, job=job)
        undelivered = self.undelivered.queue
        fan_out = FanOut(self, "FanOut", **self._made, queue=queues.queue, undelivered=undelivered)
        queues.take_from(fan_out.role)
        Worker(self, "Worker", **self._made, queue=queues.queue)
        DeadLetter(self, "DeadLetter", **self._made, dead_letters=queues.dead_letters)
        return fan_out

    def _by_state_machine(self, environment: Environment, job: Job) -> FanOut:
        batch = Batch(self, "Batch", **self._made)
        machine = StateMachine(self, "Batches", environment=environment, job=job, batch=batch)
        if isinstance(job, Pipeline):
            allow_steps(batch, self._made["shared"], environment, job)
        undelivered = self.undelivered.queue
        return FanOut(self, "FanOut", **self._made, state_machine=machine, undelivered=undelivered)


def start_of(declared: Declared) -> dict[str, object]:
    """The event that starts fan-out at a scheduled time."""
    start: dict[str, object] = {"job": declared.job.name, "scheduled_time": SCHEDULED_TIME}
    tick = declared.job.schedule.tick
    return start if tick is None else start | {"tick_seconds": int(tick.total_seconds())}
