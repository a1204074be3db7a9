"""Finding jobs: every file in `functions/jobs/<system>/` whose name does not begin with an underscore."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from rollcall.core.errors import DeclarationError
from rollcall.core.job import Job
from rollcall.core.pipeline import Pipeline
from rollcall.core.sizing import worker_sizing
from rollcall.core.target import Target

JOBS_PACKAGE = "functions.jobs"


@dataclass(frozen=True, slots=True)
class Declared:
    """A job and where it is declared."""

    job: Job
    system: str
    #: Importable name of the module.
    module: str


def load(module: str) -> Job:
    """The job that `module` declares. Raises DeclarationError if it does not declare exactly one, wholly."""
    try:
        names = vars(importlib.import_module(module))
    except DeclarationError as error:
        raise DeclarationError(f"{module}: {error}") from error
    except Exception as error:
        raise DeclarationError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error
    found = list({id(value): value for value in names.values() if isinstance(value, Job)}.values())
    if len(found) != 1:
        raise DeclarationError(f"{module} declares {len(found)} jobs; a job file declares one (helpers begin with _)")
    found[0].check_complete()
    return found[0]


def catalog(package: str = JOBS_PACKAGE) -> dict[str, Declared]:
    """All jobs by name, in order of their systems and files.

    Raises DeclarationError for two jobs of one name, for two targets of one name that differ, and for targets whose
    jobs make more calls at once than fit.
    """
    declared: dict[str, Declared] = {}
    for system, module in _modules(package):
        job = load(module)
        if job.name in declared:
            raise DeclarationError(
                f"two jobs are named {job.name}: {declared[job.name].module} and {module}; rename one"
            )
        declared[job.name] = Declared(job, system, module)
    _check_concurrency([entry.job for entry in declared.values()])
    _check_pipelines([entry.job for entry in declared.values()])
    return declared


def find(name: str, package: str = JOBS_PACKAGE) -> Declared:
    """The job `name`. Raises DeclarationError that lists what there is instead."""
    jobs = catalog(package)
    if name in jobs:
        return jobs[name]
    near = get_close_matches(name, jobs, n=1)
    advice = f"did you mean {near[0]}?" if near else f"there are: {', '.join(jobs) or 'none'}"
    raise DeclarationError(f"there is no job {name!r}; {advice}")


def _modules(package: str) -> Iterator[tuple[str, str]]:
    for root in importlib.import_module(package).__path__:
        if stray := sorted(Path(root).glob("[!_.]*.py")):
            raise DeclarationError(
                f"{stray[0]} is in no system's folder; a job file belongs into {root}/<system>/ (helpers begin with _)"
            )
        for system in sorted(Path(root).glob("[!_.]*/")):
            files = sorted(system.glob("[!_.]*.py"))
            if files and not (system / "__init__.py").is_file():
                raise DeclarationError(f"{system} has jobs and no __init__.py; add one, it may be empty")
            for file in files:
                yield system.name, f"{package}.{system.name}.{file.stem}"


def _check_pipelines(jobs: list[Job]) -> None:
    known = {job.name: job for job in jobs}
    for pipeline in jobs:
        for name in pipeline.fan_outs if isinstance(pipeline, Pipeline) else ():
            if name not in known:
                raise DeclarationError(
                    f"pipeline {pipeline.name} has the step {name}, and there is no job of this name; there are: "
                    f"{', '.join(known)}"
                )
            if isinstance(known[name], Pipeline):
                raise DeclarationError(f"pipeline {pipeline.name}: {name} is a pipeline; a step is a task or a job")


def _check_concurrency(jobs: list[Job]) -> None:
    targets: dict[str, Target] = {}
    for job in jobs:
        if targets.setdefault(job.target.name, job.target) != job.target:
            raise DeclarationError(
                f"two different targets are named {job.target.name}, one of them that of job {job.name}; a target is "
                f"shared by all jobs that call it, so declare it once and import it"
            )
    for target in targets.values():
        shares = {job.name: worker_sizing(job) for job in jobs if job.target == target}
        total = sum(sizing.maximum_concurrency * sizing.width for sizing in shares.values())
        if total > target.concurrency:
            listed = ", ".join(f"{name} {sizing.maximum_concurrency * sizing.width}" for name, sizing in shares.items())
            raise DeclarationError(
                f"target {target.name} takes {target.concurrency} calls at once, but its jobs make {total}: {listed}; "
                f"lower their concurrency or raise the target's"
            )
