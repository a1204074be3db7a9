"""A deployment of one job, with a virtual clock, a scripted target, and words to tell stories with."""

import asyncio
import heapq
import itertools
import json
import logging
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, cast

from rollcall import Call, Entry, Job, Location, Response, Retry, Run, Table, Target, daily
from rollcall.adapters.bus import Bus
from rollcall.adapters.clients import Clients
from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger.records import Ledger, NodeRecord, entry_key, run_key
from rollcall.adapters.ledger.update import Update
from rollcall.adapters.manifests import Manifests
from rollcall.adapters.queue import Queue, Queues
from rollcall.adapters.reports import Reports
from rollcall.adapters.secrets import Secrets
from rollcall.adapters.tables import TableItems
from rollcall.core.actions import Action
from rollcall.core.call import IDEMPOTENCY_HEADER, Request, Send
from rollcall.core.entry import ManifestEntry, entry_id
from rollcall.core.job import Hook
from rollcall.core.message import SENT_AGAIN, Message
from rollcall.core.outcome import Outcome
from rollcall.core.retry import Jitter
from rollcall.core.run import JobRecord, Redrive, RunRecord, RunState, run_id
from rollcall.core.sizing import worker_sizing
from rollcall.core.tree import Node
from rollcall.engine.fan_out.fan_out import FanOut
from rollcall.engine.fan_out.run_lease import Again, Invocation, Repair, Resume, Start
from rollcall.engine.runs import progress
from rollcall.engine.runs.cancellation import cancel
from rollcall.engine.runs.completion import Announcer
from rollcall.engine.runs.failures import Failure, failures
from rollcall.engine.watchdog.watchdog import Watchdog
from rollcall.engine.worker.callback import Caller
from rollcall.engine.worker.dead_letter import DeadLetters
from rollcall.engine.worker.worker import Worker
from tests.functional.wire import Wire

#: The first occurrence's scheduled time, and when every story begins.
DUE = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
DAY = timedelta(days=1)
LEASE = timedelta(minutes=15)
NAME = "pay-deposits"
ENVIRONMENT = "test"
RUN = run_id(NAME, DUE)
RETRY = Retry(retries=3, first=timedelta(seconds=2), factor=2, jitter=Jitter.NONE)
#: Small, so that a few dozen entries make three levels.
CHUNK, FAN_IN = 5, 3


class VirtualClock:
    """Time that passes only by sleeping, and by what a story says."""

    def __init__(self) -> None:
        self._now = DUE
        self._lock = Lock()
        self._awaited: list[datetime] = []

    def now(self) -> datetime:
        return self._now

    def sleep(self, duration: timedelta) -> None:
        with self._lock:
            self._now += max(timedelta(0), duration)

    async def wait(self, duration: timedelta) -> None:
        """Whoever waits for the earliest moment goes on first."""
        until = self._now + max(timedelta(0), duration)
        heapq.heappush(self._awaited, until)
        while self._awaited[0] < until:
            await asyncio.sleep(0)
        heapq.heappop(self._awaited)
        self._now = max(self._now, until)

    def set(self, moment: datetime) -> None:
        self._now = moment


@dataclass(frozen=True)
class Called:
    """A request that the target saw."""

    key: str
    idempotency_key: str
    at: datetime


class FakeTarget:
    """Answers 200 unless a script says otherwise; notes every request. The entry's key ends the path."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.calls: list[Called] = []
        self._scripts: dict[str, Iterator[int | Response | BaseException]] = {}

    def script(self, key: str, *answers: int | Response | BaseException, then: int = 200) -> None:
        """Answer calls for `key` with these, in order, and with `then` ever after."""
        self._scripts[key] = itertools.chain(answers, itertools.repeat(then))

    async def send(self, request: Request) -> Response:
        key = request.path.rsplit("/", 1)[-1]
        self.calls.append(Called(key, request.headers[IDEMPOTENCY_HEADER], self._clock.now()))
        await asyncio.sleep(0)
        answer = next(self._scripts[key]) if key in self._scripts else 200
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, Response) else Response(answer, {}, f"says {answer}".encode())

    @property
    def keys(self) -> list[str]:
        return [call.key for call in self.calls]

    def times(self) -> Counter[str]:
        """How often each entry was called."""
        return Counter(self.keys)


class Events(logging.Handler):
    """The log events of a test, asserted by their `action`."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, action: Action) -> list[dict[str, Any]]:
        return [vars(record) for record in self.records if getattr(record, "action", None) == action.value]

    def count(self, action: Action) -> int:
        return len(self.of(action))


