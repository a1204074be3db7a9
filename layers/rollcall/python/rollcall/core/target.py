"""Where a job's data comes from and goes to: targets, reports, secrets, and where each is bound."""

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias
from urllib.parse import urlsplit

from rollcall.core.breaker import Breaker
from rollcall.core.errors import DeclarationError
from rollcall.core.limits import Limits
from rollcall.core.rate import Rate

#: Statuses that are answered by another call: Request Timeout, Too Early, Too Many Requests, and the server's errors.
RETRIED = frozenset({408, 425, 429, *range(500, 600)})
#: Statuses that prove that nothing was done.
NEVER_EXECUTED = frozenset({425, 429})
#: Bytes of an answer's body where its target declares none. Answers to calls are confirmations of some hundred bytes.
ANSWER_BYTES = 1024 * 1024
#: A location's rate that lifts the target's own.
UNLIMITED = "unlimited"
#: What the engine calls its own table.
LEDGER = "ledger"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
_SECRET = re.compile(r"[A-Za-z0-9/_+=.@-]{1,450}")


def checked_name(kind: str, name: str, longest: int) -> str:
    """`name`, if it is lower-case words joined by hyphens. Raises DeclarationError otherwise."""
    if not _NAME.fullmatch(name) or len(name) > longest:
        raise DeclarationError(
            f"the {kind} name {name!r} is not usable: take at most {longest} characters of a-z, 0-9 and single hyphens,"
            f" beginning with a letter, such as 'client-deposit-update'"
        )
    return name


def checked_secret(name: str) -> str:
    """`name`, if a secret can have it: no ARN, no pattern. Raises DeclarationError otherwise."""
    if not _SECRET.fullmatch(name):
        raise DeclarationError(
            f"the secret name {name!r} is not usable: take its name in Secrets Manager, of letters, digits and /_+=.@-"
        )
    return name


@dataclass(frozen=True, slots=True)
class Keys:
    """The target takes idempotency keys: the same key again never has a second effect, within `window`.

    The window runs from an entry's first possible call. Stripe keeps keys for 24 hours
    (https://docs.stripe.com/api/idempotent_requests); the default stays well below.
    """

    window: timedelta = timedelta(hours=20)

    def __post_init__(self) -> None:
        if self.window <= timedelta(0):
            raise DeclarationError(f"Keys(window={self.window}): a window is positive; keys=None is for none at all")


@dataclass(frozen=True, slots=True)
class Target:
    """A downstream system, shared by all jobs that call it."""

    name: str
    #: Calls in flight over all its jobs and workers, at least 2 for each queue job.
    concurrency: int
    #: How long one call may take, connecting included.
    timeout: timedelta = timedelta(seconds=10)
    #: Kept over all its jobs and workers; None for as fast as `concurrency` allows.
    rate: Rate | None = None
    breaker: Breaker = Breaker()  # noqa: RUF009 - a frozen value
    #: Answers that ask for another try; every other that is not 2xx is a rejection.
    retried: frozenset[int] = RETRIED
    #: Answers that prove that nothing was done; 503 is one where the target says so.
    never_executed: frozenset[int] = NEVER_EXECUTED
    #: None: it takes no keys. Then a claim stands before each call, and an unanswered one is never repeated blindly.
    keys: Keys | None = Keys()
    #: How long after a call its effect may still show up; earlier, a probe that finds nothing proves nothing.
    settles_within: timedelta = timedelta(minutes=5)
    #: Bytes of an answer's body, also once decompressed; a call with a larger answer counts as unanswered. None: 1 MiB,
    #: or less where a worker makes so many calls at once that this would not fit into its memory.
    answer_bytes: int | None = None
    #: False: its jobs call nobody over HTTP, only their own tables and buckets. Such a target is bound nowhere.
    http: bool = True

    def __post_init__(self) -> None:
        checked_name("target", self.name, 40)
        if self.concurrency < 1:
            raise DeclarationError(
                f"target {self.name}: concurrency is {self.concurrency}; at least 1 call must be allowed"
            )
        if not timedelta(milliseconds=100) <= self.timeout <= timedelta(minutes=5):
            raise DeclarationError(f"target {self.name}: timeout is {self.timeout}; take 0.1 s to 5 minutes")
        if not timedelta(0) <= self.settles_within <= timedelta(days=1):
            raise DeclarationError(f"target {self.name}: settles_within is {self.settles_within}; take up to a day")
        if self.answer_bytes is not None and self.answer_bytes < 1:
            raise DeclarationError(f"target {self.name}: answer_bytes is {self.answer_bytes}; it is positive")
        if wrong := sorted(status for status in self.retried | self.never_executed if not 300 <= status <= 599):
            raise DeclarationError(f"target {self.name}: {wrong[0]} cannot ask for another try; take 3xx, 4xx and 5xx")


