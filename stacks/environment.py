"""An environment: what is deployed there, and where targets and reports live."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import RetentionDays

from rollcall.core.errors import DeclarationError
from rollcall.core.job import Job
from rollcall.core.names import LONGEST_ENVIRONMENT
from rollcall.core.pipeline import Pipeline
from rollcall.core.sizing import LEAST_MAXIMUM_CONCURRENCY, MOST_MAXIMUM_CONCURRENCY, worker_sizing
from rollcall.core.target import Location, checked_name

#: 14 days on the queue and 14 on the dead-letter queue: an entry that takes so long can still be redriven.
LEAST_MANIFEST_RETENTION_DAYS = 30

#: What a new account may run at once, less what Lambda keeps for functions that reserve nothing
#: (https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html). Some accounts begin with far less.
MOST_RESERVED = 1_000 - 100
#: https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
MOST_SUBNETS = 16
MOST_SECURITY_GROUPS = 5

_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}")
BoundT = TypeVar("BoundT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vpc:
    """A network that is there already, by ids: nothing is looked up when the stacks are synthesized.

    Every function runs in it. The subnets need a way to AWS and to the targets: a NAT, or endpoints for DynamoDB, S3,
    SQS, Lambda, EventBridge and Secrets Manager. The security groups only need to let connections out.
    """

    subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        for ids, prefix, most in (
            (self.subnet_ids, "subnet-", MOST_SUBNETS),
            (self.security_group_ids, "sg-", MOST_SECURITY_GROUPS),
        ):
            if not 1 <= len(ids) <= most or not all(
                re.fullmatch(rf"{prefix}([0-9a-f]{{8}}|[0-9a-f]{{17}})", id_) for id_ in ids
            ):
                raise DeclarationError(f"a function in a VPC takes 1 to {most} ids that begin with {prefix}, not {ids}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """How much of Lambda an environment takes, whatever its jobs declare."""

    #: Invocations of one job's workers at once. A job that declares more gets this; none gets more than it declares.
    workers: int = MOST_MAXIMUM_CONCURRENCY
    #: Concurrency that all workers together may reserve; more fails synth. None: none reserves any, so that an account
    #: with a small quota can be deployed to. The mappings limit the workers in either case.
    reserved: int | None = MOST_RESERVED

    def __post_init__(self) -> None:
        if not LEAST_MAXIMUM_CONCURRENCY <= self.workers <= MOST_MAXIMUM_CONCURRENCY:
            raise DeclarationError(
                f"a ceiling of {self.workers} workers is not possible; an event source mapping takes "
                f"{LEAST_MAXIMUM_CONCURRENCY} to {MOST_MAXIMUM_CONCURRENCY:,}"
            )


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
    #: Names of buckets that are there already, by what jobs call them.
    buckets: Mapping[str, str] = field(default_factory=dict)
    #: Off: jobs are started by hand only. The watchdog runs in either case.
    schedules_enabled: bool
    #: None: whatever the CDK command line is signed in to.
    account: str | None = None
    region: str | None = None
    #: None: functions run outside of any network of the account's.
    vpc: Vpc | None = None
    #: ARN of the SNS topic that alarms go to. None: the environment has a topic of its own.
    alarm_topic: str | None = None
    ceilings: Ceilings = Ceilings()
    manifest_retention_days: int
    log_retention: RetentionDays
    #: Of the ledger and the manifests.
    removal_policy: RemovalPolicy
    #: Of every stack, and so of every resource that takes tags: for bills and owners.
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_name("environment", self.name, LONGEST_ENVIRONMENT)
        if self.alarm_topic is not None and not _TOPIC.fullmatch(self.alarm_topic):
            raise DeclarationError(
                f"environment {self.name}: alarm_topic is {self.alarm_topic!r}; take the ARN of an SNS topic, such as "
                f"arn:aws:sns:eu-west-1:111122223333:on-call, or None for a topic of the environment's own"
            )
        if self.manifest_retention_days < LEAST_MANIFEST_RETENTION_DAYS:
            raise DeclarationError(
                f"environment {self.name}: manifest_retention_days is {self.manifest_retention_days}; a dead letter "
                f"can be 28 days old when its entry is redriven, so take {LEAST_MANIFEST_RETENTION_DAYS} or more"
            )
        for bindings in ("targets", "reports", "buckets", "tags"):
            object.__setattr__(self, bindings, MappingProxyType(dict(getattr(self, bindings))))

    @property
    def retained(self) -> bool:
        """Whether data outlive their stack."""
        return self.removal_policy is RemovalPolicy.RETAIN

    def target_of(self, job: Job) -> Location | None:
        """Where the target of `job` lives; None for a pipeline, whose tasks are its own."""
        if isinstance(job, Pipeline):
            return None
        return self._bound(self.targets, "targets", job, job.target.name)

    def reports_of(self, job: Job) -> dict[str, Location]:
        """Where the reports of `job` live, by name."""
        return {report.name: self._bound(self.reports, "reports", job, report.name) for report in job.reports}

    def bound(self, job: Job) -> Job:
        """`job` as it is here: sizes follow from its target's rate."""
        target = self.target_of(job)
        return job if target is None else job.bound_to(target)

    def buckets_of(self, job: Job) -> dict[str, str]:
        """The buckets of `job`, by what it calls them."""
        return {bucket.name: self._bound(self.buckets, "buckets", job, bucket.name) for bucket in job.buckets}

    def workers_of(self, job: Job) -> int:
        """How many invocations of the workers of `job` (bound to its target here) there may be at once."""
        return min(worker_sizing(job).maximum_concurrency, self.ceilings.workers)

    def check_reserved(self, jobs: Iterable[Job]) -> None:
        """Raise DeclarationError if the workers of `jobs` would reserve more than this environment lets them."""
        if self.ceilings.reserved is None:
            return
        shares = {job.name: self.workers_of(self.bound(job)) for job in jobs}
        if (total := sum(shares.values())) > self.ceilings.reserved:
            largest = max(shares, key=lambda name: shares[name])
            raise DeclarationError(
                f"environment {self.name}: the workers of its {len(shares)} jobs would reserve {total:,} invocations "
                f"at once, and ceilings.reserved is {self.ceilings.reserved:,}; lower ceilings.workers (the largest, "
                f"{largest}, takes {shares[largest]}), or raise the account's quota and then this"
            )

    def _bound(self, bindings: Mapping[str, BoundT], kind: str, job: Job, name: str) -> BoundT:
        if name not in bindings:
            raise DeclarationError(
                f"environment {self.name} does not say where the {kind.removesuffix('s')} {name!r} of job "
                f"{job.name} is; bind it under {kind} in stacks/environments.py"
            )
        return bindings[name]
