"""The jobs of a plan, as a team would declare them, and what their runs are to do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rollcall import (
    NEVER_ARRIVED,
    AtLeast,
    Breaker,
    Call,
    Entry,
    Job,
    Keys,
    NeverArrived,
    Outcome,
    Rate,
    Retry,
    Run,
    RunCompleted,
    SourceError,
    Target,
    TryAgain,
    daily,
    every,
)
from tests.simulation.plays.counterparty import STRANGE, TRY_LATER
from tests.simulation.plays.plans import JobPlan, ReportFault

#: How long the target is taken to honour keys, and for how long it does.
WINDOW, KEY_WINDOW = timedelta(hours=20), timedelta(hours=24)
SETTLES_WITHIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Expected:
    """An entry that a run must settle."""

    key: str | None
    #: What the target knows it by.
    reference: str
    valid: bool


def reference_of(plan: JobPlan, run: str, day: str, number: int) -> str:
    """The thing itself, whatever run it is in, or the run's own."""
    return f"{plan.name}/{number}/{run if plan.own_references else day}"


def expected(plan: JobPlan, run: str, day: str) -> list[Expected]:
    """The entries of a run, in the order of its manifest."""
    valid = [Expected(f"E{number}", reference_of(plan, run, day, number), True) for number in range(plan.entries)]
    return [*valid, *(Expected(None, "", False) for _ in range(plan.invalid))]


@dataclass
class PlannedJobs:
    """Makes jobs of plans, and hears what their runs do."""

    #: What `on_complete` was called with.
    heard: list[RunCompleted] = field(default_factory=list)

    def job(self, plan: JobPlan, *, deployed: int = 0) -> Job:
        """The job of a plan, in its declaration number `deployed`."""
        target = Target(
            plan.target,
            concurrency=2 * plan.concurrency,
            timeout=timedelta(seconds=plan.timeout),
            rate=None if plan.rate is None else Rate.per_second(plan.rate),
            breaker=Breaker(failures=plan.breaker, pause=timedelta(seconds=20)),
            keys=Keys(WINDOW) if plan.keys else None,
            settles_within=SETTLES_WITHIN,
        )
        job = Job(
            plan.name,
            schedule=daily("02:30") if plan.every is None else every(minutes=plan.every),
            target=target,
            concurrency=plan.concurrency,
            retry=Retry(plan.retries + deployed, first=timedelta(seconds=1), cap=timedelta(seconds=20)),
            overlap=plan.overlap,
            delivery=plan.batches,
            moves_money=plan.moves_money,
            deadline=timedelta(minutes=plan.deadline),
            expect=AtLeast(plan.entries + plan.invalid + 1) if plan.report is ReportFault.SHORT else None,
        )
        job.window = plan.window  # below what a declaration may ask for
        job.source(self._source(plan))
        job.callback(order)
        if plan.probe:
            job.probe(ask)
        job.on_complete(self._hook(plan))
        return job

    def _hook(self, plan: JobPlan) -> Callable[[RunCompleted], None]:
        def hear(completed: RunCompleted) -> None:
            self.heard.append(completed)
            if plan.hook_fails:
                raise RuntimeError("nobody answers")

        return hear

    @staticmethod
    def _source(plan: JobPlan) -> Callable[[Run], Iterator[Entry]]:
        def entries(run: Run) -> Iterator[Entry]:
            for number in range(plan.entries):
                reference = reference_of(plan, run.id, f"{run.scheduled_for:%Y%m%d}", number)
                entry = Entry(f"E{number}", {"reference": reference}, reference if plan.moves_money else None)
                yield entry
                if number < plan.duplicates:
                    yield entry
            if plan.report is ReportFault.CONTRADICTION and plan.entries:
                yield Entry("E0", {"reference": "another"}, "another" if plan.moves_money else None)
            if plan.report is ReportFault.BREAKS_OFF:
                raise SourceError("the report breaks off")
            for _ in range(plan.invalid):
                yield Entry(None, {"reference": ""})

        return entries


async def order(payload: dict[str, Any], call: Call) -> None:
    """Order what the entry is about."""
    answer = await call.http.post("/orders", json={**payload, "run": call.run_id, "attempt": call.attempt})
    if answer.status == TRY_LATER:
        raise TryAgain("not now")
    if answer.status == STRANGE:
        raise KeyError("an answer that the callback does not understand")


async def ask(payload: dict[str, Any], call: Call) -> Outcome | NeverArrived:
    """Ask what became of it."""
    known = (await call.http.get(f"/orders?reference={payload['reference']}")).json()
    if known["done"]:
        return Outcome.SUCCEEDED
    return Outcome.REJECTED if known["refused"] else NEVER_ARRIVED
