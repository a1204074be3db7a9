"""What `make deploy-local` shows, and what it must be."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rollcall.core.run import RunState
from rollcall.core.sizing import BATCH_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The last line; what was not come to is as it is here."""

    deployed: bool = False
    run_state: str | None = None
    total: int = 0
    succeeded: int = 0
    #: Announcements of the run's end on the environment's bus.
    completions: int = 0
    #: None: nobody looked.
    resources_left: int | None = None
    seconds: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What else tells that the run went through what is deployed."""

    #: Of the report.
    entries: int
    #: What the stand-in of the target was asked, and what it failed on purpose.
    calls: int
    injected: int
    #: Kind of function -> how often the job's was invoked.
    invocations: dict[str, int] = field(default_factory=dict)
    #: By the function behind the ledger's stream.
    announced: int


def wrong(shown: Shown, seen: Seen) -> Iterator[str]:
    """What is not as it must be: a line each."""
    if shown.run_state != RunState.COMPLETE:
        yield f"the run is {shown.run_state}"
    if not seen.entries == shown.total == shown.succeeded:
        yield f"of {seen.entries} entries {shown.total} were counted, and {shown.succeeded} succeeded"
    if seen.calls != shown.total + seen.injected:
        yield f"there were {seen.calls} calls for {shown.total} entries, of which {seen.injected} failed on purpose"
    if shown.completions != 1:
        yield f"the end was told {shown.completions} times"
    if seen.announced != 1:
        yield f"the function behind the stream announced {seen.announced} runs"
    if seen.invocations.get("fan_out") != 1:
        yield f"the fan-out function was invoked {seen.invocations.get('fan_out')} times"
    if seen.invocations.get("worker", 0) * BATCH_SIZE < shown.total:
        yield f"the worker function was invoked {seen.invocations.get('worker')} times for {shown.total} entries"
    if shown.resources_left != 0:
        yield f"{shown.resources_left} resources are left"
