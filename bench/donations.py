"""Donations in batches of fifty with a second between, at 1,000 and 10,000: what the bank saw, memory and time.

Measured: `scheduled-donations` at the stand-in bank, which declines 1 %, answers 0.5 % of the calls with 503, and moves
the money of 0.5 % without an answer. The state machine is executed by MiniStack. All along, slices in hand and slices
that were handled are given to the batch function once more, as Step Functions does that repeats a task. The bank's own
record of its calls says which batches overlapped, how long it had peace between two, how long retries waited and
whether anybody was charged twice.

The floor is the pauses between the batches, and what the slowest entry of each batch waited for its retries.

Limits: seconds are those of MiniStack and of Python on this machine, 0.1 to 1 s a batch on top of the floor. Memory is
the highest resident size of the batch function's processes, which on Lambda is a little more with its runtime.
"""

import argparse
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from bench.executions import history, transitions
from bench.result import Result
from functions.jobs.donations.scheduled_donations import example, job
from rollcall.core.batches import Batches
from rollcall.core.catalog import find
from rollcall.core.target import UNLIMITED, Location
from tools.cli.stand_ins import StandIns
from tools.local_cloud.cloud import LocalCloud
from tools.local_cloud.event_source import LONG_POLL_SECONDS
from tools.local_cloud.functions import Function, FunctionError
from tools.stand_ins.bank import Call

