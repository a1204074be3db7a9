"""What runs in the simulated functions: the engine, put together as the entry points in `functions/` do it."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.completion.handler import ended_run
from rollcall.adapters.bus import Bus
from rollcall.adapters.clients import AWS_ERRORS
from rollcall.adapters.executions import Executions
from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger.pipeline_waiters import TaskTokens
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.adapters.queue import Queue, Queues
from rollcall.adapters.reports import Reports
from rollcall.adapters.secrets import Secrets
from rollcall.adapters.tables import TableItems
from rollcall.core.call import Request, Response
from rollcall.core.errors import RollcallError
from rollcall.core.job import Job
from rollcall.core.names import secret_name, table_name
from rollcall.core.pipeline import Pipeline
from rollcall.core.sizing import worker_sizing
from rollcall.core.tables import Items
from rollcall.core.target import Table
from rollcall.engine.batch.batch_handler import Slice, SliceHandler
from rollcall.engine.batch.batch_handler import Waits as SliceWaits
from rollcall.engine.batch.pipeline_steps import StepHandler, Wanted
from rollcall.engine.fan_out.fan_out import FanOut
from rollcall.engine.fan_out.run_lease import Invocation, request_of
from rollcall.engine.runs.completion import Announcer
from rollcall.engine.watchdog.watchdog import Watchdog
from rollcall.engine.worker.callback import Caller
from rollcall.engine.worker.dead_letter import DeadLetters
from rollcall.engine.worker.worker import Waits, Worker
from tests.simulation.models.functions import Environment, Event, Handler
from tests.simulation.models.gate import Crash
from tests.simulation.plays.target import SimulatedTarget
from tools.local_cloud.resources import BUS, ENVIRONMENT, LEDGER, MANIFESTS


def new_worker(environment: Environment, job: Job, waits: Waits, target: SimulatedTarget) -> Worker:
    """A worker's engine in a new environment, which puts off into `waits`: the one place that knows how it is put
    together.
    """

    async def send(request: Request) -> Response:
        environment.check()
        try:
            response = await target.send(request, environment.name)
        except Crash:
            environment.end()
            raise
        environment.check()
        return response

    parts = Parts(environment)
    caller = Caller(job, send, parts.secret, parts.table, parts.clock, redact=parts.secrets.in_use.redacted)
    spread = random.Random(environment.seed)  # noqa: S311
    return Worker(job, parts.ledger, waits, caller, parts.clock, spread, worker_sizing(job).width, environment.name)


@dataclass
class Parts:
    """What several functions need, over the clients of one environment."""

    environment: Environment

    def __post_init__(self) -> None:
        clients, self.clock = self.environment.clients, self.environment.clock
        self.ledger = Ledger(clients.dynamodb, LEDGER)
        self.manifests = Manifests(clients.s3, MANIFESTS)
        self.secrets = Secrets(clients.secretsmanager)
        self._random = random.Random(self.environment.seed)  # noqa: S311

    def queue(self, url: str) -> Queue:
        return Queue(self.environment.clients.sqs, url, self.clock)

    def secret(self, name: str) -> str:
        return self.secrets.text(secret_name(ENVIRONMENT, name))

    def table(self, table: Table) -> Items:
        return TableItems(self.environment.clients.tables, table_name(ENVIRONMENT, table.name))

    def token(self) -> str:
        """A text that nobody else has, and that is the same in every simulation."""
        return f"{self.environment.seed:04x}{self._random.getrandbits(48):012x}"

    def functions(self) -> Functions:
        return Functions(self.environment.clients.lambda_, ENVIRONMENT)

    def tokens(self) -> TaskTokens:
        return TaskTokens(self.environment.clients.stepfunctions)

    def announcer(self, jobs: Iterable[Job]) -> Announcer:
        hooks = {job.name: job.hook for job in jobs}
        bus = Bus(self.environment.clients.events, BUS)
        return Announcer(self.ledger, bus, self.functions(), hooks.get, self.clock, self.token(), self.tokens())


def fan_out(job: Job, deliver_to: str, shape: tuple[int, int], environment: Environment) -> Handler:
    """The handler of a job's fan-out, to a queue's URL or a state machine's ARN; `shape` is chunk size and fan-in of
    new runs.
    """
    parts, in_batches = Parts(environment), job.delivery is not None
    engine = FanOut(
        job=job,
        ledger=parts.ledger,
        manifests=parts.manifests,
        queue=None if in_batches else parts.queue(deliver_to),
        executions=Executions(environment.clients.stepfunctions, deliver_to) if in_batches else None,
        read=Reports({}, parts.secrets, environment.clients).read,
        secret=parts.secret,
        table=parts.table,
        clock=parts.clock,
        new_nonce=parts.token,
        redact=parts.secrets.in_use.redacted,
    )

    async def handle(event: Event, deadline: datetime) -> object:
        run = engine.handle(request_of(event), Invocation(parts.token(), deadline, *shape))
        return {"runs": {} if run is None else {run.id: run.state.value}}

    return handle


def worker(job: Job, queue_url: str, target: SimulatedTarget, environment: Environment) -> Handler:
    """The handler of a job's workers."""
    engine = new_worker(environment, job, Parts(environment).queue(queue_url), target)

    async def handle(event: Event, deadline: datetime) -> object:
        return _failed(await engine.handle(event["Records"], deadline))

    return handle


