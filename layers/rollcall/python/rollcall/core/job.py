"""A job: everything that a team declares in one file."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, get_type_hints

from rollcall.core.batches import Batches
from rollcall.core.buckets import Objects
from rollcall.core.call import Call
from rollcall.core.entry import Entry
from rollcall.core.errors import DeclarationError
from rollcall.core.expect import MOST_ENTRIES, Expect
from rollcall.core.outcome import NeverArrived, Outcome
from rollcall.core.retry import Retry
from rollcall.core.run import Run, RunCompleted
from rollcall.core.schedule import Schedule
from rollcall.core.target import Bucket, Location, Need, Report, Table, Target, checked_name

if TYPE_CHECKING:
    from rollcall.core.payload import PayloadType

#: With it, a run id has at most 72 characters: `<job>-<yyyymmddThhmmssZ>-<nonce>`.
LONGEST_JOB_NAME = 40

Found: TypeAlias = Outcome | NeverArrived
Source: TypeAlias = Callable[[Run], Iterable[Entry]]
Callback: TypeAlias = Callable[[Any, Call], Outcome | Awaitable[Outcome | None] | None]
Probe: TypeAlias = Callable[[Any, Call], Found | Awaitable[Found]]
Hook: TypeAlias = Callable[[RunCompleted], None]
Example: TypeAlias = Callable[[int], Mapping[str, object]]
Fill: TypeAlias = Callable[[Objects, int], None]
ExampleItem: TypeAlias = Callable[[int], Mapping[str, object] | None]

_BY_POSITION = frozenset({inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD})

SourceT = TypeVar("SourceT", bound=Callable[[Run], Iterable[Entry]])
CallbackT = TypeVar("CallbackT", bound=Callable[..., Any])
ProbeT = TypeVar("ProbeT", bound=Callable[..., Any])
HookT = TypeVar("HookT", bound=Hook)
ExampleT = TypeVar("ExampleT", bound=Example)
FillT = TypeVar("FillT", bound=Fill)


class Overlap(StrEnum):
    """What a run does that is due while another one of its job is not terminal yet."""

    SKIP = "skip"
    #: Waits for the other to end; one run can wait, more are skipped.
    QUEUE = "queue"
    ALLOW = "allow"


class Job:
    """One scheduled fan-out: a source of entries and the callback that each of them gets.

    Declared at the top of a file in `functions/jobs/<system>/`; `source` and `callback` are attached to it by
    decorators. Raises DeclarationError, when the file is imported, for what cannot work.
    """

    def __init__(
        self,
        name: str,
        *,
        schedule: Schedule,
        target: Target,
        #: Calls in flight; at least 2 (1 in batches), and over all jobs of the target at most its own concurrency.
        concurrency: int = 10,
        needs: Sequence[Need] = (),
        retry: Retry = Retry(),  # noqa: B008 - a frozen value
        overlap: Overlap = Overlap.SKIP,
        expect: Expect | None = None,
        #: From the scheduled time; a run that is not complete by then is reported as overdue.
        deadline: timedelta = timedelta(hours=8),
        #: Entries on the queue that are not settled, over all runs; None: as many as fit, see `sizing.window`.
        window: int | None = None,
        #: A second entry with the same key and another payload is a duplicate instead of a contradiction.
        first_wins: bool = False,
        #: Every entry must bring an idempotency key of its own; one without is rejected.
        moves_money: bool = False,
        #: Alarms of its own beside the environment's, named after it, for people who look after this job alone.
        own_alarms: bool = False,
        #: Bounded batches by a state machine; None: a queue, which knows no bounds.
        delivery: Batches | None = None,
    ) -> None:
        self.name = checked_name("job", name, LONGEST_JOB_NAME)
        self.schedule = schedule
        self.target = target
        self.concurrency = concurrency
        self.needs = tuple(needs)
        self.retry = retry
        self.overlap = overlap
        self.expect = expect
        self.deadline = deadline
        self.window = window
        self.first_wins = first_wins
        self.moves_money = moves_money
        self.own_alarms = own_alarms
        self.delivery = delivery
        self._source: Source | None = None
        self._callback: Callback | None = None
        self._probe: Probe | None = None
        self._on_complete: Hook | None = None
        self._example: Example | None = None
        self._fills: dict[Bucket, Fill] = {}
        self.example_items: Mapping[Table, ExampleItem] = {}
        self._check()

    def _check(self) -> None:
        if self.delivery is not None:
            self.delivery.check(self.name, self.retry.retries)
            if self.overlap is Overlap.ALLOW:
                raise DeclarationError(
                    f"job {self.name}: its runs may overlap, and it is delivered in batches; only a queue keeps two "
                    f"runs from calling for the same entity at the same time, so take Overlap.SKIP or Overlap.QUEUE, "
                    f"or leave delivery out"
                )
            if self.concurrency < self.delivery.at_once:
                raise DeclarationError(
                    f"job {self.name}: concurrency is {self.concurrency}, but {self.delivery.at_once} batches are at "
                    f"work at once, each with a call; raise the one or lower the other"
                )
        elif self.concurrency < 2:
            raise DeclarationError(
                f"job {self.name}: concurrency is {self.concurrency}; a queue's workers are at least 2 "
                f"(MaximumConcurrency of the event source mapping), so take 2 or more"
            )
        if self.concurrency > self.target.concurrency:
            raise DeclarationError(
                f"job {self.name}: concurrency is {self.concurrency}, but its target {self.target.name} takes only "
                f"{self.target.concurrency} calls at once; lower the one or raise the other"
            )
        if self.deadline <= timedelta(0):
            raise DeclarationError(
                f"job {self.name}: deadline is {self.deadline}; it counts from the scheduled time and is positive"
            )
        if self.window is not None and not 1_000 <= self.window <= 100_000:
            raise DeclarationError(
                f"job {self.name}: window is {self.window:,}; FIFO queues work well with 1,000 to 100,000 entries"
            )

    def __repr__(self) -> str:
        return f"Job({self.name!r})"

    def bound_to(self, location: Location | None) -> "Job":
        """This job where its target is `location`, with the rate that the target has there; None: bound nowhere."""
        if location is None:
            return self
        bound = copy(self)
        bound.target = location.bind(self.target)
        return bound

    def source(self, function: SourceT) -> SourceT:
        """Decorator: the generator that yields the run's entries one by one."""
        self._source = self._once("source", self._source, function)
        return function

    def callback(self, function: CallbackT) -> CallbackT:
        """Decorator: what is done for each entry; plain or async, called with the payload and a `Call`."""
        self._check_parameters("callback", function)
        self._callback = self._once("callback", self._callback, function)
        return function

    def probe(self, function: ProbeT) -> ProbeT:
        """Decorator: asks the target what became of an earlier call that it never answered; like the callback.

        It returns the Outcome that the target tells of, or NEVER_ARRIVED where the target knows nothing of the call.
        It raises where the target cannot tell now, and is then asked again. It changes nothing.
        """
        self._check_parameters("probe", function)
        self._probe = self._once("probe", self._probe, function)
        return function

    def _check_parameters(self, what: str, function: Callable[..., Any]) -> None:
        kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
        if len(kinds) != 2 or not _BY_POSITION.issuperset(kinds):
            raise DeclarationError(f"job {self.name}: the {what} takes two parameters, the payload and the call")

    def on_complete(self, function: HookT) -> HookT:
        """Decorator: called with the `RunCompleted` once a run is terminal, after the event is on the bus."""
        self._on_complete = self._once("on_complete", self._on_complete, function)
        return function

    def example(self, function: ExampleT) -> ExampleT:
        """Decorator: the n-th record (from 0) of the report that stands in for the real one in local runs."""
        self._example = self._once("example", self._example, function)
        return function

    def example_item(self, table: Table) -> Callable[[ExampleItem], ExampleItem]:
        """Decorator: the n-th item of another table than the first, as local runs have it; None for none."""

        def add(function: ExampleItem) -> ExampleItem:
            self.example_items = {**self.example_items, table: function}
            return function

        return add

    def fill(self, bucket: Bucket) -> Callable[[FillT], FillT]:
        """Decorator: puts the objects of local runs into `bucket`, for so many entries."""

        def keep(function: FillT) -> FillT:
            self._fills[bucket] = self._once(f"fill of {bucket.name}", self._fills.get(bucket), function)
            return function

        return keep

    def _once(self, what: str, present: object, function: Any) -> Any:
        if present is not None:
            raise DeclarationError(f"job {self.name} has two functions declared as its {what}; keep one")
        return function

    def entries(self, run: Run) -> Iterator[Entry]:
        """The entries that the source yields for `run`."""
        if self._source is None:
            raise DeclarationError(f"job {self.name} has no source; decorate a generator with @job.source")
        return iter(self._source(run))

    @property
    def most_entries(self) -> int:
        """How many entries its source may yield."""
        return self.expect.at_most if self.expect is not None else MOST_ENTRIES

    @property
    def callback_function(self) -> Callback:
        if self._callback is None:
            raise DeclarationError(f"job {self.name} has no callback; decorate a function with @job.callback")
        return self._callback

    @property
    def probe_function(self) -> Probe | None:
        return self._probe

    @property
    def hook(self) -> Hook | None:
        return self._on_complete

    @property
    def example_record(self) -> Example | None:
        return self._example

    @property
    def fills(self) -> Mapping[Bucket, Fill]:
        return self._fills

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        return tuple(need for need in self.needs if isinstance(need, Bucket))

    @property
    def reports(self) -> tuple[Report, ...]:
        return tuple(need for need in self.needs if isinstance(need, Report))

    @property
    def tables(self) -> tuple[Table, ...]:
        return tuple(need for need in self.needs if isinstance(need, Table))

    @cached_property
    def payloads(self) -> "PayloadType":
        """The type of the payload, from the callback's annotation; any JSON where there is none."""
        from rollcall.core.payload import PayloadType  # pydantic with it, which a handler's import can do without

        function = self.callback_function
        parameter = next(iter(inspect.signature(function).parameters))
        try:
            return PayloadType(get_type_hints(function).get(parameter, Any))
        except DeclarationError as error:
            raise DeclarationError(f"job {self.name}: {error}") from error
        except NameError as error:
            raise DeclarationError(f"job {self.name}: the callback's annotation cannot be resolved: {error}") from error

    def check_complete(self) -> None:
        """Raise DeclarationError if a part is missing that a run would need."""
        if self._source is None:
            raise DeclarationError(f"job {self.name} has no source; decorate a generator with @job.source")
        _ = self.payloads
