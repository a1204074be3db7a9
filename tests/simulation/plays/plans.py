"""What a simulation is about: jobs, what happens to them, and what goes wrong, all drawn from one seed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from rollcall.core.batches import Batches
from rollcall.core.job import Overlap
from tests.simulation.plays.counterparty import Mishap
from tests.simulation.plays.faults import OF_EXECUTIONS, Fault

Kind = TypeVar("Kind", bound=StrEnum)

MINUTE = 60.0


class ReportFault(StrEnum):
    """What is wrong with a report."""

    CONTRADICTION = "contradiction"
    BREAKS_OFF = "breaks off"
    SHORT = "too short"


class Deed(StrEnum):
    """What somebody does to a job."""

    FIRE = "fire"
    START_BY_HAND = "start by hand"
    CANCEL = "cancel"
    CANCEL_LATEST = "cancel the latest"
    PAUSE = "pause"
    RESUME = "resume"
    #: Another declaration of the same job is deployed: other retries, and a target that takes keys now, or none.
    DEPLOY = "deploy"
    DEPLOY_KEYS = "deploy other keys"
    #: Half of the messages on the job's queue are gone, as by a purge.
    LOSE = "lose messages"


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens."""

    #: Seconds after the beginning.
    at: float
    deed: Deed
    job: str


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job and its target."""

    name: str
    entries: int
    #: Of the entries, how many come twice, and how many have no usable key.
    duplicates: int = 0
    invalid: int = 0
    report: ReportFault | None = None
    target: str = "shop"
    keys: bool = True
    probe: bool = True
    moves_money: bool = False
    #: Whether no other run orders the same things: a must where the target takes no keys, for claims are a run's own.
    own_references: bool = True
    retries: int = 2
    overlap: Overlap = Overlap.SKIP
    window: int = 50
    concurrency: int = 20
    #: Calls a second.
    rate: int | None = None
    #: Failures in a row that open its target's breaker.
    breaker: int = 10
    refused: float = 0.0
    #: Seconds that a call takes, and after which nobody waits for its answer any more.
    latency: float = 0.05
    timeout: float = 2.0
    #: How often a message is received before it is a dead letter; a thousand times where nobody says otherwise.
    most_receives: int = 1_000
    #: Minutes after which a run is overdue.
    deadline: int = 480
    hook_fails: bool = False
    #: Minutes between its occurrences, where its schedule starts it; and the share of them of which no start comes.
    every: int | None = None
    never_fired: float = 0.0
    #: Where it is delivered in batches instead of by a queue.
    batches: Batches | None = None
    mishaps: Mapping[Mishap, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """One simulation."""

    seed: int
    jobs: tuple[JobPlan, ...]
    acts: tuple[Act, ...]
    faults: Mapping[Fault, float] = field(default_factory=dict)
    #: Seconds after the beginning at which everything that goes wrong stops.
    quiet_at: float = 0.0
    #: How often what did not succeed is settled again, once all has ended.
    redrives: int = 0
    #: Whether what did not succeed is then settled under new keys.
    new_key: bool = False
    chunk_size: int = 5
    fan_in: int = 3
    scatter: int = 0

    @property
    def mishaps(self) -> bool:
        """Whether a target does otherwise than it should."""
        return any(job.mishaps for job in self.jobs)


#: Share of the seeds of which a job is started by its schedule.
SCHEDULED = 0.06
_STARTS = frozenset({Deed.FIRE, Deed.START_BY_HAND})
#: Share of the seeds whose calls outlast rounds of the watchdog.
LONG_CALLS = 0.15
#: In seconds: what they take, and after which nobody waits any more.
LONG_LATENCY, LONG_TIMEOUT = 70.0, 90.0
#: Share of the jobs that are delivered in batches.
IN_BATCHES = 0.2
_SHARES = {Deed.CANCEL: 0.2, Deed.PAUSE: 0.1, Deed.DEPLOY: 0.1, Deed.DEPLOY_KEYS: 0.1, Deed.LOSE: 0.1}


def drawn(seed: int) -> Plan:
    """The plan of a seed."""
    chance = random.Random(seed)  # noqa: S311
    jobs = [_job(chance, name) for name in ("pay-rent", "send-bills")[: chance.choice((1, 1, 2))]]
    if len(jobs) == 2 and chance.random() < 0.5:
        jobs[1] = _sharing(jobs[1], jobs[0])
    acts = _acts(chance, jobs)
    if len(jobs) == 2 and jobs[0].target == jobs[1].target:
        acts = [
            act for act in acts if act.deed is not Deed.DEPLOY_KEYS
        ]  # of the target of one job, it changes the other's
    new_key = chance.random() < 0.2
    # Drawn apart, so that all else of a seed is as it was.
    if random.Random(f"long calls {seed}").random() < LONG_CALLS:  # noqa: S311
        jobs = [replace(job, latency=LONG_LATENCY, timeout=LONG_TIMEOUT) for job in jobs]
    if (apart := random.Random(f"schedules {seed}")).random() < SCHEDULED:  # noqa: S311
        jobs[0] = replace(jobs[0], every=apart.choice((15, 60)), never_fired=apart.choice((0.0, 0.2, 0.5)))
        acts = [act for act in acts if act.job != jobs[0].name or act.deed not in _STARTS]
    apart = random.Random(f"batches {seed}")  # noqa: S311
    jobs = [_in_batches(apart, job) if apart.random() < IN_BATCHES else job for job in jobs]
    changing = {act.job for act in acts if act.deed is Deed.DEPLOY_KEYS}
    return Plan(
        seed=seed,
        jobs=tuple(
            replace(job, own_references=new_key or not (job.moves_money and job.keys) or job.name in changing)
            for job in jobs
        ),
        acts=tuple(sorted(acts, key=lambda act: act.at)),
        faults=_faults(chance, apart, jobs),
        quiet_at=chance.choice((2, 5, 20, 40)) * MINUTE,
        redrives=chance.choice((0, 1, 2)),
        new_key=new_key,
        fan_in=chance.choice((2, 3)),
        scatter=chance.choice((0, 0, 10)),
    )


def _in_batches(apart: random.Random, job: JobPlan) -> JobPlan:
    batches = Batches(
        size=apart.choice((1, 4, 6)),
        at_once=apart.choice((1, 1, 2, 3)),
        pause=timedelta(seconds=apart.choice((0, 1, 5))),
        most_entries=100,
    )
    overlap = Overlap.QUEUE if job.overlap is Overlap.ALLOW else job.overlap
    return replace(job, batches=batches, overlap=overlap, most_receives=1_000)


def _faults(chance: random.Random, apart: random.Random, jobs: list[JobPlan]) -> dict[Fault, float]:
    rates = (0.002, 0.01, 0.03, 0.1)
    found = _some(chance, tuple(kind for kind in Fault if kind not in OF_EXECUTIONS), rates)
    if found and any(job.batches is not None for job in jobs):
        found |= {kind: apart.choice(rates) for kind in OF_EXECUTIONS if apart.random() < 0.4}
    return found


def _some(chance: random.Random, kinds: tuple[Kind, ...], rates: tuple[float, ...]) -> dict[Kind, float]:
    number = chance.choice((0, 1, 2, 3, 5, 8))
    return {kind: chance.choice(rates) for kind in chance.sample(kinds, min(number, len(kinds)))}


def _job(chance: random.Random, name: str) -> JobPlan:
    entries = chance.choice((0, 1, 4, 5, 6, 12, 17, 26))
    keys = chance.random() < 0.6
    return JobPlan(
        name=name,
        entries=entries,
        duplicates=chance.choice((0, 0, 0, 2)) if entries > 3 else 0,
        invalid=chance.choice((0, 0, 1, 2)),
        report=chance.choice(tuple(ReportFault)) if chance.random() < 0.06 else None,
        target=f"{name}-target",
        keys=keys,
        probe=chance.random() < 0.7,
        moves_money=chance.random() < 0.5,
        retries=chance.choice((0, 1, 2, 3)),
        overlap=chance.choice(tuple(Overlap)),
        window=chance.choice((5, 10, 10, 50)),
        rate=chance.choice((None, None, None, 1, 5)),
        breaker=chance.choice((3, 10)),
        refused=chance.choice((0.0, 0.0, 0.1)),
        most_receives=chance.choice((1_000, 1_000, 1_000, 2, 4)),
        deadline=chance.choice((480, 5)),
        hook_fails=chance.random() < 0.1,
        mishaps=_some(chance, tuple(Mishap), (0.02, 0.1, 0.3)),
    )


def _sharing(job: JobPlan, other: JobPlan) -> JobPlan:
    """`job`, calling the other's target."""
    return replace(
        job,
        target=other.target,
        keys=other.keys,
        rate=other.rate,
        breaker=other.breaker,
        mishaps=other.mishaps,
        refused=other.refused,
    )


def _acts(chance: random.Random, jobs: list[JobPlan]) -> list[Act]:
    acts = []
    for job in jobs:
        for _ in range(chance.choice((1, 1, 2, 3))):
            deed = Deed.FIRE if chance.random() < 0.7 else Deed.START_BY_HAND
            acts.append(Act(chance.choice((0.0, 0.0, 5.0, 30.0, 300.0)) + chance.random(), deed, job.name))
        for deed, share in _SHARES.items():
            if chance.random() < share:
                at = chance.choice((0.1, 1.0, 10.0, 100.0)) * chance.uniform(0.5, 2)
                acts.append(Act(at, deed, job.name))
                if deed is Deed.PAUSE:
                    acts.append(Act(at + chance.choice((10.0, 600.0)), Deed.RESUME, job.name))
    return acts
