"""Which environments and jobs the tests go through."""

from pathlib import Path

from rollcall.core.catalog import catalog
from rollcall.core.job import Job
from stacks.environments import ENVIRONMENTS
from tests.stacks import sample

ROOT = Path(__file__).resolve().parents[2]
#: All jobs of the checkout in each environment, and the sample's in its own.
JOBS = {**dict.fromkeys(ENVIRONMENTS, tuple(catalog().values())), "sample": sample.JOBS}
EVERY = {**ENVIRONMENTS, "sample": sample.ENVIRONMENT}
DEPLOYED = {
    name: tuple(declared for declared in JOBS[name] if declared.system in environment.systems)
    for name, environment in EVERY.items()
}


def kinds_of(job: Job) -> tuple[str, ...]:
    """The functions that a job has of its own."""
    return ("fan_out", "worker", "dead_letter") if job.delivery is None else ("fan_out", "batch")
