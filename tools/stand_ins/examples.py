"""Where the records of a report come from: the example of a job."""

from rollcall.core.catalog import load
from rollcall.core.job import Example
from tools.stand_ins.options import OptionsError


def example_of(module: str) -> tuple[str, Example]:
    """The name of the job that `module` declares, and its example. Raises OptionsError."""
    try:
        job = load(module)
    except Exception as error:
        raise OptionsError(f"job_module: cannot load {module}: {error}") from error
    if job.example_record is None:
        raise OptionsError(f"job_module: job {job.name} has no example to make a report of; add @job.example")
    return job.name, job.example_record
