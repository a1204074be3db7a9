"""A world for each story: a cloud in this process, dummy credentials, no network, time that passes only by the story.

The cloud is the simulation's models, or moto with `pytest --cloud=moto`. A file or story that is marked `on_moto` is
told on moto either way.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import Any, Final

import boto3
import pytest

from rollcall.adapters.clients import Clients
from rollcall.core.names import dead_letter_queue_name, queue_name
from tests.functional.models_cloud import ModelClients
from tests.functional.operator import DeployedWorld, Operator, seated
from tests.functional.wire import ModelWire, MotoWire, Wire
from tests.functional.world import ENVIRONMENT, NAME, Events, VirtualClock, World

REGION: Final = "eu-west-1"


@pytest.fixture
def cloud(request: pytest.FixtureRequest) -> str:
    """Where a story is told: "models" or "moto"."""
    if request.node.get_closest_marker("on_moto") is not None:
        return "moto"
    return str(request.config.getoption("--cloud"))


@pytest.fixture(scope="session")
def moto_clients() -> Iterator[Clients]:
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
def moto_wire(moto_clients: Clients) -> Wire:
    return MotoWire(moto_clients)


@pytest.fixture
def clients(cloud: str, clock: VirtualClock, request: pytest.FixtureRequest) -> Clients:
    """The clients of a cloud in which nothing is deployed."""
    if cloud == "models":
        return ModelClients(lambda: clock.now().timestamp())
    found: Clients = request.getfixturevalue("moto_clients")
    return found


@pytest.fixture
def wire(clients: Clients, request: pytest.FixtureRequest) -> Iterator[Wire]:
    wire: Wire = ModelWire(clients) if isinstance(clients, ModelClients) else request.getfixturevalue("moto_wire")
    wire.reset()
    yield wire
    wire.reset()


@pytest.fixture
def clock(cloud: str, monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    """The clock of the functions, of the models and of moto's queues."""
    clock = VirtualClock()
    if cloud == "moto":
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
def aws(cloud: str, clients: Clients, wire: Wire) -> Iterator[Clients]:  # noqa: ARG001 - threads need the wire's lock
    """What a deployment has, empty."""
    with deployed_on_moto() if cloud == "moto" else nullcontext():
        clients.dynamodb.create_table(
            TableName="ledger",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        )
        clients.s3.create_bucket(Bucket="manifests", CreateBucketConfiguration={"LocationConstraint": REGION})
        clients.events.create_event_bus(Name="rollcall")
        yield clients


@contextmanager
def deployed_on_moto() -> Iterator[None]:
    """Run moto quickly, and under a lock: it copies its tables while other threads write to them."""
    from moto import mock_aws
    from moto.core.botocore_stubber import BotocoreStubber

    from tests.functional import quick_moto

    answer, lock = BotocoreStubber.process_request, Lock()

    def locked(stubber: BotocoreStubber, request: Any) -> Any:
        with lock:
            return answer(stubber, request)

    with quick_moto.quick(), mock_aws(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(BotocoreStubber, "process_request", locked)
        yield


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
