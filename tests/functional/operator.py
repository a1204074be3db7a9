"""An operator at the command line, and the deployed environment that the commands reach, with its real handlers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.fan_out import handler as fan_out
from rollcall.adapters.ledger.records import Ledger, run_key
from rollcall.adapters.ledger.update import Update
from rollcall.adapters.manifests import Manifests
from rollcall.core import names
from rollcall.core.catalog import Declared
from rollcall.core.errors import DeclarationError
from rollcall.core.job import Job
from rollcall.core.run import TERMINAL, RunState
from rollcall.engine.fan_out.fan_out import FanOut
from tests.ended import Ended
from tests.functional.wire import Sent
from tests.functional.world import ENVIRONMENT, LEASE, NAME, RUN, VirtualClock, World

#: moto's and the models' own.
ACCOUNT = "123456789012"
REGION = "eu-west-1"
LEDGER = names.ledger_name(ENVIRONMENT)
MANIFESTS = names.manifests_name(ENVIRONMENT, ACCOUNT, REGION)
FAN_OUT = names.function_name(ENVIRONMENT, "fan_out", NAME)
WATCHDOG = names.function_name(ENVIRONMENT, "watchdog")

#: More than an hour of looks.
MOST_SLEEPS = 2_500


class DeployedWorld(World):
    """A world under the names that the stacks give it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.clients.dynamodb.create_table(
            TableName=LEDGER,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        )
        self.clients.s3.create_bucket(Bucket=MANIFESTS, CreateBucketConfiguration={"LocationConstraint": REGION})  # type: ignore[typeddict-item]
        self.ledger = Ledger(self.clients.dynamodb, LEDGER)
        self.manifests = Manifests(self.clients.s3, MANIFESTS)

    def fan_out(self) -> FanOut:
        return replace(super().fan_out(), manifests=Manifests(self.clients.s3, MANIFESTS))

    def manifest_keys(self) -> list[str]:
        return [thing["Key"] for thing in self.clients.s3.list_objects_v2(Bucket=MANIFESTS).get("Contents", [])]

    def tamper(self, run: str = RUN, **fields: object) -> None:
        Update().set(**fields).send(self.clients.dynamodb, LEDGER, run_key(run))


class BusyClock:
    """The operator's clock: while it is waited on, the environment works."""

    def __init__(self, clock: VirtualClock, meanwhile: Callable[[], None]) -> None:
        self._clock = clock
        self._meanwhile = meanwhile
        self._slept = 0

    def now(self) -> datetime:
        return self._clock.now()

    def sleep(self, duration: timedelta) -> None:
        self._slept += 1
        assert self._slept < MOST_SLEEPS, "the command waits for what does not come"
        self._clock.sleep(duration)
        self._meanwhile()

    async def wait(self, duration: timedelta) -> None:
        await self._clock.wait(duration)


