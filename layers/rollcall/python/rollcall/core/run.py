"""A run: one occurrence of a job."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Self, TypeAlias

from rollcall.core.buckets import Objects, no_buckets
from rollcall.core.errors import RollcallError
from rollcall.core.outcome import Outcome
from rollcall.core.tables import Items
from rollcall.core.target import Bucket, Report, Table
from rollcall.core.tree import CHUNK_SIZE, FAN_IN, Tree
from rollcall.core.values import utc

_RUN_ID = re.compile(r"(?P<job>[a-z][a-z0-9-]{0,39})-(?P<at>[0-9]{8}T[0-9]{6}Z)(?:-(?P<nonce>[a-z0-9]{1,14}))?")
_STAMP = "%Y%m%dT%H%M%SZ"

Record: TypeAlias = Mapping[str, object]


def run_id(job: str, scheduled_for: datetime, nonce: str | None = None) -> str:
    """The name of the occurrence of `job` at `scheduled_for`; `nonce` sets manual runs apart.

    A duplicate delivery by the scheduler therefore names the same run.
    """
    stamp = utc(scheduled_for).strftime(_STAMP)
    name = f"{job}-{stamp}" if nonce is None else f"{job}-{stamp}-{nonce}"
    if not is_run_id(name):
        raise ValueError(f"{name!r} is not a run id")
    return name


def is_run_id(text: str) -> bool:
    """Whether `text` has the form of a run's id."""
    return _RUN_ID.fullmatch(text) is not None


@lru_cache(maxsize=64)
def job_of(run: str) -> str:
    """The job's name in a run id. Raises ValueError for a text that is none."""
    match = _RUN_ID.fullmatch(run)
    if match is None:
        raise ValueError(f"{run!r} is not a run id such as 'client-deposit-update-20261121T023000Z'")
    return match["job"]


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    ENUMERATING = "enumerating"
    DISPATCHING = "dispatching"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETE = "complete"
    SKIPPED = "skipped"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    MISSED = "missed"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({RunState.COMPLETE, RunState.SKIPPED, RunState.REFUSED, RunState.CANCELLED, RunState.MISSED})
#: The states in which entries may be called back, and from which a full root completes the run.
OPEN = frozenset({RunState.DISPATCHING, RunState.RUNNING})


