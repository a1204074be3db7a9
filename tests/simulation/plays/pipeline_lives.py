"""Small lives of a pipeline, in which one thing goes wrong: a task, a run of another job, and a task that needs it."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from rollcall import Batches, Call, Entry, Job, Keys, Outcome, Pipeline, Retry, Run, Skip, Target, Task, by_hand, daily
from rollcall.core.names import execution_name
from rollcall.core.run import RunRecord, RunState, run_id
from rollcall.core.tree import Node
from rollcall.engine.runs.cancellation import cancel
from rollcall.engine.runs.progress import outcomes
from tests.simulation.checks.audit import Audit
from tests.simulation.checks.checks import OLD_NEWS
from tests.simulation.plays.cloud import SimulatedCloud
from tests.simulation.plays.playing import FREEZE_SECONDS, LIVENESS, LONG_POLL, Heard
from tests.simulation.plays.points import Point, Points, Watch, unwatched
from tests.simulation.plays.target import Reply
from tools.local_cloud.resources import LEDGER

SECOND = timedelta(seconds=1)
KEYED = Target("shop", concurrency=20, timeout=2 * SECOND, keys=Keys())
#: All that goes wrong does so within two hours: longer than a state machine waits for an answer.
QUIET_AFTER = timedelta(hours=2)
TASKS = ("fetch", "write-down")
STEPS = ("fetch", "order-things", "write-down")


@dataclass(frozen=True, slots=True)
class PipelineLife:
    """What happens in it where nothing goes wrong between the engine and the services."""

    entries: int = 7
    batches: Batches | None = None
    #: Of the entries of the run of the other job, how many are refused; and the share that has to succeed.
    refused: int = 0
    at_least: float = 1.0
    #: Whether the first task finds nothing to do.
    skips: bool = False
    #: How often the first task fails before it succeeds.
    failures: int = 1
    #: Somebody cancels the pipeline's run after so many seconds.
    cancelled_after: float | None = None

    @property
    def ends(self) -> tuple[Outcome, ...]:
        """How the steps end, if nobody cancels."""
        if self.skips:
            return Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.CANCELLED
        if self.refused and 1 - self.refused / self.entries < self.at_least:
            return Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED
        return (Outcome.SUCCEEDED,) * 3


IN_BATCHES = Batches(size=4, at_once=2, pause=SECOND, most_entries=100)
PIPELINE_LIVES = {
    "a pipeline over a queue": PipelineLife(),
    "a pipeline over batches": PipelineLife(batches=IN_BATCHES),
    "a pipeline of which too few succeed": PipelineLife(refused=2),
    "a pipeline of which enough succeed": PipelineLife(refused=2, at_least=0.5),
    "a pipeline with nothing to do": PipelineLife(skips=True),
    "a pipeline without entries": PipelineLife(entries=0, failures=0),
    "a pipeline that is cancelled": PipelineLife(batches=IN_BATCHES, cancelled_after=2.0),
}


@dataclass
class PlayedPipeline:
    """What happened."""

    life: PipelineLife
    cloud: SimulatedCloud
    audit: Audit
    faults: Points
    pipeline: Pipeline
    child: Job
    run: str = ""
    #: Every call of a task, by its name.
    calls: dict[str, list[datetime]] = field(default_factory=dict)
    frozen: bool = False
    cancelled: bool = False
    violations: list[str] = field(default_factory=list)

    @property
    def due(self) -> datetime:
        return self.record.scheduled_for

    @property
    def record(self) -> RunRecord:
        return self.cloud.run(self.run)


def play_pipeline(life: PipelineLife, *points: Point, watch: Watch = unwatched) -> PlayedPipeline:
    """Play it to its end, with what goes wrong at these points."""
    return _Play(life, Points(points, 3, watch)).run()


class _Play:
    def __init__(self, life: PipelineLife, faults: Points) -> None:
        self._life = life
        child, pipeline = _child(life), self._pipeline(life)
        cloud = SimulatedCloud([pipeline, child], chunk_size=3, fan_in=2, seed=3, long_poll=LONG_POLL.total_seconds())
        table = cloud.services.dynamodb.tables[LEDGER]
        table.stream = audit = Audit(table=table)
        faults.freeze = self._freeze
        self.played = PlayedPipeline(life, cloud, audit, faults, pipeline, child)

    def _pipeline(self, life: PipelineLife) -> Pipeline:
        found = Pipeline("import-things", schedule=daily("01:00"), timeout=5 * SECOND)

        @found.task("fetch", retry=Retry(retries=3, first=SECOND))
        async def fetch(task: Task) -> Skip | None:
            calls = self._called("fetch")
            await asyncio.sleep(0.05)
            if len(calls) <= life.failures:
                raise ValueError("not yet")
            task.keep("etag", "new")
            return Skip("nothing is new") if life.skips else None

        found.fan_out("order-things", at_least=life.at_least)

        @found.task("write-down")
        async def write_down(task: Task) -> None:
            del task
            self._called("write-down")
            await asyncio.sleep(0.05)

        return found

    def _called(self, task: str) -> list[datetime]:
        calls = self.played.calls.setdefault(task, [])
        calls.append(self.played.cloud.clock.now())
        return calls

    def _freeze(self, origin: str) -> float | None:
        for kind, seconds in FREEZE_SECONDS.items():
            if kind in origin:
                for function in self.played.cloud.functions.values():
                    if (environment := function.busy.get(origin)) is not None:
                        environment.zombie = True
                        self.played.frozen = True
                        return seconds
        return None

    def run(self) -> PlayedPipeline:
        logger, heard = logging.getLogger("rollcall"), Heard()
        before = logger.level, logger.propagate, logger.handlers
        logger.setLevel(logging.INFO)
        logger.propagate, logger.handlers = False, [heard]
        try:
            with self.played.cloud:
                self._live()
        finally:
            logger.setLevel(before[0])
            logger.propagate, logger.handlers = before[1:]
        return self.played

    def _live(self) -> None:
        played, cloud = self.played, self.played.cloud
        cloud.target(played.child).script = self._refuses
        cloud.suffer(played.faults)
        played.run = cloud.fire(played.pipeline, cloud.clock.now().replace(microsecond=0))
        if self._life.cancelled_after is not None:
            cloud.pass_time(timedelta(seconds=self._life.cancelled_after))
            self._cancel()
        end = cloud.clock.now() + QUIET_AFTER
        cloud.run_until(lambda: self._ended() or cloud.clock.now() >= end, every=10 * SECOND)
        played.faults.on = False
        try:
            cloud.run_until(self._ended, LIVENESS, every=30 * SECOND)
        except AssertionError as error:
            played.violations.append(f"liveness: {error}")

    def _cancel(self) -> None:
        if self.played.cloud.ledger.run(self.played.run) is not None:
            self.played.cancelled = True
            cancel(self.played.cloud.ledger, self.played.run, self.played.cloud.clock)

    def _refuses(self, key: str, number: int) -> Reply | None:
        del number
        return 422 if int(key.removeprefix("E")) < self._life.refused else None

    def _ended(self) -> bool:
        cloud = self.played.cloud
        if cloud.waiting_events or cloud.in_batches():
            return False
        if any(function.zombies for function in cloud.functions.values()):
            return False
        jobs = [cloud.ledger.job(job.name) for job in cloud.jobs]
        found = cloud.ledger.run(self.played.run)
        return found is None or (found.announced and not any(job.open or job.queued for job in jobs))


def _child(life: PipelineLife) -> Job:
    job = Job(
        "order-things",
        schedule=by_hand(),
        target=KEYED,
        concurrency=8,
        retry=Retry(retries=2, first=SECOND),
        delivery=life.batches,
    )

    @job.source
    def entries(run: Run) -> Iterator[Entry]:
        del run
        yield from (Entry(f"E{number}", {"number": number}) for number in range(life.entries))

    @job.callback
    async def order(payload: dict[str, Any], call: Call) -> None:
        await call.http.post(f"/orders/E{payload['number']}")

    return job


# --- what is checked ---

Check = Callable[[PlayedPipeline], Iterator[str]]


def violations(played: PlayedPipeline) -> list[str]:
    """Everything that is wrong with it."""
    found = [*played.violations, *played.audit.violations]
    if found or played.cloud.ledger.run(played.run) is None:
        return found
    for check in CHECKS:
        found += [f"{check.__name__.replace('_', ' ')}: {wrong}" for wrong in check(played)]
    return found


def the_run_ends_as_its_steps_do(played: PlayedPipeline) -> Iterator[str]:
    if played.cancelled and played.record.nonce is None:
        return
    record = played.cloud.ledger.nodes(played.record, [Node(0, 0)])[Node(0, 0)]
    ends = tuple(record.outcome(position) for position in range(len(STEPS)))
    if None in ends:
        yield f"the steps ended {ends}"
    if not played.cancelled:
        wanted = RunState.SKIPPED if played.life.skips else RunState.COMPLETE
        if ends != played.life.ends or played.record.state not in {wanted, RunState.COMPLETE}:
            yield f"the run is {played.record.state}, its steps {ends}"
    elif played.record.state not in {RunState.CANCELLED, RunState.COMPLETE}:
        yield f"the run is {played.record.state}, and was cancelled"


def steps_come_one_after_another(played: PlayedPipeline) -> Iterator[str]:
    """None begins before the one before it is settled, or is called once it is settled itself."""
    settled = {index: at for (run, _, index), (at, _) in played.audit.settled.items() if run == played.run}
    for task, calls in played.calls.items():
        index = STEPS.index(task)
        for at in calls:
            if index and at.timestamp() < settled.get(index - 1, float("inf")):
                yield f"{task} was called at {at}, before {STEPS[index - 1]} was settled"
            if at.timestamp() > settled.get(index, float("inf")) + OLD_NEWS.total_seconds() and not played.frozen:
                yield f"{task} was called at {at}, when it was settled"


def the_other_job_runs_once(played: PlayedPipeline) -> Iterator[str]:
    """One run of it, which has ended when the step that waits for it is settled."""
    names = {name.partition("#")[2] for _, name in played.audit.table.items if name.startswith("run#")}
    child = run_id(played.child.name, played.due)
    if not names <= {played.run, child}:
        yield f"there are the runs {names}"
    called = Outcome.SUCCEEDED, Outcome.FAILED
    if played.life.ends[1] not in called and child in names:
        yield f"{child} was started for nothing"
    if child not in names:
        if played.life.ends[1] in called and not played.cancelled:
            yield f"{child} never began"
        return
    record = played.cloud.run(child)
    if record.generation != 1 or not record.state.terminal:
        yield f"{child} is {record.state} in its generation {record.generation}"
    ended = played.audit.states[child, 1][-1][0]
    step = played.audit.settled.get((played.run, 1, 1))
    if step is not None and step[0] < ended and not played.cancelled:
        yield f"its step was settled at {step[0]}, and {child} ended at {ended}"
    counts = outcomes(played.cloud.ledger, record)
    if not played.cancelled and counts[Outcome.REJECTED] != played.life.refused:
        yield f"{child} came to {counts}"


def nothing_is_done_twice(played: PlayedPipeline) -> Iterator[str]:
    """Its target takes keys, of which each is an entry's."""
    keys: dict[str, set[str]] = {}
    for call in played.cloud.target(played.child).calls:
        keys.setdefault(call.key, set()).add(call.idempotency_key)
    yield from (f"{entry} was called with {found}" for entry, found in keys.items() if len(found) > 1)


def ends_are_announced(played: PlayedPipeline) -> Iterator[str]:
    announced = [detail["id"] for detail in played.cloud.announcements]
    if f"{played.run}/1" not in announced:
        yield f"only {announced} were announced"
    if not played.faults.counts and len(announced) != len(set(announced)):
        yield f"{announced} were announced"


def one_execution_after_another(played: PlayedPipeline) -> Iterator[str]:
    found = [
        each
        for each in played.cloud.services.stepfunctions.executions.values()
        if each.name.startswith(f"{played.run}-g")
    ]
    if [each.name for each in found] != [execution_name(played.run, 1, number) for number in range(len(found))]:
        yield f"the executions are {[each.name for each in found]}"
    for one, other in pairwise(found):
        if one.stopped is None or other.started < one.stopped:
            yield f"{other.name} began while {one.name} was at work"
    if not played.faults.counts and [each.status for each in found] != ["SUCCEEDED"]:
        yield f"{[(each.name, each.status) for each in found]}, and nothing went wrong"


CHECKS: tuple[Check, ...] = (
    the_run_ends_as_its_steps_do,
    steps_come_one_after_another,
    the_other_job_runs_once,
    nothing_is_done_twice,
    ends_are_announced,
    one_execution_after_another,
)