#: Of the batch function.
BUDGET_MB = 128
#: The smaller run.
SMALL = 1_000
#: The answers after which nothing is tried again.
FINAL = frozenset({201, 402, 422})
REPEATED_EVERY_SECONDS = 2.0
#: Batches are at work for tenths of a second.
LOOK_EVERY_SECONDS = 0.01


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=10_000, help="of the larger run")
    parser.add_argument("--small", type=int, default=SMALL, help="of the smaller run; 0 leaves it out")
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--error-rate", type=float, default=0.005)
    parser.add_argument("--lost-rate", type=float, default=0.005)
    parser.add_argument("--refusal-rate", type=float, default=0.01)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the bank saw of a run's batches."""

    #: Pairs of batches that were called at the same time.
    overlapping: int
    #: From the last answer of a batch to the first call of the next, in seconds.
    shortest_pause: float
    #: After the first, second, … attempt: the shortest and the longest time until the next.
    waits: Mapping[int, tuple[float, float]]
    #: What the slowest entry of each batch waited for its retries, over all batches.
    waited: float
    called_after_a_decline: int
    most_calls_at_once: int


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that is complete."""

    entries: int
    outcomes: Mapping[str, int]
    seconds: float
    #: The pauses between its batches.
    pauses: float
    seen: Seen
    charged: int
    charged_twice: int
    repeated: int
    peak_memory_mb: float
    cpu_seconds: Mapping[str, float]
    #: Of the state machine.
    transitions: int
    #: By service and operation, as `rollcall run --json` counts them.
    requests: Mapping[str, Mapping[str, int]]

    @property
    def floor(self) -> float:
        """Seconds that no machine could save."""
        return self.pauses + self.seen.waited


def measure(arguments: argparse.Namespace) -> Result:
    """Run both sizes, and tell what the bank saw."""
    result = Result("donations")
    for entries in (each for each in (arguments.small, arguments.entries) if each):
        ran = run_donations(
            entries,
            latency_ms=arguments.latency_ms,
            bank_error_rate=arguments.error_rate,
            bank_lost_rate=arguments.lost_rate,
            bank_refusal_rate=arguments.refusal_rate,
        )
        _tell(result, ran)
    return result


def _tell(result: Result, ran: Ran) -> None:
    name, seen = f"{ran.entries:,}", ran.seen
    result.add(f"{name} donations", ", ".join(f"{outcome} {count:,}" for outcome, count in ran.outcomes.items()))
    result.add("  charged", ran.charged)
    result.add("  slices handed to the function once more", ran.repeated)
    result.claim(f"{name}: nobody is charged twice", ran.charged_twice == 0)
    result.claim(f"{name}: no two batches overlap", seen.overlapping == 0)
    result.claim(f"{name}: nobody is called after a decline", seen.called_after_a_decline == 0)
    result.add("  calls at once, at most", seen.most_calls_at_once)
    result.add("  shortest pause between two batches", seen.shortest_pause, "s")
    for number, (shortest, longest) in seen.waits.items():
        result.add(f"  from attempt {number} to the next", f"{shortest:.2f} to {longest:.2f}", "s")
    result.add("  seconds from start to completion", ran.seconds, "s")
    result.add("  of which pauses, and waits for retries", f"{ran.pauses:.0f} and {seen.waited:.0f}", "s")
    result.add("  times the floor", ran.seconds / ran.floor if ran.floor else 0.0)
    result.add("  state transitions", ran.transitions)
    result.judge(f"{name}: peak memory of the batch function", ran.peak_memory_mb, BUDGET_MB, "MB")
    result.fields[str(ran.entries)] = {
        "outcomes": dict(ran.outcomes),
        "charged": ran.charged,
        "charged_twice": ran.charged_twice,
        "repeated_slices": ran.repeated,
        "overlapping_batches": seen.overlapping,
        "shortest_pause": round(seen.shortest_pause, 3),
        "waits": {number: [round(each, 2) for each in wait] for number, wait in seen.waits.items()},
        "called_after_a_decline": seen.called_after_a_decline,
        "seconds": round(ran.seconds, 1),
        "floor_of_pauses": ran.pauses,
        "floor": round(ran.floor, 1),
        "peak_memory_mb": round(ran.peak_memory_mb, 1),
        "state_transitions": ran.transitions,
    }


def run_donations(entries: int, *, latency_ms: float = 50.0, repeating: bool = True, **faults: float) -> Ran:
    """One run on a cloud of its own."""
    declared, batches = find(job.name), job.delivery
    if batches is None:
        raise AssertionError(f"{job.name} is not delivered in batches")
    with StandIns(latency_ms=latency_ms, bank_keeps_calls=True, **faults) as stand_ins, LocalCloud() as cloud:
        deployed = cloud.deploy(declared, Location(stand_ins.of(job.target.name), rate=UNLIMITED), {})
        cloud.fill(job.tables[0], (example(n) for n in range(entries)))
        begun = time.monotonic()
        run = cloud.start(job.name, datetime.now(UTC), secrets.token_hex(3))
        with _repeating(deployed.worker, repeating) as repeated:
            completed = _completed(cloud, run)
        seconds = time.monotonic() - begun
        seen = look(stand_ins.bank_calls(), _batches_of(cloud, run, batches))
        bank = stand_ins.counts(job.target.name)
        events = history(cloud, job.name, run)
        slices = batches.slices(entries)
        cloud.stop()
        return Ran(
            entries=entries,
            outcomes={name: count for name, count in completed["outcomes"].items() if count},
            seconds=seconds,
            pauses=(slices - 1) * batches.pause.total_seconds(),
            seen=seen,
            charged=bank["movements"],
            charged_twice=len(bank["moved_twice"]),
            repeated=len(repeated),
            peak_memory_mb=cloud.used["batch"].peak_memory_mb,
            cpu_seconds={kind: used.cpu_seconds for kind, used in cloud.used.items()},
            transitions=transitions(events, slices),
            requests=cloud.requests.by_service(),
        )


def look(calls: Sequence[Call], batch_of: Mapping[str, int]) -> Seen:
    """What the calls of a run come to; `batch_of` says in which batch a reference is."""
    of_batch: dict[int, list[Call]] = defaultdict(list)
    of_reference: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        of_batch[batch_of[call.reference]].append(call)
        of_reference[call.reference].append(call)
    spans = sorted(
        (min(each.came_at for each in some), max(each.ends_at for each in some)) for some in of_batch.values()
    )
    waits: dict[int, list[float]] = defaultdict(list)
    slowest: dict[int, float] = defaultdict(float)
    for reference, some in of_reference.items():
        gaps = [later.came_at - earlier.ends_at for earlier, later in pairwise(some)]
        for number, gap in enumerate(gaps, start=1):
            waits[number].append(gap)
        batch = batch_of[reference]
        slowest[batch] = max(slowest[batch], sum(gaps))
    pauses = [later[0] - earlier[1] for earlier, later in pairwise(spans)]
    return Seen(
        overlapping=sum(pause < 0 for pause in pauses),
        shortest_pause=min(pauses, default=0.0),
        waits={number: (min(some), max(some)) for number, some in sorted(waits.items())},
        waited=sum(slowest.values()),
        called_after_a_decline=sum(
            earlier.status in FINAL for some in of_reference.values() for earlier, _ in pairwise(some)
        ),
        most_calls_at_once=_at_once(calls),
    )


def _at_once(calls: Sequence[Call]) -> int:
    changes = sorted([(call.came_at, 1) for call in calls] + [(call.ends_at, -1) for call in calls])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


@contextmanager
def _repeating(function: Function, wanted: bool) -> Iterator[list[Any]]:
    """Invoke the function with an event that it has in hand, and with one that it had; yields those events."""
    over, repeated, handled = threading.Event(), list[Any](), list[Any]()

    def repeat() -> None:
        due = time.monotonic()
        while wanted and not over.wait(LOOK_EVERY_SECONDS):
            at_work = function.at_work()
            if not at_work or time.monotonic() < due:
                continue
            due = time.monotonic() + REPEATED_EVERY_SECONDS
            for event in [*at_work[:1], *handled[:1]]:
                try:
                    function.invoke(event)
                except FunctionError:
                    return
                repeated.append(event)
            handled[:] = at_work

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield repeated
    finally:
        over.set()
        thread.join()


def _batches_of(cloud: LocalCloud, run: str, batches: Batches) -> dict[str, int]:
    """Key -> number of its batch."""
    record = cloud.ledger.run(run)
    if record is None:
        raise AssertionError(f"there is no {run}")
    chunks = range(-(-record.total // record.chunk_size))
    lines = [line for chunk in chunks for line in cloud.manifests.read(record, chunk)]
    return {str(line.key): index // batches.size for index, line in enumerate(lines)}


def _completed(cloud: LocalCloud, run: str) -> Mapping[str, Any]:
    while True:
        for detail in cloud.announcements(LONG_POLL_SECONDS):
            if detail["run"] == run:
                return detail
