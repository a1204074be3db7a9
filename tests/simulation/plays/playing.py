"""Plays a plan on the simulated cloud, to its end and beyond, and has everything that happened checked."""

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from rollcall.adapters.clients import AWS_ERRORS
from rollcall.adapters.ledger import runs
from rollcall.adapters.ledger.records import Ledger
from rollcall.core.job import Job, Overlap
from rollcall.core.outcome import Outcome
from rollcall.core.run import Redrive, RunRecord, RunState, run_id
from rollcall.core.sizing import LATEST_START
from rollcall.engine.runs.cancellation import cancel
from tests.simulation.checks.audit import Audit
from tests.simulation.models.gate import Crash
from tests.simulation.models.scheduler import SCHEDULED_TIME, Scheduler
from tests.simulation.models.services import SimulatedClients
from tests.simulation.plays.cloud import SimulatedCloud
from tests.simulation.plays.counterparty import Counterparty
from tests.simulation.plays.faults import Faults
from tests.simulation.plays.planned_jobs import KEY_WINDOW, PlannedJobs
from tests.simulation.plays.plans import Act, Deed, JobPlan, Plan
from tests.simulation.plays.trace import Trace
from tools.local_cloud.resources import LEDGER

Result = TypeVar("Result")

#: Within it, everything has ended once nothing goes wrong any more: leases, visibilities, pauses of breakers, and
#: effects that show up late.
LIVENESS = timedelta(hours=12)
LOOK_EVERY = timedelta(seconds=30)
LONG_POLL = timedelta(days=1)
#: How many times longer than anybody waits a slow answer takes.
SLOW = 15
#: How often it is looked whether keys are still needed.
KEYS_EVERY_SECONDS = 0.1
#: Somebody tries a command so often, and then lets it be.
MOST_COMMANDS = 10
#: Occurrences are due for so long.
SCHEDULED_FOR = timedelta(hours=2)
SCHEDULER_INPUT = json.dumps({"scheduled_time": SCHEDULED_TIME})
#: An invocation that stands still does so for longer than a fan-out's lease and a message's visibility.
FREEZE_SECONDS = {"fan-out": 1_000.0, "worker": 400.0, "batch": 400.0, "completion": 400.0, "watchdog": 100.0}


