"""Everything that one job needs."""

from dataclasses import replace

from constructs import Construct

from rollcall.core import names
from rollcall.core.catalog import Declared
from stacks.dead_letter import DeadLetter
from stacks.environment import Environment
from stacks.fan_out import FanOut
from stacks.job_queue import JobQueue
from stacks.runtime import Runtime
from stacks.shared import Shared
from stacks.timetable import SCHEDULED_TIME, Timetable
from stacks.undelivered import Undelivered
from stacks.worker import Worker


class JobPipeline(Construct):
    """Schedule to fan-out to queue to worker, and dead letters to their function; made from the declaration alone."""

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
        job = declared.job.bound_to(environment.target_of(declared.job))
        declared = replace(declared, job=job)
        self.queues = JobQueue(self, "Queues", environment=environment, job=job)
        self.undelivered = Undelivered(self, "Undelivered", environment=environment, job=job.name)
        self.fan_out = FanOut(
            self,
            "FanOut",
            environment=environment,
            runtime=runtime,
            shared=shared,
            declared=declared,
            queue=self.queues.queue,
            undelivered=self.undelivered.queue,
        )
        self.queues.take_from(self.fan_out.role)
        self.worker = Worker(
            self,
            "Worker",
            environment=environment,
            runtime=runtime,
            shared=shared,
            declared=declared,
            queue=self.queues.queue,
        )
        self.dead_letter = DeadLetter(
            self,
            "DeadLetter",
            environment=environment,
            runtime=runtime,
            shared=shared,
            declared=declared,
            dead_letters=self.queues.dead_letters,
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


def start_of(declared: Declared) -> dict[str, object]:
    """The event that starts fan-out at a scheduled time."""
    start: dict[str, object] = {"job": declared.job.name, "scheduled_time": SCHEDULED_TIME}
    tick = declared.job.schedule.tick
    return start if tick is None else start | {"tick_seconds": int(tick.total_seconds())}
