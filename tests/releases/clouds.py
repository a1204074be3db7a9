"""A simulated deployment that is stopped at a moment, and set up again from what it left in the services."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from rollcall import Unanswered
from rollcall.core.call import Request, Response
from rollcall.core.job import Job
from rollcall.core.names import function_name
from rollcall.core.run import from_iso, iso
from rollcall.core.values import Json
from tests.simulation.models.attributes import item_from_wire, item_to_wire, size_of
from tests.simulation.models.fifo import Message
from tests.simulation.models.functions import Event, SimulatedFunction
from tests.simulation.models.gate import Crash, Sent
from tests.simulation.models.sqs import Queue
from tests.simulation.models.stepfunctions import Execution
from tests.simulation.models.virtual_time import START
from tests.simulation.plays.cloud import SimulatedCloud
from tests.simulation.plays.target import Called, Reply, SimulatedTarget
from tools.local_cloud.resources import ENVIRONMENT, LEDGER, MANIFESTS

#: Small, so that a few dozen entries make a counting tree of three levels.
CHUNK_SIZE, FAN_IN = 5, 3
#: Seconds that a request is under way, and its answer: so a deployment can be stopped between two requests.
LATENCY = (0.01, 0.01)
#: How often a story looks whether its moment has come: more often than a request is made.
STEP = timedelta(milliseconds=5)
#: Longer than every lease, visibility and pause of a circuit breaker together.
LONGEST = timedelta(hours=12)
#: A long poll that need not be counted.
LONG_POLL_SECONDS = 86_400.0
#: Added to the seed of a deployment that is set up again: its tokens are others than those of the release.
AFTER = 1_000


class WorkerKilled(Exception):
    """A reply that no worker lives to see."""


@dataclass
class Shop(SimulatedTarget):
    """Takes orders by POST, and reports by GET whether it has carried one out or refused it."""

    done: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    async def send(self, request: Request, origin: str = "") -> Response:
        if request.method != "GET":
            return await super().send(request, origin)
        key = request.path.rsplit("/", 1)[-1]
        await asyncio.sleep(LATENCY[0])
        return Response(200, {}, json.dumps({"done": key in self.done, "refused": key in self.refused}).encode())

    def _reply(self, key: str, now: datetime) -> Reply:
        reply = super()._reply(key, now)
        if isinstance(reply, WorkerKilled):
            raise Crash(str(reply))
        status = reply.status if isinstance(reply, Response) else reply
        if isinstance(reply, Unanswered) or (isinstance(status, int) and 200 <= status < 300):
            self.done.add(key)
        if status == 422:
            self.refused.add(key)
        return reply

    def memory(self) -> dict[str, Any]:
        """What the shop remembers, as JSON."""
        return {
            "calls": [[call.key, call.idempotency_key, iso(call.at)] for call in self.calls],
            "effects": dict(sorted(self.effects.items())),
            "done": sorted(self.done),
            "refused": sorted(self.refused),
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take over what `memory` of an earlier shop says."""
        self.calls = [Called(key, idempotency_key, from_iso(at)) for key, idempotency_key, at in memory["calls"]]
        self.effects.update(memory["effects"])
        self._numbers.update(call.key for call in self.calls)
        self._times = [call.at for call in self.calls]
        self.done, self.refused = set(memory["done"]), set(memory["refused"])

    def keys_of(self, key: str) -> set[str]:
        """The idempotency keys of all calls for an entry."""
        return {call.idempotency_key for call in self.calls if call.key == key}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a deployment has left in the services, in their own forms."""

    #: When the deployment was stopped.
    at: datetime
    #: The items of the ledger, by key.
    ledger: Mapping[str, Mapping[str, Any]]
    #: The objects of the bucket of manifests.
    objects: Mapping[str, bytes]
    #: By queue, each message with its body, group, attributes, receives and visibility.
    queues: Mapping[str, Sequence[Mapping[str, Any]]]
    #: Every body that was ever sent to a queue, in order.
    sent: Mapping[str, Sequence[str]]
    #: Executions of state machines, each with its definition and its input as text.
    executions: Sequence[Mapping[str, Any]]
    #: Asynchronous invocations that had not succeeded yet.
    events: Sequence[Mapping[str, Any]]
    #: What the targets remember.
    targets: Mapping[str, Mapping[str, Any]]
    #: The details on the event bus, in order.
    announced: Sequence[Mapping[str, Any]] = ()


@dataclass(eq=False)
class _Pending:
    function: str
    event: Event


@dataclass
class Invocations:
    """The events that functions were invoked with, as JSON."""

    found: list[dict[str, Any]] = field(default_factory=list)

    def note(self, function: str, event: object) -> None:
        self.found.append({"function": function, "event": json.loads(json.dumps(event, default=_json))})


class RecordedCloud(SimulatedCloud):
    """A deployment that keeps every event, and can be stopped at a moment and set up again."""

    def __init__(self, jobs: Iterable[Job], *, seed: int = 0, start: datetime = START) -> None:
        super().__init__(
            jobs, seed=seed, start=start, chunk_size=CHUNK_SIZE, fan_in=FAN_IN, long_poll=LONG_POLL_SECONDS
        )
        self.shops = {name: Shop(self.clock) for name in self.targets}
        self.targets.update(self.shops)
        self.services.gate.latency = _latency
        self.invocations = Invocations()
        self._pending: list[_Pending] = []

    def __enter__(self) -> Self:
        super().__enter__()
        self._record(self.function("completion"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Everything that is under way is killed, and nobody asks for its results.
        self._runner.get_loop().set_exception_handler(lambda *_: None)
        super().__exit__(kind, error, traceback)

    def _record(self, function: SimulatedFunction) -> None:
        invoke = function.invoke

        async def recorded(event: Event) -> object:
            self.invocations.note(function.name, event)
            return await invoke(event)

        function.invoke = recorded  # type: ignore[method-assign]

    def _invoke_async(self, function: SimulatedFunction, event: Event) -> None:
        self.invocations.note(function.name, event)
        super()._invoke_async(function, event)

    async def _invoke_later(self, function: SimulatedFunction, event: Event, delay: float) -> None:
        pending = _Pending(function.name, event)
        self._pending.append(pending)
        await super()._invoke_later(function, event, delay)
        self._pending.remove(pending)

    async def _invoke_task(self, arn: str, execution: Execution, payload: Json) -> Json:
        self.invocations.note(arn.rpartition(":")[2], payload)
        return await super()._invoke_task(arn, execution, payload)

    # --- words for stories ---

    def ended(self) -> bool:
        """Whether nothing is left to happen."""
        records = [self.ledger.job(job.name) for job in self.jobs]
        if self.waiting_events or self.in_batches() or any(record.open or record.queued for record in records):
            return False
        return not any(self.on_queue(job, dead_letters=dead) for job in self.jobs for dead in (False, True))

    def kill(self, kind: str, job: Job | None = None) -> None:
        """End all environments of a function that have something in hand."""
        for environment in [*self.function(kind, job).busy.values()]:
            environment.end()

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        """Invoke a function asynchronously, by its name."""
        self._invoke_async(self.functions[function], event)

    # --- what is left in the services ---

    def snapshot(self) -> Snapshot:
        """What a deployment leaves that is stopped now, with everything that it has in hand."""
        queues = [self.services.sqs.queue(address.url) for both in self.queues.values() for address in both]
        items = self.services.dynamodb.tables[LEDGER].items.values()
        found = (_ordered(item_to_wire(item)) for item in items)
        objects = self.services.s3.objects.items()
        return Snapshot(
            at=self.clock.now(),
            ledger={item["pk"]["S"]: item for item in sorted(found, key=lambda item: str(item["pk"]["S"]))},
            objects={key: body for (bucket, key), body in sorted(objects) if bucket == MANIFESTS},
            queues={queue.name: [_told(message) for message in queue.messages.all()] for queue in queues},
            sent={queue.name: _sent(queue) for queue in queues},
            executions=[_execution(each) for each in self.services.stepfunctions.executions.values()],
            events=[{"function": each.function, "event": dict(each.event)} for each in self._pending],
            targets={name: shop.memory() for name, shop in self.shops.items()},
            announced=list(self.announcements),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Put what an earlier deployment left into the services of this one, which has had nothing to do yet."""
        table = self.services.dynamodb.tables[LEDGER]
        for wire in snapshot.ledger.values():
            item = item_from_wire(wire)
            table.put(item["pk"], item, size_of(item), self.clock.timestamp())
        table.stream.take()  # the watchdog announces what the stream had still to tell
        for key, body in snapshot.objects.items():
            self.services.s3.put_object(Bucket=MANIFESTS, Key=key, Body=body)
        for address in (address for both in self.queues.values() for address in both):
            queue = self.services.sqs.queue(address.url)
            for told in snapshot.queues.get(queue.name, ()):
                _put_back(queue, told)
            queue.changed()
        for name, memory in snapshot.targets.items():
            self.shops[name].remember(memory)
        self._restart(snapshot.executions)
        for each in snapshot.events:
            self.invoke(each["function"], each["event"])

    def _restart(self, executions: Iterable[Mapping[str, Any]]) -> None:
        """Those at work begin anew, by the definition that they were started with."""
        service = self.services.stepfunctions
        for each in executions:
            machine, states = each["machine"], json.loads(each["definition"])
            if each["status"] != "RUNNING":
                arn = f"{machine.replace(':stateMachine:', ':execution:')}:{each['name']}"
                old = Execution(arn, each["name"], machine, each["input"], 0.0, states, each["status"], 0.0)
                service.executions[arn] = old
                continue
            present, service._machines[machine] = service._machines[machine], states
            service.start_execution(stateMachineArn=machine, name=each["name"], input=each["input"])
            service._machines[machine] = present