@dataclass
class Operator:
    """Types commands."""

    world: DeployedWorld
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    #: Events that functions were asked with, by their names.
    invoked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    #: Those that no fan-out has handled yet.
    waiting: list[dict[str, Any]] = field(default_factory=list)
    #: What was asked of AWS: service, operation, and of which resource.
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    #: Whether functions, workers and stream do their work while the operator waits.
    working: bool = True
    announcing: bool = True

    def rollcall(self, *arguments: str) -> Ended:
        """`rollcall` with these arguments, in this process, for this environment."""
        from tools.cli.main import main

        self.monkeypatch.setattr("sys.argv", ["rollcall", *arguments, "--env", ENVIRONMENT])
        self.capsys.readouterr()
        with self._recording():
            code = main()
        captured = self.capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    def told(self, *arguments: str) -> str:
        """The one line of a command that failed."""
        ended = self.rollcall(*arguments)
        assert (ended.code, ended.out) == (1, ""), ended
        assert ended.err.startswith("rollcall: ")
        assert ended.err.count("\n") == 1, ended.err
        return ended.err

    def work(self) -> None:
        """What the environment does by itself, for as long as there is something to do."""
        if not self.working:
            return
        with self._apart():
            while self.waiting:
                context: Any = SimpleNamespace(aws_request_id="1", get_remaining_time_in_millis=lambda: 900_000)
                fan_out.handler(self.waiting.pop(0), context)
            if self.world.job_record().paused_since is None:
                self.world.drain()
            if self.announcing:
                for run in self.world.ledger.runs(self.world.job_record().open).values():
                    if run.state in TERMINAL and not run.announced:
                        self.world.announce(run.id)

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """What befalls the operator's requests befalls nobody else's, and only his are noted."""
        before, self.world.wire.before = self.world.wire.before, None
        noted = len(self.requests)
        yield
        del self.requests[noted:]
        self.world.wire.before = before

    def started(self, *arguments: str) -> str:
        """The id of a run that was started by hand and has ended."""
        ended = self.rollcall("start", NAME, *arguments)
        assert ended.code == 0, ended
        self.work()
        assert self.world.run(ended.out.strip()).state is not RunState.ENUMERATING
        return ended.out.strip()

    # --- what is asked of AWS ---

    @contextmanager
    def _recording(self) -> Iterator[None]:
        self.world.wire.observer = self._noted
        try:
            yield
        finally:
            self.world.wire.observer = None

    def _noted(self, sent: Sent) -> dict[str, Any] | None:
        fields = sent.fields
        match sent.service, sent.operation:
            case "dynamodb", "TransactWriteItems":
                parts = [(kind, part) for each in fields["TransactItems"] for kind, part in each.items()]
                self.requests += [("dynamodb", f"{kind}Item", part["TableName"]) for kind, part in parts]
            case "dynamodb", operation:
                table = fields.get("TableName") or next(iter(fields["RequestItems"]))
                self.requests.append(("dynamodb", operation, table))
            case "s3", operation:
                self.requests.append(("s3", operation, fields["Bucket"]))
            case "sqs", operation:
                queue = fields.get("QueueName") or fields["QueueUrl"].rpartition("/")[2]
                self.requests.append(("sqs", operation, queue))
            case "lambda", operation:
                self.requests.append(("lambda", operation, fields["FunctionName"]))
                return self._invoke(fields["FunctionName"], fields["InvocationType"], json.loads(fields["Payload"]))
            case service, operation:
                self.requests.append((service, operation, ""))
        return None

    def _invoke(self, function: str, kind: str, event: dict[str, Any]) -> dict[str, Any]:
        if function not in {FAN_OUT, WATCHDOG}:
            error: Any = {"Error": {"Code": "ResourceNotFoundException", "Message": f"Function not found: {function}"}}
            raise ClientError(error, "Invoke")
        assert kind == "Event"
        self.invoked.append((function, event))
        if function == FAN_OUT:
            self.waiting.append(event)
        return {"StatusCode": 202}


class Runtime:
    """The fan-out function's, over a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.clock = world.clock
        self.new_token = world.token

    @property
    def job(self) -> Job:
        return self._world.job

    @property
    def fan_out(self) -> FanOut:
        return self._world.fan_out()

    def deadline(self, _: object) -> datetime:
        return self.clock.now() + LEASE


def seated(
    world: DeployedWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *others: str
) -> Operator:
    """An operator whose checkout has the world's job, and `others` that are not deployed."""
    operator = Operator(world, capsys, monkeypatch)
    clock = BusyClock(world.clock, operator.work)

    def catalog() -> dict[str, Declared]:
        job = world.job
        jobs = [job, *(Job(name, schedule=job.schedule, target=job.target) for name in others)]
        return {each.name: Declared(each, "payments", "functions.jobs.payments") for each in jobs}

    def find(name: str) -> Declared:
        if name not in catalog():
            raise DeclarationError(f"there is no job {name!r}; there are: {', '.join(catalog())}")
        return catalog()[name]

    monkeypatch.setattr(fan_out, "runtime", Runtime(world))
    monkeypatch.setattr("tools.cli.main.signal.signal", lambda *_: None)
    monkeypatch.setattr("tools.cli.aws.Clients", lambda: world.clients)
    for module in ("tools.cli.main", "tools.cli.operating"):
        monkeypatch.setattr(f"{module}.find", find)
        monkeypatch.setattr(f"{module}.catalog", catalog)
        monkeypatch.setattr(f"{module}.SystemClock", lambda: clock)
    return operator
