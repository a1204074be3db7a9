"""An environment: what is deployed there, and where targets and reports live."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import RetentionDays

from rollcall.core.errors import DeclarationError
from rollcall.core.job import Job
from rollcall.core.names import LONGEST_ENVIRONMENT
from rollcall.core.target import Location, checked_name

#: 14 days on the queue and 14 on the dead-letter queue: an entry that takes so long can still be redriven.
LEAST_MANIFEST_RETENTION_DAYS = 30

BoundT = TypeVar("BoundT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One deployment of Rollcall. Nothing that tells environments apart has a default.

    The bindings map the names that job files declare to what these are here. Looking one up raises
    DeclarationError naming the environment, the job and what to bind.
    """

    name: str
    #: Folders of `functions/jobs`, a stack each.
    systems: tuple[str, ...]
    targets: Mapping[str, Location]
    reports: Mapping[str, Location]
    #: Off: jobs are started by hand only. The watchdog runs in either case.
    schedules_enabled: bool
    #: None: whatever the CDK command line is signed in to.
    account: str | None = None
    region: str | None = None
    manifest_retention_days: int
    log_retention: RetentionDays
    #: Of the ledger and the manifests.
    removal_policy: RemovalPolicy

    def __post_init__(self) -> None:
        checked_name("environment", self.name, LONGEST_ENVIRONMENT)
        if self.manifest_retention_days < LEAST_MANIFEST_RETENTION_DAYS:
            raise DeclarationError(
                f"environment {self.name}: manifest_retention_days is {self.manifest_retention_days}; a dead letter "
                f"can be 28 days old when its entry is redriven, so take {LEAST_MANIFEST_RETENTION_DAYS} or more"
            )
        for bindings in ("targets", "reports"):
            object.__setattr__(self, bindings, MappingProxyType(dict(getattr(self, bindings))))

    @property
    def retained(self) -> bool:
        """Whether data outlive their stack."""
        return self.removal_policy is RemovalPolicy.RETAIN

    def target_of(self, job: Job) -> Location:
        """Where the target of `job` lives."""
        return self._bound(self.targets, "targets", job, job.target.name)

    def reports_of(self, job: Job) -> dict[str, Location]:
        """Where the reports of `job` live, by name."""
        return {report.name: self._bound(self.reports, "reports", job, report.name) for report in job.reports}

    def _bound(self, bindings: Mapping[str, BoundT], kind: str, job: Job, name: str) -> BoundT:
        if name not in bindings:
            raise DeclarationError(
                f"environment {self.name} does not say where the {kind.removesuffix('s')} {name!r} of job "
                f"{job.name} is; bind it under {kind} in stacks/environments.py"
            )
        return bindings[name]