class RecordedFunctions(Functions):
    """Notes whom it would have resumed: no functions run in these stories."""

    def __init__(self) -> None:
        self.resumed: list[tuple[str, str]] = []
        self.repaired: list[tuple[str, str]] = []

    def resume(self, job: str, run: str) -> None:
        self.resumed.append((job, run))

    def repair(self, job: str, run: str) -> None:
        self.repaired.append((job, run))


def keys(number: int) -> list[str]:
    return [f"D{index:02}" for index in range(number)]


def entries(number: int) -> list[Entry]:
    """D00, D01, … with a payload of their own."""
    return [Entry(key, {"deposit": key}) for key in keys(number)]


#: Options of `a_job` that are its target's.
OF_TARGET = {each.name for each in fields(Target)} - {"name", "concurrency"}


def a_job(**options: Any) -> Job:
    """A job whose callback puts the entry to the target; its source is the world's list."""
    of_target = {name: options.pop(name) for name in OF_TARGET & options.keys()}
    target = replace(Target("accounting", concurrency=100), **of_target)
    window = options.pop("window", 50_000)
    options.setdefault("retry", RETRY)
    options.setdefault("concurrency", 20)
    job = Job(NAME, schedule=daily("02:30"), target=target, **options)
    job.window = window
    return job


async def put(deposit: dict[str, Any], call: Call) -> None:
    """The callback of most stories."""
    await call.http.put(f"/deposits/{call.key}", json=deposit)


