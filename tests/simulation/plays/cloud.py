"""A deployment of jobs on simulated services: the real engine, driven by AWS's rules, in virtual time.

    with SimulatedCloud([job]) as cloud:
        cloud.target(job).script = failing(0.01)
        run = cloud.fire(job)
        cloud.run_until_announced(run)

Callbacks must be coroutines: a plain one runs in a thread, which has no part in virtual time.
"""

import asyncio
import inspect
import json
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import ExitStack
from contextvars import Context
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias

from rollcall.adapters.clients import AWS_ERRORS
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.tables import TableItems
from rollcall.core.job import Job
from rollcall.core.names import function_name, table_name
from rollcall.core.outcome import Outcome
from rollcall.core.pipeline import Pipeline, TaskStep
from rollcall.core.run import Redrive, RunRecord, iso, run_id
from rollcall.core.sizing import (
    COMPLETION_TIMEOUT,
    DEAD_LETTER_TIMEOUT,
    FAN_OUT_TIMEOUT,
    LEAST_MAXIMUM_CONCURRENCY,
    WATCHDOG_TIMEOUT,
    worker_sizing,
)
from rollcall.core.tables import Items
from rollcall.core.target import Table as JobTable
from rollcall.core.tree import CHUNK_SIZE, FAN_IN
from rollcall.core.values import Json
from rollcall.engine.runs import progress
from tests.simulation.models import fibers
from tests.simulation.models.functions import (
    Environment,
    Event,
    Failure,
    Handler,
    InvocationFailed,
    SimulatedFunction,
    invoke_async,
)
from tests.simulation.models.gate import Answer, Gate, Sent
from tests.simulation.models.polling import QueuePoller
from tests.simulation.models.services import Services, SimulatedClients
from tests.simulation.models.states_language import StateFailed
from tests.simulation.models.stepfunctions import Execution
from tests.simulation.models.table import Table
from tests.simulation.models.virtual_time import START, VirtualClock, VirtualLoop
from tests.simulation.plays import handlers
from tests.simulation.plays.faults import MAPPING, STATES, Faults
from tests.simulation.plays.repeatable import repeatable
from tests.simulation.plays.target import SimulatedTarget
from tools.local_cloud.event_source import LONG_POLL_SECONDS, EventSource
from tools.local_cloud.partial_batch import failed_items
from tools.local_cloud.resources import ENVIRONMENT, LEDGER, QueueAddress, make_queues, make_state_machine
from tools.local_cloud.stream import StreamSource

Make: TypeAlias = Callable[[Environment], Handler]

WATCHDOG_SECONDS = 60.0
#: Lambda looks into a stream four times a second (https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html).
STREAM_SECONDS = 0.25
LONGEST_STREAM_SECONDS = 60.0


