"""A world for each story: moto in this process, dummy credentials, no network, time that only passes when told."""

import asyncio
import logging
from collections.abc import Iterator
from threading import Lock
from typing import Any, Final

import boto3
import pytest
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber

from rollcall.adapters.clients import Clients
from rollcall.core.names import dead_letter_queue_name, queue_name
from tests.functional import quick_moto
from tests.functional.operator import DeployedWorld, Operator, seated
from tests.functional.wire import Wire
from tests.functional.world import ENVIRONMENT, NAME, Events, VirtualClock, World

REGION: Final = "eu-west-1"


@pytest.fixture(scope="session")
def clients() -> Iterator[Clients]:
    """Clients that know no account and no profile; made once, for making them takes longer than most stories."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_CONFIG_FILE", "/dev/null")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        session = boto3.Session("dummy", "dummy", region_name=REGION)
        yield Clients(session)


@pytest.fixture(scope="session")
def shared_wire(clients: Clients) -> Wire:
    return Wire(clients)


@pytest.fixture
def wire(shared_wire: Wire) -> Iterator[Wire]:
    shared_wire.reset()
    yield shared_wire
    shared_wire.reset()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    """The clock of the functions, and of moto's queues."""
    clock = VirtualClock()
    monkeypatch.setattr("moto.sqs.models.unix_time", lambda: clock.now().timestamp())
    monkeypatch.setattr("moto.sqs.models.unix_time_millis", lambda: clock.now().timestamp() * 1_000)
    return clock


@pytest.fixture
def events() -> Iterator[Events]:
    logger, handler = logging.getLogger("rollcall"), Events()
    before = logger.level, logger.handlers[:], logger.propagate
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.setLevel(before[0])
    logger.handlers[:], logger.propagate = before[1], before[2]


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto copies its tables while other threads write to them; what is atomic in AWS is so here under a lock."""
    answer, lock = BotocoreStubber.process_request, Lock()

    def locked(stubber: BotocoreStubber, request: Any) -> Any:
        with lock:
            return answer(stubber, request)

    monkeypatch.setattr(BotocoreStubber, "process_request", locked)


@pytest.fixture
def aws(clients: Clients, one_at_a_time: None) -> Iterator[Clients]:  # noqa: ARG001 - a fixture cannot use usefixtures
    """What a deployment has, empty."""
    with quick_moto.quick(), mock_aws():
        clients.dynamodb.create_table(
            TableName="ledger",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        )
        clients.s3.create_bucket(Bucket="manifests", CreateBucketConfiguration={"LocationConstraint": REGION})
        clients.events.create_event_bus(Name="rollcall")
        yield clients


def _queues(aws: Clients) -> tuple[str, str]:
    """The addresses of the job's queue and its dead-letter queue."""
    queue, dead = (
        aws.sqs.create_queue(
            QueueName=name,
            Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "150"},
        )["QueueUrl"]
        for name in (queue_name(ENVIRONMENT, NAME), dead_letter_queue_name(ENVIRONMENT, NAME))
    )
    return queue, dead


@pytest.fixture
def world(aws: Clients, wire: Wire, clock: VirtualClock, events: Events) -> Iterator[World]:
    url, dead = _queues(aws)
    wire.reset()
    with asyncio.Runner() as runner:
        world = World(aws, wire, clock, events, url, dead, runner)
        yield world
        world.close()


@pytest.fixture
def operator(
    aws: Clients,
    wire: Wire,
    clock: VirtualClock,
    events: Events,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Operator]:
    """Somebody at the command line, and the environment that he reaches."""
    url, dead = _queues(aws)
    with asyncio.Runner() as runner:
        world = DeployedWorld(aws, wire, clock, events, url, dead, runner)
        wire.reset()
        yield seated(world, capsys, monkeypatch, "refunds")
        world.close()
