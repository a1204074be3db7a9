"""Which keys of the shared ledger and of the manifest bucket belong to one job."""

from rollcall.core.job import Job


def runs_of(job: str) -> str:
    """Matches the keys of all manifests of `job` and of no other job: no job's name has a capital letter."""
    return f"{job}-????????T??????Z*"


def items_of(job: Job) -> tuple[str, ...]:
    """Matches the ledger's items of `job` and of its runs, and of no other job's."""
    kinds = ("run", "node", "entry") if job.delivery is None else ("run", "node", "entry", "slice")
    return (f"job#{job.name}", *(f"{kind}#{runs_of(job.name)}" for kind in kinds))


def standing_of(job: str) -> tuple[str, ...]:
    """Matches the items that tell how runs of `job` stand."""
    return tuple(f"{kind}#{runs_of(job)}" for kind in ("run", "node"))


def waiters_of(job: str) -> str:
    """Matches the items that tell who waits for the end of runs of `job`."""
    return f"waiting#{runs_of(job)}"


def item_of_target(job: Job) -> str:
    """The ledger's item of the target of `job`, which all jobs that call it share."""
    return f"target#{job.target.name}"