class Heard(logging.Handler):
    """The events that the engine logs."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.counts[record.getMessage()] += 1


@dataclass
class Played:
    """What happened."""

    plan: Plan
    cloud: SimulatedCloud
    audit: Audit
    targets: dict[str, Counterparty]
    faults: Faults
    jobs: PlannedJobs
    log: Counter[str]
    #: The runs that were asked for, by job; each once, however often it was.
    asked_for: dict[str, dict[str, datetime]] = field(default_factory=dict)
    #: The runs that somebody wanted cancelled, and those of which they were told that it is being done.
    cancelled: set[str] = field(default_factory=set)
    surely_cancelled: set[str] = field(default_factory=set)
    #: When a job was paused for sure, from when until when.
    pauses: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    #: Environments that stood still for longer than anybody waits for them.
    frozen: set[str] = field(default_factory=set)
    redriven: bool = False
    #: The occurrences of which the scheduler delivered no start.
    never_fired: set[str] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)

    @property
    def calm(self) -> bool:
        """Whether nothing went wrong between the engine and the services."""
        return not self.faults.counts

    def runs(self) -> dict[str, RunRecord]:
        """All runs that there are."""
        names = [name for asked in self.asked_for.values() for name in asked]
        return self.cloud.ledger.runs(names)


class Play:
    """One play of a plan."""

    def __init__(self, plan: Plan, write: Callable[[str], None] | None = None, *, faults: Faults | None = None) -> None:
        """`write` is told everything that happens, line by line; `faults` are others than those of the plan."""
        self._plan = plan
        self._jobs = PlannedJobs()
        self._plans = {each.name: each for each in plan.jobs}
        jobs = [self._jobs.job(each) for each in plan.jobs]
        self._cloud = SimulatedCloud(
            jobs,
            chunk_size=plan.chunk_size,
            fan_in=plan.fan_in,
            scatter=plan.scatter,
            seed=plan.seed,
            long_poll=LONG_POLL.total_seconds(),
        )
        self._acted = False
        self._commands = 0
        self._paused: dict[str, datetime] = {}
        self._chance = random.Random(plan.seed)  # noqa: S311
        table = self._cloud.services.dynamodb.tables[LEDGER]
        overlapping = frozenset(each.name for each in plan.jobs if each.overlap is Overlap.ALLOW)
        table.stream = audit = Audit(table=table, overlapping=overlapping)
        targets = {each.target: self._counterparty(each) for each in plan.jobs}
        self._cloud.targets |= targets  # type: ignore[arg-type]
        faults = faults or Faults(plan.faults, plan.seed)
        faults.freeze = self._freeze
        heard = Heard()
        self.played = Played(plan, self._cloud, audit, targets, faults, self._jobs, heard.counts)
        self._listeners: list[logging.Handler] = [heard]
        self._trace = None if write is None else Trace(self._cloud.clock, write)

    def _counterparty(self, plan: JobPlan) -> Counterparty:
        return Counterparty(
            self._cloud.clock,
            KEY_WINDOW if plan.keys else None,
            seed=self._plan.seed,
            mishaps=plan.mishaps,
            refused=plan.refused,
            latency=timedelta(seconds=plan.latency),
            slow_by=timedelta(seconds=SLOW * plan.timeout),
        )

    def _freeze(self, origin: str) -> float | None:
        """Make a zombie of an environment."""
        for kind, seconds in FREEZE_SECONDS.items():
            if kind in origin:
                for function in self._cloud.functions.values():
                    if (environment := function.busy.get(origin)) is not None:
                        environment.zombie = True
                        self.played.frozen.add(origin)
                        return seconds
        return None

    def run(self) -> Played:
        """Play it to its end."""
        logger = logging.getLogger("rollcall")
        before = logger.level, logger.propagate, logger.handlers
        logger.setLevel(logging.INFO)
        logger.propagate, logger.handlers = False, self._listeners
        try:
            with self._cloud:
                self._play()
        finally:
            logger.setLevel(before[0])
            logger.propagate, logger.handlers = before[1:]
        return self.played

    def _play(self) -> None:
        cloud, plan = self._cloud, self._plan
        cloud.suffer(self.played.faults)
        for job in plan.jobs:
            if job.batches is None:
                cloud.services.sqs.queue(cloud.queues[job.name][0].url).most_receives = job.most_receives
        if self._trace is not None:
            self._listeners.append(self._trace)
            cloud.services.gate.interceptor = self._trace.around(cloud.services.gate.interceptor)
        cloud.start(self._act())
        self._go_wrong_for(plan.quiet_at)
        self._wait_for_the_end()
        for _ in range(plan.redrives):
            chosen = [run for run in self.played.runs().values() if self._worth_redriving(run)]
            if not chosen or self.played.violations:
                break
            self.played.redriven = True
            for run in chosen:
                cloud.redrive(self._job(run.job), run.id, Redrive(new_key=plan.new_key))
            self._go_wrong_for(plan.quiet_at / 2)
            self._wait_for_the_end()

    def _go_wrong_for(self, seconds: float) -> None:
        """Everything that goes wrong does so for a while, or until all has ended, and then no more."""
        end = self._cloud.clock.now() + timedelta(seconds=seconds)
        self._set_wrong(True)
        self._cloud.run_until(
            lambda: self._cloud.clock.now() >= end or (self._acted and self._ended()), every=LOOK_EVERY
        )
        self._set_wrong(False)

    def _set_wrong(self, on: bool) -> None:
        self.played.faults.on = on
        for target in self.played.targets.values():
            target.on = on

    def _wait_for_the_end(self) -> None:
        cloud = self._cloud
        for job in cloud.jobs:
            self._resumed(job.name)
            runs.resume(cloud.ledger, job.name)
        try:
            cloud.run_until(lambda: self._acted and self._ended(), LIVENESS, every=LOOK_EVERY)
        except AssertionError:
            left = [f"{run.id} is {run.state}, announced {run.announced}" for run in self.played.runs().values()]
            queued = {job.name: cloud.on_queue(job) for job in cloud.jobs}
            self.played.violations.append(f"liveness: after {LIVENESS} {left}, on the queues {queued}")

    def _ended(self) -> bool:
        """Whether nothing is left to happen."""
        if self.played.frozen & {name for each in self._cloud.functions.values() for name in each.zombies}:
            return False
        found = self.played.runs()
        if self._cloud.waiting_events or not all(run.state.terminal and run.announced for run in found.values()):
            return False
        jobs = [self._cloud.ledger.job(job.name) for job in self._cloud.jobs]
        if self._cloud.in_batches() or any(job.open or job.queued for job in jobs):
            return False
        return not any(
            self._cloud.on_queue(job, dead_letters=dead) for job in self._cloud.jobs for dead in (False, True)
        )

    def _worth_redriving(self, run: RunRecord) -> bool:
        if not run.state.terminal or run.nonce is None:
            return False
        outcomes = self._cloud.outcomes(run.id)
        return any(count for outcome, count in outcomes.items() if outcome is not Outcome.SUCCEEDED)

    # --- what somebody does ---

    async def _act(self) -> None:
        self._acted = False
        begun = self._cloud.clock.now()
        scheduled = [asyncio.ensure_future(self._fire_by_schedule(each)) for each in self._plan.jobs if each.every]
        for act in self._plan.acts:
            wait = begun + timedelta(seconds=act.at) - self._cloud.clock.now()
            await asyncio.sleep(max(0.0, wait.total_seconds()))
            self._do(act)
        await asyncio.gather(*scheduled)
        self._acted = True

    async def _fire_by_schedule(self, plan: JobPlan) -> None:
        """Two hours of a schedule, and as long as it takes until what was missed is known to be."""
        cloud, job = self._cloud, self._job(plan.name)
        since = cloud.clock.now()
        until = since + SCHEDULED_FOR
        cloud.scheduled = True
        due = [*job.schedule.occurrences(since + timedelta.resolution, until)]
        lost = {moment for moment in due if self._chance.random() < plan.never_fired}
        self.played.never_fired |= {run_id(plan.name, moment) for moment in lost}
        self.played.asked_for.setdefault(plan.name, {}).update({run_id(plan.name, moment): moment for moment in due})
        scheduler = Scheduler(job.schedule, SCHEDULER_INPUT, seed=self._plan.seed)
        for delivery in scheduler.deliveries(since + timedelta.resolution, until):
            moment = datetime.fromisoformat(delivery.event["scheduled_time"])
            if moment not in lost:
                await asyncio.sleep(max(0.0, (delivery.at - cloud.clock.now()).total_seconds()))
                cloud.fire(self._job(plan.name), moment)
        last = max(due) + LATEST_START + timedelta(minutes=5)
        await asyncio.sleep((last - cloud.clock.now()).total_seconds())
        cloud.scheduled = False

    def _do(self, act: Act) -> None:
        cloud, job, now = self._cloud, self._job(act.job), self._cloud.clock.now()
        asked = self.played.asked_for.setdefault(act.job, {})
        match act.deed:
            case Deed.FIRE | Deed.START_BY_HAND:
                due = now.replace(microsecond=0)
                nonce = f"h{len(asked)}" if act.deed is Deed.START_BY_HAND else None
                asked[cloud.fire(job, due, nonce)] = due
            case Deed.CANCEL | Deed.CANCEL_LATEST:
                found = [name for name, run in cloud.ledger.runs(asked).items() if not run.state.terminal]
                for name in sorted(found, reverse=act.deed is Deed.CANCEL_LATEST)[:1]:
                    self._cancel(name)
            case Deed.PAUSE:
                self._pause(job.name, now)
            case Deed.RESUME:
                self._resumed(job.name)
                self._operate(lambda ledger: runs.resume(ledger, job.name))
            case Deed.LOSE:
                cloud.lose_messages(job, self._chance)
            case Deed.DEPLOY:
                cloud.redeploy(self._jobs.job(self._plans[act.job], deployed=1))
            case Deed.DEPLOY_KEYS:
                plan = self._plans[act.job] = replace(self._plans[act.job], keys=not self._plans[act.job].keys)
                cloud.redeploy(self._jobs.job(plan, deployed=1))
                if plan.keys or not cloud.outdated(job):
                    self._take_keys(plan)
                else:
                    cloud.start(self._take_keys_no_longer(plan))

    def _take_keys(self, plan: JobPlan) -> None:
        self.played.targets[plan.target].key_window = KEY_WINDOW if plan.keys else None

    async def _take_keys_no_longer(self, plan: JobPlan) -> None:
        """Nobody gives up keys with which calls are still being made."""
        while self._cloud.outdated(self._job(plan.name)):
            await asyncio.sleep(KEYS_EVERY_SECONDS)
        self._take_keys(plan)

    def _cancel(self, run: str) -> None:
        self.played.cancelled.add(run)
        told = self._operate(lambda ledger: cancel(ledger, run, self._cloud.clock))
        if told is not None and told.state in {RunState.CANCELLING, RunState.CANCELLED}:
            self.played.surely_cancelled.add(run)

    def _pause(self, job: str, now: datetime) -> None:
        def pause(ledger: Ledger) -> bool:
            runs.pause(ledger, job, now)
            return True

        if self._operate(pause):
            self._paused[job] = self._cloud.clock.now()

    def _resumed(self, job: str) -> None:
        if (since := self._paused.pop(job, None)) is not None:
            self.played.pauses.setdefault(job, []).append((since, self._cloud.clock.now()))

    def _operate(self, command: Callable[[Ledger], Result]) -> Result | None:
        """Somebody gives a command, and gives it again when it fails; None where it never succeeds."""
        for _ in range(MOST_COMMANDS):
            self._commands += 1
            clients = SimulatedClients(self._cloud.services, f"operator/{self._commands}")
            try:
                return command(Ledger(clients.dynamodb, LEDGER))
            except (*AWS_ERRORS, Crash):
                continue
        return None

    def _job(self, name: str) -> Job:
        return next(job for job in self._cloud.jobs if job.name == name)


def play(plan: Plan, write: Callable[[str], None] | None = None) -> Played:
    """Play a plan; what came of it is still to be checked. `write` is told everything, line by line."""
    return Play(plan, write).run()
