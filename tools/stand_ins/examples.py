"""Where the records of a report come from: the example of a job."""

import importlib
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from tools.stand_ins.options import OptionsError

Record = Mapping[str, object]
#: The n-th record of a job's report, from 0.
Example = Callable[[int], Record]


@runtime_checkable
class HasExample(Protocol):
    """As much of a job as a stand-in needs."""

    @property
    def name(self) -> str: ...

    @property
    def example_record(self) -> Example | None: ...


def job_of(module_name: str) -> tuple[str, Example]:
    """The name and the example of the one job that a module declares. Raises OptionsError."""
    jobs = {id(each): each for each in vars(_module(module_name)).values() if _is_job(each)}
    if len(jobs) != 1:
        raise OptionsError(f"job_module: {module_name} has {len(jobs)} jobs at its top level, one is needed")
    (job,) = jobs.values()
    if job.example_record is None:
        raise OptionsError(f"job_module: job {job.name} has no example to make a report of; add @job.example")
    return job.name, job.example_record


def _module(name: str) -> object:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise OptionsError(f"job_module: cannot import {name}: {error!r}") from error


def _is_job(value: object) -> bool:
    return isinstance(value, HasExample) and not isinstance(value, type)