class Format(StrEnum):
    """How a report's records are written."""

    JSON = "json"
    JSON_LINES = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Report:
    """A list of records that a source reads; where it lies is bound per environment.

    Declared among a job's `needs` and read with `run.read(REPORT)`.
    """

    name: str
    #: JSON only: the key of the array in the top-level object; None for a top-level array.
    #: Workday's report-as-a-service answers `{"Report_Entry": [...]}`.
    array: str | None = "Report_Entry"
    #: How large it may be; a larger one is refused.
    limits: Limits = Limits()  # noqa: RUF009 - a frozen value

    def __post_init__(self) -> None:
        checked_name("report", self.name, 40)


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that the source and callback may read with `secret(name)`; each environment has its own."""

    name: str

    def __post_init__(self) -> None:
        checked_secret(self.name)


@dataclass(frozen=True, slots=True)
class Table:
    """A DynamoDB table that the source and callback may read and write with `table(TABLE)`; one in each environment.

    Its attributes' names are those of its own items.
    """

    name: str
    #: The attribute that names an item: text.
    key: str
    #: Global secondary indexes by name: partition and sort attribute, both text.
    indexes: tuple[tuple[str, str, str], ...] = ()
    #: Whether the job deletes items, too; the table is the same as without.
    deletes: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        checked_name("table", self.name, 40)
        if self.name == LEDGER:
            raise DeclarationError(f"the table name {LEDGER!r} is taken by the engine's own; take another")

    def with_deletion(self) -> "Table":
        """The same table, for a job that deletes items of it."""
        return replace(self, deletes=True)


@dataclass(frozen=True, slots=True)
class Bucket:
    """An S3 bucket that the source, callback and tasks may use with `bucket(BUCKET)`; bound per environment."""

    name: str
    #: Whether the job puts objects, too, and whether it deletes some.
    writes: bool = False
    deletes: bool = False

    def __post_init__(self) -> None:
        checked_name("bucket", self.name, 40)


Need: TypeAlias = Report | Secret | Table | Bucket


@dataclass(frozen=True, slots=True)
class Location:
    """Where a target or a report lives in one environment: explicit, without a default."""

    #: `https://…`, `http://…` (loopback), and for reports also `s3://bucket/key` or a local file's path.
    url: str
    #: Name of the secret with the credentials: `{"username": …, "password": …}` or `{"token": …}`.
    secret: str | None = None
    #: Reports: None tells it from the ending of the URL (.jsonl, .ndjson, .csv, else JSON).
    format: Format | None = None
    #: Targets: `20/s burst 40`, or `unlimited`, instead of the target's own rate; None keeps that.
    rate: str | None = None

    def __post_init__(self) -> None:
        if not self.url:
            raise DeclarationError("a location needs a URL; name where the target or report lives")
        if self.secret is not None:
            checked_secret(self.secret)
        if self.rate is not None and self.rate != UNLIMITED:
            Rate.parse(self.rate)

    def bind(self, target: Target) -> Target:
        """`target` as it is here: with this location's rate, where it has one."""
        if self.rate is None:
            return target
        return replace(target, rate=None if self.rate == UNLIMITED else Rate.parse(self.rate))

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme or "file"

    def record_format(self) -> Format:
        """The declared format, or the one that the URL's path ends in."""
        if self.format is not None:
            return self.format
        path = urlsplit(self.url).path.lower()
        if path.endswith((".jsonl", ".ndjson")):
            return Format.JSON_LINES
        return Format.CSV if path.endswith(".csv") else Format.JSON