@dataclass(repr=False)
class World:
    """One job's deployment."""

    clients: Clients
    wire: Wire
    clock: VirtualClock
    events: Events
    queue_url: str
    dead_letter_url: str
    runner: asyncio.Runner
    job: Job = field(default_factory=a_job)
    #: What the source yields; an exception is raised in its place.
    report: Sequence[Entry | Exception] = field(default_factory=lambda: entries(12))
    chunk_size: int = CHUNK
    fan_in: int = FAN_IN
    reports: Mapping[str, Location] = field(default_factory=dict)
    bus: Bus = field(init=False)
    hook: Hook | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _chunks: dict[tuple[str, int], list[ManifestEntry]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.clients.dynamodb, "ledger")
        self.manifests = Manifests(self.clients.s3, "manifests")
        self.queue = Queue(self.clients.sqs, self.queue_url, self.clock)
        self.bus = Bus(self.clients.events, "rollcall")
        self.functions = RecordedFunctions()
        self.secrets = Secrets(self.clients.secretsmanager)
        self.target = FakeTarget(self.clock)
        self.threads = ThreadPoolExecutor(10)
        self.declare(self.job)

    def declare(self, job: Job, callback: Any = put) -> Job:
        """Use `job` from now on, with the world's list as its source."""

        @job.source
        def source(run: Run) -> Iterator[Entry]:
            del run
            for entry in self.report:
                if isinstance(entry, Exception):
                    raise entry
                yield entry

        job.callback(callback)
        self.job = job
        return job

    def close(self) -> None:
        self.threads.shutdown()

    def table(self, table: Table) -> TableItems:
        """The items of a table, which here has its own name."""
        return TableItems(self.clients.tables, table.name)

    def token(self) -> str:
        return f"n{next(self._numbers)}"

    def later(self, duration: timedelta) -> None:
        self.clock.sleep(duration)

    # --- fan-out ---

    def fan_out(self) -> FanOut:
        """A fan-out's environment; a new one remembers nothing of the one before."""
        return FanOut(
            job=self.job,
            ledger=self.ledger,
            manifests=Manifests(self.clients.s3, "manifests"),
            queue=self.queue,
            read=Reports(self.reports, self.secrets, self.clients).read,
            secret=self.secrets.text,
            table=self.table,
            clock=self.clock,
            new_nonce=self.token,
            redact=self.secrets.in_use.redacted,
        )

    def invocation(self, owner: str | None = None, lease: timedelta = LEASE) -> Invocation:
        return Invocation(owner or self.token(), self.clock.now() + lease, self.chunk_size, self.fan_in)

    def start(
        self, scheduled_for: datetime = DUE, *, lease: timedelta = LEASE, nonce: str | None = None
    ) -> RunRecord | None:
        """The scheduler fires."""
        return self.fan_out().handle(Start(scheduled_for, nonce), self.invocation(lease=lease))

    def resume(self, run: str = RUN, *, lease: timedelta = LEASE) -> RunRecord | None:
        """Somebody asks to go on with a run."""
        return self.fan_out().handle(Resume(run), self.invocation(lease=lease))

    def repair(self, run: str = RUN, *, lease: timedelta = LEASE, owner: str | None = None) -> RunRecord | None:
        """Somebody asks to send again what is unsettled of a run."""
        return self.fan_out().handle(Repair(run), self.invocation(owner, lease))

    def redrive(
        self, run: str = RUN, *, generation: int | None = None, lease: timedelta = LEASE, **choice: object
    ) -> RunRecord | None:
        """Somebody redrives entries of a run, by default as they are in its present generation."""
        request = Again(run, generation or self.run(run).generation, Redrive.from_fields(choice))
        return self.fan_out().handle(request, self.invocation(lease=lease))

    def begin(self, number: int, **options: Any) -> RunRecord:
        """A run of `number` entries whose messages are all on the queue."""
        self.report = entries(number)
        run = self.start(**options)
        assert run is not None
        assert run.state is RunState.RUNNING
        return run

    # --- worker ---

    def worker(self, send: Send | None = None) -> Worker:
        """A worker's environment; a new one has read nothing yet."""
        reach = (send or self.target.send, self.secrets.text, self.table, self.clock)
        caller = Caller(self.job, *reach, redact=self.secrets.in_use.redacted)
        width = worker_sizing(self.job).width
        return Worker(self.job, self.ledger, self.queue, caller, self.clock, random.Random(1), width, self.token())  # noqa: S311

    def work(
        self,
        records: Iterable[Mapping[str, Any]],
        *,
        time: timedelta = timedelta(minutes=5),
        worker: Worker | None = None,
    ) -> list[str]:
        """An invocation of the worker with these records; returns the ids that stay on the queue."""
        handling = (worker or self.worker()).handle(list(records), self.clock.now() + time)
        return self.runner.run(handling)

    def line(self, index: int, run: RunRecord | None = None) -> ManifestEntry:
        """An entry's line in the manifest; chunks are read once, for a sealed manifest never changes."""
        record = run or self.run()
        chunk, position = divmod(index, record.chunk_size)
        name = (record.sealed_nonce, chunk)
        if name not in self._chunks:
            self._chunks[name] = self.manifests.read(record, chunk)
        return self._chunks[name][position]

    def messages(self, *indexes: int, run: str = RUN) -> list[Message]:
        """The messages that dispatch wrote for entries."""
        record = self.run(run)
        lines = {index: self.line(index, record) for index in indexes}
        return [
            Message(
                run=run,
                generation=record.generation,
                chunk=index // record.chunk_size,
                index=index,
                total=record.total,
                key=line.key or "",
                payload=line.payload,
                idempotency_key=line.idempotency_key,
                unanswered_since=line.unanswered_since,
                called_since=line.called_since,
            )
            for index, line in lines.items()
        ]

    def message(self, index: int) -> Message:
        return self.messages(index)[0]

    def batch(self, *indexes: int, run: str = RUN, receives: int = 1, again: bool = False) -> list[dict[str, Any]]:
        """Records of an SQS event for these entries."""
        return [delivered(message, receives=receives, again=again) for message in self.messages(*indexes, run=run)]

    def receive(self, url: str | None = None) -> list[dict[str, Any]]:
        """Up to ten messages from the queue, as Lambda's event has them."""
        answer = self.clients.sqs.receive_message(
            QueueUrl=url or self.queue_url,
            MaxNumberOfMessages=10,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return [_record(cast(dict[str, Any], message)) for message in answer.get("Messages", [])]

    def delete(self, records: Iterable[Mapping[str, Any]], url: str | None = None) -> None:
        for record in records:
            self.clients.sqs.delete_message(QueueUrl=url or self.queue_url, ReceiptHandle=record["receiptHandle"])

    def drain(self, worker: Worker | None = None, *, most: int = 100) -> None:
        """Workers handle the queue by Lambda's rules until nothing is on it; waits pass on the virtual clock."""
        worker = worker or self.worker()
        for _ in range(most):
            records = self.receive()
            if records:
                stays = set(self.work(records, worker=worker))
                self.delete(record for record in records if record["messageId"] not in stays)
            elif self.on_queue() == 0:
                return
            else:
                self.later(timedelta(seconds=2))
        raise AssertionError(f"{self.on_queue()} messages stay on the queue")

    def on_queue(self, url: str | None = None) -> int:
        answer = self.clients.sqs.get_queue_attributes(QueueUrl=url or self.queue_url, AttributeNames=["All"])
        counts: Mapping[str, str] = answer["Attributes"]  # type: ignore[assignment]
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(int(counts[name]) for name in names)

    # --- the others ---

    def announcer(self) -> Announcer:
        return Announcer(self.ledger, self.bus, self.functions, lambda _: self.hook, self.clock, self.token())

    def watchdog(self, *, schedules: bool = False) -> None:
        """A round of the watchdog; `schedules`: where jobs are started by theirs."""
        queues = Queues(self.clients.sqs, ENVIRONMENT)
        Watchdog([self.job], self.ledger, self.functions, self.announcer(), self.clock, queues, schedules).look()

    def dead_letters(self, records: Iterable[Mapping[str, Any]]) -> list[str]:
        return DeadLetters(self.ledger, self.manifests, self.clock).handle(records)

    def announce(self, run: str = RUN) -> None:
        """The stream tells that a run ended."""
        self.announcer().announce(run)

    def cancel(self, run: str = RUN) -> RunRecord:
        return cancel(self.ledger, run, self.clock)

    # --- what came of it ---

    def run(self, run: str = RUN) -> RunRecord:
        record = self.ledger.run(run)
        assert record is not None, f"there is no run {run}"
        return record

    def job_record(self) -> JobRecord:
        return self.ledger.job(self.job.name)

    def outcomes(self, run: str = RUN) -> dict[Outcome, int]:
        """The outcomes that occur, with their counts."""
        return {outcome: count for outcome, count in progress.outcomes(self.ledger, self.run(run)).items() if count}

    def outcome(self, index: int) -> Outcome | None:
        return self.chunk(index).outcome(index % self.chunk_size)

    def chunk(self, index: int = 0, run: str = RUN) -> NodeRecord:
        """The chunk of an entry."""
        record = self.run(run)
        node = Node(0, index // record.chunk_size)
        return self.ledger.nodes(record, [node])[node]

    def entry(self, key: str | None, index: int = 0, run: str = RUN) -> dict[str, Any]:
        """What the ledger says of an entry; empty where nothing."""
        name = entry_key(run, entry_id(key, index))
        return self.ledger.items([name]).get(name, {})

    def failures(self, run: str = RUN) -> dict[str | None, Failure]:
        """What did not succeed, by key."""
        found = list(failures(self.ledger, self.manifests, self.run(run)))
        by_key = {failure.key: failure for failure in found}
        assert len(by_key) == len(found), "an entry is listed once"
        return by_key

    def sent(self) -> list[tuple[Message, bool]]:
        """Every message that was put on the queue, with its mark, in order."""
        return [
            (Message.parse(entry["MessageBody"]), SENT_AGAIN in entry.get("MessageAttributes", {}))
            for request in self.wire.of("SendMessageBatch")
            for entry in request.fields["Entries"]
        ]

    def waits(self) -> dict[str, int]:
        """The seconds that receipts were put off by, by their handle."""
        return {
            entry["ReceiptHandle"]: entry["VisibilityTimeout"]
            for request in self.wire.of("ChangeMessageVisibilityBatch")
            for entry in request.fields["Entries"]
        }

    def announcements(self) -> list[dict[str, Any]]:
        """The details of the events on the bus."""
        return [
            json.loads(entry["Detail"]) for request in self.wire.of("PutEvents") for entry in request.fields["Entries"]
        ]

    def ledger_dump(self) -> list[Any]:
        """Everything in the ledger, to tell that nothing was written."""
        return sorted(map(str, self.clients.dynamodb.scan(TableName="ledger")["Items"]))

    def manifest_keys(self) -> list[str]:
        return [thing["Key"] for thing in self.clients.s3.list_objects_v2(Bucket="manifests").get("Contents", [])]

    def tamper(self, run: str = RUN, **fields: object) -> None:
        """Set fields of a run in the ledger behind everybody's back."""
        Update().set(**fields).send(self.clients.dynamodb, "ledger", run_key(run))


def delivered(
    message: Message | str, *, receives: int = 1, again: bool = False, message_id: str | None = None
) -> dict[str, Any]:
    """A record of an SQS event."""
    body = message if isinstance(message, str) else message.body()
    name = message_id or (f"m-{message.run[-16:]}-{message.index}" if isinstance(message, Message) else "m")
    return {
        "messageId": name,
        "receiptHandle": f"receipt of {name}",
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(receives)},
        "messageAttributes": {SENT_AGAIN: {"dataType": "String", "stringValue": "1"}} if again else {},
    }


def _record(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": message.get("MessageAttributes", {}),
    }