class SimulatedCloud:
    """Jobs with their targets, deployed; a context manager that leaves nothing behind."""

    def __init__(
        self,
        jobs: Iterable[Job],
        *,
        secrets: Mapping[str, str] | None = None,
        start: datetime = START,
        chunk_size: int = CHUNK_SIZE,
        fan_in: int = FAN_IN,
        #: How many places apart queues may hand out groups in another order than they were sent in.
        scatter: int = 0,
        seed: int = 0,
        #: How long a receive waits for messages; more than AWS lets it where requests need not be counted.
        long_poll: float = LONG_POLL_SECONDS,
    ) -> None:
        self._long_poll = long_poll
        self.jobs = list(jobs)
        for job in self.jobs:
            if not all(map(inspect.iscoroutinefunction, _callbacks(job))):
                raise TypeError(f"{job.name}: a simulated callback is a coroutine; a thread does not know virtual time")
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        loop = self._runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        self.clock = VirtualClock(loop, start)
        self.services = Services.new(self.clock.timestamp, {LEDGER: "pk"}, secrets, scatter=scatter, seed=seed)
        #: Clients for looking at things from outside: not counted, and without faults.
        self.observer = SimulatedClients(replace(self.services, gate=Gate()))
        self.ledger = Ledger(self.observer.dynamodb, LEDGER)
        self.targets = {job.target.name: SimulatedTarget(self.clock) for job in self.jobs}
        self.functions: dict[str, SimulatedFunction] = {}
        #: Of jobs by name: queue and dead-letter queue, or the state machine's ARN.
        self.queues: dict[str, tuple[QueueAddress, QueueAddress]] = {}
        self.state_machines: dict[str, str] = {}
        self.faults: Faults | None = None
        #: Whether jobs are started by their schedules, so that one may be missed.
        self.scheduled = False
        #: Runs and keys of entries that a worker had in hand when their messages were lost.
        self.lost_in_hand: set[tuple[str, str]] = set()
        #: Asynchronous invocations that are still to be made, or made again.
        self.waiting_events = 0
        self._shape = chunk_size, fan_in
        self._seed = seed
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = ExitStack()

    # --- a life ---

    def __enter__(self) -> Self:
        self._stack.enter_context(self._runner)
        self._stack.enter_context(repeatable(self._seed))
        self._runner.run(self._deploy())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for function in self.functions.values():
            function.end()
        for task in self._tasks:
            task.cancel()
        self._stack.close()

    # --- what happens in it ---

    def fire(self, job: Job, scheduled_for: datetime | None = None, nonce: str | None = None) -> str:
        """The scheduler starts an occurrence, due now if nothing else is said; returns the id of its run."""
        due = scheduled_for or self.clock.now()
        event = {"scheduled_time": iso(due), **({"nonce": nonce} if nonce is not None else {})}
        self._invoke_async(self.function("fan_out", job), event)
        return run_id(job.name, due, nonce)

    def redrive(self, job: Job, run: str, redrive: Redrive) -> None:
        """Somebody has chosen entries of a terminal run settled again."""
        event = {"redrive": run, "generation": self.run(run).generation, **redrive.fields()}
        self._invoke_async(self.function("fan_out", job), event)

    def pass_time(self, duration: timedelta) -> None:
        """Let everything go on for so long."""
        self._runner.run(asyncio.sleep(duration.total_seconds()))
        self._check()

    def run_until(
        self,
        condition: Callable[[], bool],
        within: timedelta = timedelta(days=1),
        every: timedelta = timedelta(seconds=1),
    ) -> None:
        """Let everything go on until the condition holds, asked `every` so often; AssertionError after `within`."""
        self._runner.run(self._until(condition, within, every))

    def run_until_announced(self, *runs: str, within: timedelta = timedelta(days=1)) -> None:
        """Until the ends of these runs are on the bus."""
        self.run_until(lambda: {*runs} <= {detail["run"] for detail in self.announcements}, within)

    def suffer(self, faults: Faults) -> None:
        """Let `faults` at everything that happens from now on."""
        self.faults = faults
        self.services.gate.interceptor, self.services.gate.latency = faults, faults.latency
        faults.abort = lambda arn: self.services.stepfunctions.stop_execution(executionArn=arn)
        for function in self.functions.values():
            function.refused, function.skew = faults.not_invoked, faults.skew

    def redeploy(self, job: Job) -> None:
        """Deploy a changed declaration of a job of the same name, with the same queues."""
        self.jobs[:] = [job if each.name == job.name else each for each in self.jobs]
        self.function("fan_out", job).deploy(self._fan_out(job))
        if job.delivery is None:
            self.function("worker", job).deploy(self._worker(job))
        else:
            self._make_state_machine(job)
            self.function("batch", job).deploy(self._batch(job))
        self.function("completion").deploy(partial(handlers.completion, self.jobs))
        self.function("watchdog").deploy(partial(handlers.watchdog, self.jobs, lambda: self.scheduled))

    def outdated(self, job: Job) -> bool:
        """Whether calls are still made as a declaration said that is no longer the job's."""
        return self.function("worker" if job.delivery is None else "batch", job).outdated

    def lose_messages(self, job: Job, chance: random.Random) -> None:
        """About half of the messages on the job's queue are gone, those in flight with their groups' locks."""
        if job.name not in self.queues:
            return
        messages = self.services.sqs.queue(self.queues[job.name][0].url).messages
        for message in list(messages):
            if chance.random() >= 0.5:
                continue
            if message.invisible_until is not None:
                lost = json.loads(message.body)
                self.lost_in_hand.add((lost["run"], lost["entry"]["key"]))
            messages.remove(message)

    # --- what came of it ---

    def target(self, job: Job) -> SimulatedTarget:
        return self.targets[job.target.name]

    def function(self, kind: str, job: Job | None = None) -> SimulatedFunction:
        """One of fan_out, worker and batch, with a job, and dead_letter, completion and watchdog without."""
        return self.functions[function_name(ENVIRONMENT, kind, job.name if job else None)]

    @property
    def requests(self) -> Counter[tuple[str, str]]:
        """The requests made so far, by service and operation."""
        return self.services.gate.requests

    @property
    def announcements(self) -> list[dict[str, Any]]:
        """The details of all events on the bus, in order."""
        return self.services.events.details

    @property
    def failures(self) -> list[Failure]:
        """Invocations that failed, function by function."""
        return [failure for function in self.functions.values() for failure in function.failures]

    def items(self, table: JobTable) -> Items:
        """A table of the jobs, to be filled and looked at."""
        return TableItems(self.observer.tables, table_name(ENVIRONMENT, table.name))

    def run(self, run: str) -> RunRecord:
        record = self.ledger.run(run)
        assert record is not None, f"there is no run {run}"
        return record

    def outcomes(self, run: str) -> dict[Outcome, int]:
        """The outcomes that occur, with their counts."""
        return {outcome: count for outcome, count in progress.outcomes(self.ledger, self.run(run)).items() if count}

    def on_queue(self, job: Job, *, dead_letters: bool = False) -> int:
        """Messages on the job's queue, those in flight included; none, where it is delivered in batches."""
        if job.name not in self.queues:
            return 0
        address = self.queues[job.name][1 if dead_letters else 0]
        return len(self.services.sqs.queue(address.url).messages)

    def in_batches(self) -> bool:
        """Whether an execution, or what one has invoked, is at work."""
        if any(each.at_work for each in self.services.stepfunctions.executions.values()):
            return True
        return any(self.function("batch", job).busy for job in self.jobs if job.delivery is not None)

    # --- how it is made ---

    async def _deploy(self) -> None:
        self.services.stepfunctions.launch = self.start
        self.services.stepfunctions.invoke = self._invoke_task
        self._deploy_function("dead_letter", None, DEAD_LETTER_TIMEOUT, handlers.dead_letter)
        self._deploy_function("completion", None, COMPLETION_TIMEOUT, partial(handlers.completion, self.jobs))
        self._deploy_function(
            "watchdog", None, WATCHDOG_TIMEOUT, partial(handlers.watchdog, self.jobs, lambda: self.scheduled)
        )
        for job in self.jobs:
            self._deploy_job(job)
        self._deploy_tables({need for job in self.jobs for need in job.needs if isinstance(need, JobTable)})
        self.start(self._watch())
        self.start(self._follow_stream())

    def _deploy_tables(self, tables: Iterable[JobTable]) -> None:
        for table in tables:
            indexes = {name: (partition, sort) for name, partition, sort in table.indexes}
            self.services.dynamodb.tables[table_name(ENVIRONMENT, table.name)] = Table(table.key, indexes)

    def _deploy_job(self, job: Job) -> None:
        if job.delivery is None:
            self.queues[job.name] = make_queues(self.observer.sqs, job)
        else:
            self._make_state_machine(job)
        fan_out = self._deploy_function("fan_out", job, FAN_OUT_TIMEOUT, self._fan_out(job))
        self.services.lambda_.functions[fan_out.name] = partial(self._invoke_async, fan_out)
        self._deploy_caller(job)

    def _deploy_caller(self, job: Job) -> None:
        """The function that calls the job's callback, and what feeds it."""
        sizing = worker_sizing(job)
        if job.delivery is not None:
            self._deploy_function("batch", job, sizing.timeout, self._batch(job))
            return
        queue, dead = self.queues[job.name]
        worker = self._deploy_function("worker", job, sizing.timeout, self._worker(job))
        self._deploy_mapping(queue, worker, sizing.batch_size, sizing.maximum_concurrency)
        self._deploy_mapping(dead, self.function("dead_letter"), sizing.batch_size, LEAST_MAXIMUM_CONCURRENCY)

    def _make_state_machine(self, job: Job) -> None:
        """Make it, or make it anew."""
        function = function_name(ENVIRONMENT, "batch", job.name)
        self.state_machines[job.name] = make_state_machine(self.observer.stepfunctions, job, function)

    def _fan_out(self, job: Job) -> Make:
        deliver_to = self.queues[job.name][0].url if job.delivery is None else self.state_machines[job.name]
        return partial(handlers.fan_out, job, deliver_to, self._shape)

    def _worker(self, job: Job) -> Make:
        return partial(handlers.worker, job, self.queues[job.name][0].url, self.target(job))

    def _batch(self, job: Job) -> Make:
        if isinstance(job, Pipeline):
            return partial(handlers.steps, job, self.target(job))
        return partial(handlers.batch, job, self.target(job))

    def _deploy_function(self, kind: str, job: Job | None, timeout: timedelta, make: Make) -> SimulatedFunction:
        name = function_name(ENVIRONMENT, kind, job.name if job else None)
        # A range of seeds for each function's environments.
        first = (self._seed << 32) + (len(self.functions) << 20)
        function = SimulatedFunction(name, timeout, make, self.services, self.clock, first)
        self.functions[name] = function
        return function

    def _deploy_mapping(
        self, queue: QueueAddress, function: SimulatedFunction, batch_size: int, concurrency: int
    ) -> None:
        client = SimulatedClients(self.services, MAPPING).sqs
        source = EventSource(client, queue.url, queue.arn, batch_size)
        sqs, invoke = self.services.sqs, function.invoke
        poller = QueuePoller(source, sqs, queue.url, concurrency, invoke, self.clock, self._long_poll)
        self.start(poller.run())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCHDOG_SECONDS)
            await invoke_async(self.function("watchdog").invoke, {}, waits=())

    async def _follow_stream(self) -> None:
        stream, changed = self.services.dynamodb.stream(LEDGER), asyncio.Event()
        stream.on_change = changed.set
        source, completion = StreamSource(stream, LEDGER), self.function("completion")  # type: ignore[arg-type]

        def invoke(event: Event) -> object:
            answer: object = {"batchItemFailures": [{"itemIdentifier": ""}]}
            try:
                answer = fibers.block(asyncio.ensure_future(completion.invoke(event)))
                if self.faults is not None and self.faults.stream_again():
                    answer = fibers.block(asyncio.ensure_future(completion.invoke(event)))
            finally:
                if failed_items(answer) != []:
                    changed.set()
            return answer

        wait = STREAM_SECONDS
        while True:
            await changed.wait()
            changed.clear()
            await asyncio.sleep(wait + (self.faults.stream_delay() if self.faults is not None else 0))
            source.poll(invoke)
            # What failed is tried again, more and more seldom.
            wait = min(2 * wait, LONGEST_STREAM_SECONDS) if changed.is_set() else STREAM_SECONDS

    async def _invoke_task(self, arn: str, execution: Execution, payload: Json) -> Json:
        """A function, invoked by a state machine: a request, to which may happen what happens to all."""
        function = self.functions[arn.rpartition(":")[2]]
        assert isinstance(payload, dict)

        def serve() -> Answer:
            return {"Payload": fibers.block(asyncio.ensure_future(function.invoke(payload)))}

        about = {"FunctionName": function.name, "Execution": execution.arn, "Payload": payload}
        try:
            answer: Json = self.services.gate.let_through(Sent("lambda", "Invoke", about, STATES), serve)["Payload"]
        except InvocationFailed as error:
            raise StateFailed("Lambda.Unknown", str(error)) from error
        except AWS_ERRORS as error:
            raise StateFailed("Lambda.ServiceException", str(error)) from error
        return answer

    def _invoke_async(self, function: SimulatedFunction, event: Event) -> None:
        for delay in (0.0,) if self.faults is None else self.faults.deliveries():
            self.start(self._invoke_later(function, event, delay))

    async def _invoke_later(self, function: SimulatedFunction, event: Event, delay: float) -> None:
        self.waiting_events += 1
        if delay:
            await asyncio.sleep(delay)
        await invoke_async(function.invoke, event)
        self.waiting_events -= 1

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let something go on beside everything else, in no process, from the next moment that time passes."""
        task = self._runner.get_loop().create_task(coroutine, context=Context())
        self._tasks.add(task)

    def _check(self) -> None:
        """Raise what the driver itself failed with: the simulation's own mistakes, never the engine's."""
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()

    async def _until(self, condition: Callable[[], bool], within: timedelta, every: timedelta) -> None:
        end = self.clock.now() + within
        while not condition():
            assert self.clock.now() < end, f"it did not happen within {within}; failed were {self.failures[-5:]}"
            await asyncio.sleep(every.total_seconds())
            self._check()


def _callbacks(job: Job) -> list[Callable[..., object]]:
    """What is called for its entries: its callback, or the tasks of a pipeline."""
    if isinstance(job, Pipeline):
        return [step.function for step in job.steps if isinstance(step, TaskStep)]
    return [job.callback_function]