@dataclass(frozen=True, slots=True)
class Redrive:
    """Which entries of a terminal run are settled again, in a generation of their own; all conditions hold."""

    #: By their latest outcome; none chooses every one but succeeded.
    outcomes: frozenset[Outcome] = frozenset()
    #: By error class (`http_503`, `unanswered`); none chooses any.
    errors: frozenset[str] = frozenset()
    #: By key; none chooses any.
    keys: frozenset[str] = frozenset()
    #: Under a new idempotency key: only entries of which every attempt got a definite answer.
    new_key: bool = False

    def __post_init__(self) -> None:
        if Outcome.SUCCEEDED in self.outcomes:
            raise ValueError("entries that succeeded are not settled again; choose other outcomes")

    def fields(self) -> dict[str, object]:
        """As the event and the ledger have it."""
        return {
            "outcomes": sorted(self.outcomes),
            "errors": sorted(self.errors),
            "keys": sorted(self.keys),
            "new_key": self.new_key,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """What `fields` wrote. Raises ValueError for an outcome that there is not, TypeError for other forms."""
        return cls(
            frozenset(Outcome(name) for name in fields.get("outcomes", ())),
            frozenset(map(str, fields.get("errors", ()))),
            frozenset(map(str, fields.get("keys", ()))),
            bool(fields.get("new_key", False)),
        )


@dataclass(frozen=True, slots=True)
class Generation:
    """An earlier generation of a run: where its manifest is."""

    nonce: str | None
    total: int
    started_at: datetime
    #: No entry from this index on was ever on the queue.
    sent: int


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the ledger knows it."""

    id: str
    job: str
    state: RunState
    scheduled_for: datetime
    started_at: datetime
    generation: int = 1
    params: Mapping[str, str] = field(default_factory=dict)
    #: How often enumeration has begun.
    enumerations: int = 1
    #: The fan-out that works on the run; each take-over raises the fence.
    owner: str | None = None
    fence: int = 1
    lease_until: datetime | None = None
    #: From the seal on: the folder of the manifest that counts, and its arithmetic.
    nonce: str | None = None
    total: int = 0
    chunk_size: int = CHUNK_SIZE
    fan_in: int = FAN_IN
    duplicates: int = 0
    #: Entries [0, checkpoint) are wholly accepted by the queue; [checkpoint, window_end) may be.
    checkpoint: int = 0
    window_end: int = 0
    #: How many entries were settled when the watchdog last saw that any had been, and when that was; before, when its
    #: enumeration began or its manifest was sealed.
    progress: int = 0
    progressed_at: datetime | None = None
    #: When the last dispatch or repair ended, or, while a repair is at work, until when it may send.
    sent_at: datetime | None = None
    #: Why a run was refused or skipped.
    reason: str | None = None
    completed_at: datetime | None = None
    announced: bool = False
    cancelling_since: datetime | None = None
    #: Of a pipeline: why the steps that follow are left out, what it wants to keep, and the run that it waits for.
    skip_reason: str | None = None
    #: The step that said so, which is done again if it dies before it is settled.
    skipped_by: str | None = None
    keeps: Mapping[str, str] = field(default_factory=dict)
    waits_for: str | None = None
    #: Whether its target took idempotency keys when this generation began.
    keyed: bool = True
    #: What opened this generation, and the generations before it, from the first.
    redrive: Redrive | None = None
    past: tuple[Generation, ...] = ()

    @property
    def generations(self) -> "list[RunRecord]":
        """This run as it was in each of its sealed generations, the latest first."""
        earlier = [
            replace(
                self,
                generation=number,
                nonce=each.nonce,
                total=each.total,
                started_at=each.started_at,
                checkpoint=each.sent,
                window_end=each.sent,
            )
            for number, each in enumerate(self.past, start=1)
        ]
        return [each for each in reversed([*earlier, self]) if each.nonce is not None]

    @property
    def sent(self) -> int:
        """The index from which on no entry was ever on the queue, in this generation."""
        return max(self.checkpoint, self.window_end)

    @property
    def tree(self) -> Tree:
        return Tree(self.total, self.chunk_size, self.fan_in)

    @property
    def sealed_nonce(self) -> str:
        """The nonce of the manifest that counts. Raises RollcallError before the seal."""
        if self.nonce is None:
            raise RollcallError(f"{self.id} is not sealed; it has no manifest yet")
        return self.nonce

    def leased(self, now: datetime) -> bool:
        """Whether a fan-out may be at work on it."""
        return self.lease_until is not None and now < self.lease_until


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as the ledger knows it."""

    name: str
    #: The run that holds the job against overlap; replaced, never released.
    current: str | None = None
    #: The generation in which it took the job.
    current_generation: int = 1
    #: The one run that waits for `current` to end.
    queued: str | None = None
    #: Runs that were started and not yet seen terminal and announced.
    open: frozenset[str] = frozenset()
    #: Entries of the last sealed run, for `ShareOfLast`.
    last_total: int | None = None
    #: Since when its entries are held until somebody lets it go on.
    paused_since: datetime | None = None
    #: Every occurrence of this schedule up to this moment has a run, or was before anybody watched it.
    watched_schedule: str | None = None
    watched_until: datetime | None = None
    #: What the last clean run of a pipeline kept.
    kept: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """A target as the ledger knows it."""

    name: str
    #: Its next free slot, and until when held entries were told to wait for one; in microseconds since 1970.
    free: int | None = None
    held_until: int | None = None
    #: Its breaker: each opening and closing begins another epoch, and calls of an earlier one count for nothing.
    epoch: int = 0
    #: In a row, as far as they were reported.
    failures: int = 0
    open_until: datetime | None = None
    opened_at: datetime | None = None
    #: The answer that opened it.
    reason: str | None = None
    #: Calls in a row that tried in vain whether it is back, and the entry of the latest.
    failed_tries: int = 0
    tried_by: str | None = None
    #: Who tries now, and until when nobody else does.
    trier: str | None = None
    trying_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What a source knows of its run. Dates come from `scheduled_for`, never from the clock."""

    id: str
    job: str
    scheduled_for: datetime
    generation: int = 1
    #: The parameters of a manual start.
    params: Mapping[str, str] = field(default_factory=dict)
    _read: Callable[[Report], Iterator[Record]] | None = field(default=None, repr=False, compare=False)
    _secret: Callable[[str], str] | None = field(default=None, repr=False, compare=False)
    _table: Callable[[Table], Items] | None = field(default=None, repr=False, compare=False)
    _bucket: Callable[[Bucket], Objects] = field(default=no_buckets, repr=False, compare=False)

    def read(self, report: Report) -> Iterator[Record]:
        """The records of `report`, streamed from where this environment binds it; never held as a whole.

        Raises SourceError where the report breaks off, cannot be parsed or is not what it should be.
        """
        if self._read is None:
            raise RollcallError("this run was made without a reader; pass one, as the tests' fixtures do")
        return self._read(report)

    def reading(self, through: Callable[[Iterator[Record]], Iterator[Record]]) -> "Run":
        """The same run, whose reports are read through `through`."""
        read = self.read
        return replace(self, _read=lambda report: through(read(report)))

    def secret(self, name: str) -> str:
        """The text of the secret `name`, which the job must list among its `needs`."""
        if self._secret is None:
            raise RollcallError("this run was made without secrets; pass them, as the tests' fixtures do")
        return self._secret(name)

    def table(self, table: Table) -> Items:
        """The items of a table that the job lists among its `needs`."""
        if self._table is None:
            raise RollcallError("this run was made without tables; pass them, as the tests' fixtures do")
        return self._table(table)

    def bucket(self, bucket: Bucket) -> Objects:
        """The objects of a bucket that the job lists among its `needs`."""
        return self._bucket(bucket)


@dataclass(frozen=True, slots=True)
class RunCompleted:
    """The announcement that a run came to its end; sent at least once for an id."""

    run: str
    job: str
    generation: int
    state: RunState
    scheduled_for: datetime
    started_at: datetime
    completed_at: datetime
    total: int
    outcomes: Mapping[Outcome, int]
    duplicates: int = 0
    reason: str | None = None

    @property
    def id(self) -> str:
        return f"{self.run}/{self.generation}"

    @property
    def clean(self) -> bool:
        """Whether the run is complete and every entry succeeded."""
        return self.state is RunState.COMPLETE and self.outcomes[Outcome.SUCCEEDED] == self.total

    def detail(self) -> dict[str, object]:
        """The announcement as JSON fields, times in ISO 8601 with zone, durations in seconds."""
        return {
            "id": self.id,
            "run": self.run,
            "job": self.job,
            "generation": self.generation,
            "state": self.state.value,
            "clean": self.clean,
            "total": self.total,
            "outcomes": {outcome.value: count for outcome, count in self.outcomes.items()},
            "duplicates": self.duplicates,
            "reason": self.reason,
            "scheduled_for": iso(self.scheduled_for),
            "started_at": iso(self.started_at),
            "completed_at": iso(self.completed_at),
            "duration_seconds": round((self.completed_at - self.started_at).total_seconds(), 3),
        }


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds: texts that sort as the instants do."""
    return utc(moment).isoformat(timespec="microseconds")


def from_iso(text: str) -> datetime:
    """The instant that `iso` (or the scheduler) wrote. Raises ValueError for anything without a zone."""
    return utc(datetime.fromisoformat(text))