def _slices(environment: Environment, job: Job, target: SimulatedTarget) -> SliceHandler:
    assert job.delivery is not None
    parts, waits = Parts(environment), SliceWaits()
    engine = new_worker(environment, job, waits, target)
    return SliceHandler(job.delivery, parts.ledger, parts.manifests, engine, waits, parts.clock)


def batch(job: Job, target: SimulatedTarget, environment: Environment) -> Handler:
    """The handler of a job's slices."""
    parts, slices = Parts(environment), _slices(environment, job, target)

    async def handle(event: Event, deadline: datetime) -> object:
        return (await slices.handle(Slice.of(event), parts.token(), deadline)).fields()

    return handle


def steps(pipeline: Pipeline, target: SimulatedTarget, environment: Environment) -> Handler:
    """The handler of a pipeline's steps."""
    parts = Parts(environment)
    engine = StepHandler(
        pipeline,
        parts.ledger,
        parts.manifests,
        lambda job: _slices(environment, job, target),
        parts.functions(),
        parts.tokens(),
        parts.clock,
    )

    async def handle(event: Event, deadline: datetime) -> object:
        return (await engine.handle(Wanted.of(event), parts.token(), deadline)).fields()

    return handle


def dead_letter(environment: Environment) -> Handler:
    """The handler of dead letters, of all jobs."""
    parts = Parts(environment)
    engine = DeadLetters(parts.ledger, parts.manifests, parts.clock)

    async def handle(event: Event, deadline: datetime) -> object:
        del deadline
        return _failed(engine.handle(event["Records"]))

    return handle


def completion(jobs: Iterable[Job], environment: Environment) -> Handler:
    """The handler of the ledger's stream."""
    parts = Parts(environment)

    async def handle(event: Event, deadline: datetime) -> object:
        del deadline
        announcer = parts.announcer(jobs)
        for record in event["Records"]:
            run = ended_run(record)
            try:
                if run is not None:
                    announcer.announce(run)
            except (*AWS_ERRORS, RollcallError):
                return _failed([record["dynamodb"]["SequenceNumber"]])
        return _failed([])

    return handle


def watchdog(jobs: Iterable[Job], scheduled: Callable[[], bool], environment: Environment) -> Handler:
    """The handler of the watchdog's tick; `scheduled` says whether schedules start jobs."""
    parts = Parts(environment)

    async def handle(event: Event, deadline: datetime) -> object:
        del event, deadline
        queues = Queues(environment.clients.sqs, ENVIRONMENT)
        reach = parts.functions(), parts.announcer(jobs), parts.clock, queues
        Watchdog(jobs, parts.ledger, *reach, scheduled()).look()
        return None

    return handle


def _failed(items: list[str]) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": name} for name in items]}
