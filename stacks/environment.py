"""An environment: what is deployed there, and where targets and reports live."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import RetentionDays

from rollcall.core.errors import DeclarationError
from rollcall.core.job import Job
from rollcall.core.names import checked_environment
from rollcall.core.sizing import LEAST_MAXIMUM_CONCURRENCY, MOST_MAXIMUM_CONCURRENCY, worker_sizing
from rollcall.core.target import Location, checked_name
from stacks.bound import is_a, objections

#: 14 days on the queue and 14 on the dead-letter queue: an entry that takes so long can still be redriven.
LEAST_MANIFEST_RETENTION_DAYS = 30

#: What a new account may run at once, less what Lambda keeps for functions that reserve nothing
#: (https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html). Some accounts begin with far less.
MOST_RESERVED = 1_000 - 100
#: https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
MOST_SUBNETS = 16
MOST_SECURITY_GROUPS = 5

_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}")
_ACCOUNT = re.compile(r"\d{12}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
#: What keeps data, and what does not; between these nothing is tested.
_REMOVAL_POLICIES = (RemovalPolicy.RETAIN, RemovalPolicy.DESTROY)
#: Of a folder under functions/jobs: what a stack's and a dashboard's name leave room for.
LONGEST_SYSTEM = 40
BoundT = TypeVar("BoundT")


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def _is_tag(key: object, value: object) -> bool:
    """https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html"""
    return isinstance(key, str) and isinstance(value, str) and bool(key) and not key.lower().startswith("aws:")


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
        checked_environment(self.name)
        if (objection := next(self._objections(), None)) is not None:
            raise DeclarationError(f"environment {self.name}: {objection}")
        for bindings in ("targets", "reports", "buckets", "tags"):
            object.__setattr__(self, bindings, MappingProxyType(dict(getattr(self, bindings))))

    def _objections(self) -> Iterator[str]:
        if is_a(str, self.systems) or len(set(self.systems)) != len(self.systems):
            yield f"systems is {self.systems!r}; list each folder of functions/jobs once, as in ('accounting',)"
        for system in self.systems:
            checked_name("system", system.replace("_", "-"), LONGEST_SYSTEM)
        yield from objections("targets", self.targets)
        yield from objections("reports", self.reports)
        if not is_a(bool, self.schedules_enabled):
            yield f"schedules_enabled is {self.schedules_enabled!r}; take True or False"
        if self.account is not None and not _matches(_ACCOUNT, self.account):
            yield f"account is {self.account!r}; take the 12 digits of an account's id, as text"
        if self.region is not None and not _matches(_REGION, self.region):
            yield f"region is {self.region!r}; take a region's id, such as 'eu-west-1'"
        yield from self._objections_to_topic()
        yield from self._objections_to_retention()
        if not all(_is_tag(*pair) for pair in self.tags.items()):
            yield f"tags are {dict(self.tags)!r}; both sides are texts, and no key begins with aws:"

    def _objections_to_topic(self) -> Iterator[str]:
        if self.alarm_topic is None:
            return
        topic = _TOPIC.fullmatch(self.alarm_topic)
        if topic is None:
            yield (
                f"alarm_topic is {self.alarm_topic!r}; take the ARN of an SNS topic, such as "
                f"arn:aws:sns:eu-west-1:111122223333:on-call, or None for a topic of the environment's own"
            )
        elif self.region not in {None, topic["region"]}:
            yield f"alarm_topic is in {topic['region']}; alarms tell topics of their own region, here {self.region}"

    def _objections_to_retention(self) -> Iterator[str]:
        days = self.manifest_retention_days
        if not is_a(int, days) or days < LEAST_MANIFEST_RETENTION_DAYS:
            yield (
                f"manifest_retention_days is {days!r}; a dead letter can be 28 days old when its entry is redriven, so "
                f"take {LEAST_MANIFEST_RETENTION_DAYS} or more whole days"
            )
        if not is_a(RetentionDays, self.log_retention) or self.log_retention is RetentionDays.INFINITE:
            yield f"log_retention is {self.log_retention!r}; take one of RetentionDays that ends, such as ONE_MONTH"
        if self.removal_policy not in _REMOVAL_POLICIES:
            yield f"removal_policy is {self.removal_policy!r}; take RemovalPolicy.RETAIN or RemovalPolicy.DESTROY"

    @property
    def retained(self) -> bool:
        """Whether data outlive their stack."""
        return self.removal_policy is RemovalPolicy.RETAIN

    def target_of(self, job: Job) -> Location | None:
        """Where the target of `job` lives; None for one that is not called over HTTP."""
        if not job.target.http:
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
