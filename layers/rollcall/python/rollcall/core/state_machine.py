"""The state machine of whatever is not delivered by a queue."""

from dataclasses import replace

from rollcall.core import batches, pipeline
from rollcall.core.errors import DeclarationError
from rollcall.core.job import Job
from rollcall.core.pipeline import Pipeline
from rollcall.core.values import Json


def definition_of(job: Job, function: str, at_once: int | None = None) -> dict[str, Json]:
    """In Amazon States Language; `function` is the ARN of the job's batch function.

    `at_once` lowers how many batches are at work at once. Raises DeclarationError for a job with a queue.
    """
    if isinstance(job, Pipeline):
        return pipeline.definition(job, function)
    if job.delivery is None:
        raise DeclarationError(f"job {job.name} is delivered by a queue; it has no state machine")
    delivery = job.delivery if at_once is None else replace(job.delivery, at_once=at_once)
    return batches.definition(delivery, function)
