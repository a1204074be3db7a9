"""Every crash point: small lives in which an environment dies before or after the k-th request, for every k."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rollcall.core.job import Overlap
from tests.simulation.counterparty import Mishap
from tests.simulation.faults import MAPPING, Fault, Faults
from tests.simulation.gate import Answer, Crash, Sent, Serve
from tests.simulation.plans import Act, Deed, JobPlan, Plan
from tests.simulation.playing import Play, Played

#: All that goes wrong at the targets does so within a minute.
QUIET_AT = 60.0
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
_FIRE = Act(0.0, Deed.FIRE, _JOB.name)


def _life(*acts: Act, redrives: int = 0, **job: object) -> Plan:
    """25 entries in five chunks, of which the counting tree has three levels."""
    one = replace(_JOB, **job)  # type: ignore[arg-type]
    return Plan(3, (one,), (_FIRE, *acts), {}, QUIET_AT, redrives, chunk_size=5, fan_in=3)


#: The lives whose every request is a crash point.
LIVES = {
    "with keys, and a redrive": _life(redrives=1),
    "with claims and a probe": _life(keys=False, redrives=1),
    "with claims": _life(keys=False, probe=False),
    "cancelled in the middle": _life(Act(0.35, Deed.CANCEL, _JOB.name)),
    "two runs, one queued": _life(Act(0.2, Deed.START_BY_HAND, _JOB.name), entries=8, overlap=Overlap.QUEUE),
    "two runs at once, at a rate": _life(
        Act(0.01, Deed.START_BY_HAND, _JOB.name), entries=8, overlap=Overlap.ALLOW, rate=5
    ),
}
#: A smaller life, for crashes in pairs: 6 entries in two chunks and a root.
SMALL = replace(_life(), jobs=(replace(_JOB, entries=5, window=50),), chunk_size=3, fan_in=2)


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """Before or after the request of that number, counted from 1 over all environments."""

    request: int
    served: bool

    def __str__(self) -> str:
        return f"{'after' if self.served else 'before'} request {self.request}"


class Crashes(Faults):
    """Crashes at the points given, and nothing else."""

    def __init__(self, points: tuple[CrashPoint, ...], seed: int) -> None:
        super().__init__({}, seed, lambda _: None)
        self._points = {point.request: point for point in points}
        #: Requests so far.
        self.requests = 0

    def __call__(self, sent: Sent, serve: Serve) -> Answer:
        if sent.origin == MAPPING:
            return serve()
        self.requests += 1
        point = self._points.get(self.requests)
        if point is None:
            return serve()
        if point.served:
            serve()
        self.counts[Fault.CRASH_AFTER if point.served else Fault.CRASH_BEFORE] += 1
        raise Crash(str(point))


def crash_at(plan: Plan, *points: CrashPoint) -> Played:
    """A life in which environments die at these points."""
    return Play(plan, faults=Crashes(points, plan.seed)).run()


def requests_of(plan: Plan) -> int:
    """How many requests a life makes in which nobody dies."""
    faults = Crashes((), plan.seed)
    Play(plan, faults=faults).run()
    return faults.requests


def points_of(plan: Plan) -> list[CrashPoint]:
    """All crash points of a life."""
    return [CrashPoint(number, served) for number in range(1, requests_of(plan) + 1) for served in (False, True)]


def pairs_of(plan: Plan) -> Iterator[tuple[CrashPoint, CrashPoint]]:
    """Each crash point with each later one; the second counts on in the life that the first has changed."""
    points = points_of(plan)
    return ((one, other) for one in points for other in points if one.request < other.request)
