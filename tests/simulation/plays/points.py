"""Every fault at every request: small lives in which one thing goes wrong at the k-th request, for every k."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from rollcall.core.job import Overlap
from tests.simulation.models.gate import Answer, Sent, Serve
from tests.simulation.plays.batch_lives import BATCH_LIVES
from tests.simulation.plays.counterparty import Mishap
from tests.simulation.plays.faults import MAPPING, OF_EXECUTIONS, Fault, Faults
from tests.simulation.plays.plans import LONG_LATENCY, LONG_TIMEOUT, Act, Deed, JobPlan, Plan, ReportFault
from tests.simulation.plays.playing import Play, Played

#: All that goes wrong at the targets does so within a minute.
QUIET_AT = 60.0
#: The environment that makes the request dies.
CRASHES = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER)
#: It lives, and is answered otherwise; or stands still for longer than anybody waits for it.
ANSWERS = (
    Fault.REQUEST_LOST,
    Fault.ANSWER_LOST,
    Fault.MADE_TWICE,
    Fault.THROTTLED,
    Fault.CONFLICT,
    Fault.PARTIAL,
    Fault.FROZEN,
    *OF_EXECUTIONS,
)
_JOB = JobPlan(
    "pay-rent",
    entries=24,
    duplicates=1,
    invalid=1,
    retries=2,
    window=10,
    moves_money=True,
    refused=0.08,
    mishaps={Mishap.UNAVAILABLE: 0.08, Mishap.ANSWER_LOST: 0.04, Mishap.REQUEST_LOST: 0.04},
)
_LONG: dict[str, Any] = {"latency": LONG_LATENCY, "timeout": LONG_TIMEOUT}
_FIRE = Act(0.0, Deed.FIRE, _JOB.name)


def _life(*acts: Act, redrives: int = 0, **job: Any) -> Plan:
    """25 entries in five chunks, of which the counting tree has three levels."""
    one = replace(_JOB, **job)
    return Plan(3, (one,), (_FIRE, *acts), {}, QUIET_AT, redrives, chunk_size=5, fan_in=3)


def _then(at: float, deed: Deed) -> Act:
    return Act(at, deed, _JOB.name)


#: The lives at whose every request something goes wrong.
LIVES = {
    "with keys, and a redrive": _life(redrives=1),
    "with claims and a probe": _life(keys=False, redrives=1),
    "with claims": _life(keys=False, probe=False),
    "cancelled in the middle": _life(_then(0.35, Deed.CANCEL)),
    "two runs, one queued": _life(_then(0.2, Deed.START_BY_HAND), entries=8, overlap=Overlap.QUEUE),
    "two runs at once, at a rate": _life(_then(0.01, Deed.START_BY_HAND), entries=8, overlap=Overlap.ALLOW, rate=5),
    "a target that is down": _life(entries=9, breaker=3, window=50, mishaps={Mishap.UNAVAILABLE: 0.7}),
    "dead letters": _life(
        entries=9, most_receives=2, window=50, mishaps={Mishap.POISON_BEFORE: 0.3, Mishap.POISON_AFTER: 0.3}
    ),
    "dead letters, with claims": _life(
        entries=9, keys=False, most_receives=2, mishaps={Mishap.POISON_AFTER: 0.4, Mishap.POISON_BEFORE: 0.2}
    ),
    "messages lost": _life(_then(0.3, Deed.LOSE), entries=12, window=50),
    "messages lost, with claims": _life(_then(0.3, Deed.LOSE), entries=12, keys=False, window=50),
    "a queued run is cancelled": _life(
        _then(0.2, Deed.START_BY_HAND), _then(0.4, Deed.CANCEL_LATEST), entries=8, overlap=Overlap.QUEUE
    ),
    "paused, and resumed": _life(_then(0.3, Deed.PAUSE), _then(90.0, Deed.RESUME), entries=12),
    "cancelled while paused": _life(_then(0.3, Deed.PAUSE), _then(20.0, Deed.CANCEL), entries=12, keys=False),
    "other keys, and a redrive": _life(
        _then(0.3, Deed.DEPLOY_KEYS), redrives=1, entries=12, mishaps={Mishap.BROKEN: 0.2, Mishap.ANSWER_LOST: 0.2}
    ),
    "locked out": _life(entries=9, mishaps={Mishap.LOCKED_OUT: 0.5, Mishap.SLOW: 0.2}),
    "cancelled during long calls": _life(_then(20.0, Deed.CANCEL), entries=12, window=50, **_LONG),
    "cancelled during long calls, with claims": _life(_then(20.0, Deed.CANCEL), entries=12, keys=False, **_LONG),
    "messages lost during long calls": _life(_then(20.0, Deed.LOSE), entries=12, window=50, **_LONG),
    "entries that fail for good": _life(
        entries=9, breaker=1_000, window=50, mishaps={Mishap.UNAVAILABLE: 0.6, Mishap.ANSWER_LOST: 0.1}
    ),
    "entries that fail for good, with claims": _life(
        entries=9, breaker=1_000, window=50, keys=False, mishaps={Mishap.NOT_SENT: 0.4, Mishap.UNAVAILABLE: 0.3}
    ),
    "skipped": _life(_then(0.2, Deed.START_BY_HAND), entries=8, overlap=Overlap.SKIP),
    "a list that is too short": _life(entries=8, report=ReportFault.SHORT),
    **BATCH_LIVES,
}
#: A smaller life, for crashes in pairs: 6 entries in two chunks and a root.
SMALL = replace(_life(), jobs=(replace(_JOB, entries=5, window=50),), chunk_size=3, fan_in=2)


#: Is told the number of each request before it is served.
Watch: TypeAlias = Callable[[int], None]


def unwatched(number: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Point:
    """Something goes wrong at the request of that number, counted from 1 over all environments."""

    request: int
    fault: Fault

    def __str__(self) -> str:
        return f"{self.fault} at request {self.request}"


class Points(Faults):
    """Faults at the points given, and nothing else."""

    def __init__(self, points: Sequence[Point], seed: int, watch: Watch = unwatched) -> None:
        super().__init__({}, seed)
        self._points = {point.request: point.fault for point in points}
        #: Requests so far.
        self.requests: list[Sent] = []
        self._watch = watch

    def __call__(self, sent: Sent, serve: Serve) -> Answer:
        if sent.origin == MAPPING:
            return serve()
        self.requests.append(sent)
        self._watch(len(self.requests))
        fault = self._points.get(len(self.requests))
        if fault is None or not self.concerns(fault, sent):
            return serve()
        self.counts[fault] += 1
        return self._suffer(fault, sent, serve)


def play_with(plan: Plan, *points: Point, watch: Watch = unwatched) -> Played:
    """A life in which this goes wrong."""
    return Play(plan, faults=Points(points, plan.seed, watch)).run()


def requests_of(plan: Plan) -> list[Sent]:
    """The requests that a life makes in which nothing goes wrong."""
    faults = Points((), plan.seed)
    Play(plan, faults=faults).run()
    return faults.requests


def points_among(requests: Sequence[Sent], kinds: Sequence[Fault]) -> list[Point]:
    """All points at which one of `kinds` can happen."""
    return [
        Point(number, kind) for number, sent in enumerate(requests, 1) for kind in kinds if Faults.concerns(kind, sent)
    ]


def points_of(plan: Plan, kinds: Sequence[Fault]) -> list[Point]:
    """All points of a life at which one of `kinds` can happen."""
    return points_among(requests_of(plan), kinds)


def pairs_of(plan: Plan) -> Iterator[tuple[Point, Point]]:
    """Each crash with each later one; the second counts on in the life that the first has changed."""
    points = points_of(plan, CRASHES)
    return ((one, other) for one in points for other in points if one.request < other.request)
