"""What the test jobs have in common: a report of things, a target that answers within a second, short waits."""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from rollcall import Breaker, Call, Entry, Jitter, Job, Report, Retry, Run, Target, every

#: Left alone by its breaker: what becomes of single entries is these stories' subject.
LITTLE = Target("little", concurrency=60, timeout=timedelta(seconds=1), breaker=Breaker(failures=1_000))
THINGS = Report("things")
#: The callback of a thing with this name ends its process.
POISON = "poison"


class Thing(BaseModel):
    """A line of the report."""

    id: str
    name: str = ""


def little_job(name: str, **options: Any) -> Job:
    """A whole job that puts every thing to the target."""
    retry = options.pop("retry", Retry(retries=1, first=timedelta(0), jitter=Jitter.NONE))
    schedule = options.pop("schedule", every(hours=6, at="04:00"))
    job = Job(name, schedule=schedule, target=LITTLE, needs=[THINGS], retry=retry, **options)

    @job.source
    def things(run: Run) -> Iterator[Entry]:
        for record in run.read(THINGS):
            yield Entry.of(record, key="id")

    @job.callback
    async def put(thing: Thing, call: Call) -> None:
        if thing.name == POISON:
            os._exit(1)
        await call.http.put(f"/things/{call.key}", json={"name": thing.name})

    @job.example
    def example(n: int) -> dict[str, object]:
        return {"id": f"T{n:05}", "name": f"Thing {n}"}

    return job