def fan_out_of(job: Job) -> str:
    """The name of a job's fan-out function."""
    return function_name(ENVIRONMENT, "fan_out", job.name)


def _latency(sent: Sent) -> tuple[float, float]:
    del sent
    return LATENCY


def _ordered(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item with the members of its sets in order: a set has none."""
    return {
        name: {kind: sorted(value, key=_order) if kind in {"NS", "SS"} else value for kind, value in attribute.items()}
        for name, attribute in sorted(item.items())
    }


def _order(member: str) -> tuple[int, str]:
    return (int(member), "") if member.isdecimal() else (0, member)


def _told(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "body": message.body,
        "group": message.group,
        "attributes": dict(message.attributes),
        "receives": message.receives,
        "sent_at": message.sent_at,
        "first_received_at": message.first_received_at,
        "received_at": message.received_at,
        "invisible_until": message.invisible_until,
        "source": message.source,
    }


def _sent(queue: Queue) -> list[str]:
    """The bodies that were sent to a queue, and those of its dead letters, which were sent elsewhere."""
    bodies = [body for _, body in queue.history]
    return bodies + [message.body for message in queue.messages.all() if message.body not in bodies]


def _put_back(queue: Queue, told: Mapping[str, Any]) -> None:
    message = Message(
        f"before-{told['id']}", told["body"], told["group"], told["id"], told["attributes"], told["sent_at"]
    )
    message.source = told["source"]
    queue.messages.append(message)
    message.receives, message.first_received_at = told["receives"], told["first_received_at"]
    if told["invisible_until"] is not None:
        message.receives -= 1  # received once more, here
        since, until = told["received_at"], told["invisible_until"]
        queue.messages._take(queue.messages._groups[message.group], message, since, until - since)


def _execution(execution: Execution) -> dict[str, Any]:
    return {
        "machine": execution.machine,
        "name": execution.name,
        "input": execution.input,
        "status": execution.status,
        "definition": json.dumps(execution.definition, indent=1),
    }


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} is no JSON")
